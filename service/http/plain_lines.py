"""Make text from clients safe to print in the process log and the terminal.

A line break in a name would start a line that looks like one of ours, and an escape code could
recolour the terminal or rename its window.
"""

from __future__ import annotations

import logging
import unicodedata

MAX_MESSAGE = 8_000
"""Longest message in the log, in characters."""

_UNPRINTED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def one_line(text: str) -> str:
    r"""Escape characters that break a line, are invisible, or control a terminal.

    Args:
        text: any text.

    Returns:
        The text with these characters written as ``\n``, ``\x1b`` or ``\u202e``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


class OneLine(logging.Formatter):
    """Formats a record so that text from clients can neither start a line nor fill the log.

    Lines of a traceback are indented: only our own lines begin with a time.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format a record without its traceback."""
        message = record.message
        if len(message) > MAX_MESSAGE:
            message = f"{message[:MAX_MESSAGE]}… ({len(message):,} characters)"
        record.message = one_line(message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """Format a traceback: shortened, each line indented."""
        text = super().formatException(ei)  # type: ignore[arg-type]  # logging passes more than it declares
        return _indented(text)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Format a stack like a traceback."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    # The end of a traceback says what happened; its start belongs to the framework.
    bounded = text if len(text) <= 4 * MAX_MESSAGE else "…" + text[-4 * MAX_MESSAGE :]
    return "\n".join(f"  {one_line(line)}" for line in bounded.split("\n"))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) not in _UNPRINTED:
        return character
    return character.encode("unicode_escape").decode("ascii")
