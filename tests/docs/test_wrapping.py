"""Markdown prose wraps at 100 columns, so that changes are easy to review."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLUMNS = 100
FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
# Headings and table rows cannot wrap; addresses, code spans and pictures cannot break.
UNBREAKABLE = re.compile(r"#{1,6} .*|\||\s*\[[^]]+\]: |\s*<|\s*!?\[[^]]*\]\(\S*\)\S*$")
SPANS = re.compile(r"`[^`\n]*`|\]\([^)\s]*\)|https?://\S+")


EXEMPT = "models/"  # a program writes the cards of models


def tracked() -> list[str]:
    """Return every Markdown file that is committed, except the exempt ones."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "--", "*.md"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [name for name in listed.stdout.split() if not name.startswith(EXEMPT)]


def too_long(text: str) -> list[tuple[int, str]]:
    """Find lines of prose beyond the limit that could have been broken at a space.

    Args:
        text: a Markdown document.

    Returns:
        Line numbers, from 1, and the lines.
    """
    prose = FENCED.sub(lambda block: "\n" * block[0].count("\n"), text)
    return [
        (number, line)
        for number, line in enumerate(prose.splitlines(), start=1)
        if len(line) > COLUMNS and not UNBREAKABLE.match(line) and breakable(line)
    ]


def breakable(line: str) -> bool:
    """Tell whether a line has a space to break at, outside of code and links."""
    words = SPANS.sub("x", line.strip()).removeprefix("- ").split(" ")
    return len(words) > 1


@pytest.mark.parametrize("name", tracked())
def test_prose_wraps_at_100_columns(name):
    path = ROOT / name
    if not path.is_file():
        pytest.skip(f"{name} was removed and not committed yet")
    long = too_long(path.read_text(encoding="utf-8"))
    assert not long, "\n".join(f"{name}:{number}: {line[:80]}..." for number, line in long)


def test_long_lines_are_noticed():
    word = "word " * 25
    text = f"{word}\n\n- {word}\n\n| {word} |\n\n## {word}\n\n```sh\n{word}\n```\n\n`{word}`\n"
    assert [number for number, _ in too_long(text)] == [1, 3]
