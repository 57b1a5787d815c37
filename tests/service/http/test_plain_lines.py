"""Text from clients in the log and on the terminal: one line, nothing invisible, limited."""

from __future__ import annotations

import logging

import pytest

from service.http.plain_lines import MAX_MESSAGE, OneLine, one_line

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def formatted(message: str, error: BaseException | None = None) -> str:
    """A record as the process log formats it."""
    told = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("service", logging.INFO, "", 0, "%s", (message,), told)
    return OneLine(FORMAT).format(record)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("José 李 \u05d0", "José 李 \u05d0"),
        ("a\nb\r\u2028c", r"a\nb\r\u2028c"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("\ud800", r"\ud800"),
        ("a\tb", r"a\tb"),
    ],
)
def test_characters_that_break_lines_or_control_terminals_are_escaped(text, shown):
    assert one_line(text) == shown
    assert shown in formatted(text)


def test_a_message_is_one_line():
    forged = "x\n2026-11-28 20:00:00,000 INFO service.requests GET /search 200 1.0 ms ok"
    assert "\n" not in formatted(forged)


def test_a_long_message_is_cut():
    line = formatted("a" * 1_000_000)
    assert len(line) < MAX_MESSAGE + 200
    assert "1,000,000 characters" in line


def test_the_lines_of_a_traceback_do_not_look_like_ours():
    error = ValueError("x\n2026-11-28 20:00:00,000 INFO forged\n\x1b[2J" + "y" * 1_000_000)
    first, *rest = formatted("failed", error).split("\n")
    assert first.endswith("failed")
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in "".join(rest)
    assert sum(map(len, rest)) < 5 * MAX_MESSAGE
