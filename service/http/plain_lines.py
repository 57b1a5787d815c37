"""Texts of others in what people read line by line: the process log and the terminal.

A line break in a name would begin a line that looks like one of ours, and an escape code would
recolour the terminal or rename its window.
"""

from __future__ import annotations

import logging
import unicodedata

MAX_MESSAGE = 8_000
"""Most characters of one message in the log."""

_UNPRINTED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def one_line(text: str) -> str:
    r"""A text without characters that break a line, hide or control a terminal.

    Args:
        text: anything.

    Returns:
        The text with such characters written as ``\n``, ``\x1b`` or ``\u202e``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


class OneLine(logging.Formatter):
    """Formats a record so that a text of others can neither begin a line nor fill the log.

    Lines of a traceback are indented: only ours begin with a time.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line of a record, without its traceback."""
        message = record.message
        if len(message) > MAX_MESSAGE:
            message = f"{message[:MAX_MESSAGE]}… ({len(message):,} characters)"
        record.message = one_line(message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """A traceback, bounded, each line indented."""
        text = super().formatException(ei)  # type: ignore[arg-type]  # as logging has it
        return _indented(text)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """A stack, as a traceback."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    # The end of a traceback says what happened; its beginning is the framework's.
    bounded = text if len(text) <= 4 * MAX_MESSAGE else "…" + text[-4 * MAX_MESSAGE :]
    return "\n".join(f"  {one_line(line)}" for line in bounded.split("\n"))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) not in _UNPRINTED:
        return character
    return character.encode("unicode_escape").decode("ascii")
