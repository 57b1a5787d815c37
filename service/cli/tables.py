"""Answers of the service as tables for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.api.search import MatchRecord, SearchAnswer, SearchEntry

_HEAD = ("query", "rank", "crop", "identity", "camera", "score", "probability")
_LINE_BELOW_HEAD = box.Box("\n".join(("    ", "    ", " -  ", *["    "] * 5)), ascii=True)
_UNFOLDED = 10_000  # columns; a file or another program gets one line per row


def search_table(answer: SearchAnswer) -> str:
    """Draw the answer of ``POST /search``.

    Args:
        answer: from the client.

    Returns:
        One row per match, and one per query that matched nothing or could not be used.
    """
    rows = [row for entry in answer.results for row in _rows_of(entry)]
    return table(_HEAD, rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draw a table with a line below its head.

    Args:
        head: names of the columns.
        rows: one text per column.

    Returns:
        Lines without colours. In a terminal that is too narrow, long cells are folded.
    """
    drawn = Table(box=_LINE_BELOW_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in head:
        drawn.add_column(name, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # as text, because names may hold markup
    width = None if sys.stdout.isatty() else _UNFOLDED
    console = Console(file=StringIO(), width=width, color_system=None)
    with console.capture() as lines:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in lines.get().splitlines())


def match_cells(match: MatchRecord) -> list[str]:
    """The cells of one match: rank, crop, identity, camera, score, probability.

    Args:
        match: of a search.

    Returns:
        Six texts; a dash stands for an unknown value.
    """
    probability = match.probability
    return [
        str(match.rank),
        match.crop_id,
        match.identity or "-",
        match.camera or "-",
        f"{match.score:.3f}",
        "-" if probability is None else f"{probability:.1%}",
    ]


def _rows_of(entry: SearchEntry) -> Iterator[list[str]]:
    query = " + ".join(image.file for image in entry.images)
    if entry.person is not None:
        query += f" ({entry.person.box.x:.0f}, {entry.person.box.y:.0f})"
    match entry.status:
        case "matched":
            yield from ([query, *match_cells(match)] for match in entry.matches)
        case "unknown":
            score = "-" if entry.nearest is None else f"{entry.nearest.score:.3f}"
            yield [query, "-", "unknown (score of the closest crop)", "-", "-", score, "-"]
        case "nobody":
            yield [query, "-", "no person was found on this frame", "-", "-", "-", "-"]
        case "error":
            detail = "" if entry.error is None else entry.error.detail
            yield [query, "-", f"error: {detail}", "-", "-", "-", "-"]
