"""Answers of the service as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_HEAD = ("query", "rank", "crop", "identity", "camera", "score", "probability")


def search_table(answer: Mapping[str, Any]) -> str:
    """Draw the answer of ``POST /search``.

    Args:
        answer: its JSON.

    Returns:
        Lines: a row a match, a row for each query that matched nothing or could not be used.
    """
    rows = [row for entry in answer["results"] for row in _rows_of(entry)]
    return table(_HEAD, rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draw a table with a line below its head.

    Args:
        head: names of the columns.
        rows: as many texts each.

    Returns:
        Lines whose columns are aligned.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def match_cells(match: Mapping[str, Any]) -> list[str]:
    """The cells of one match: rank, crop, identity, camera, score, probability.

    Args:
        match: a match of ``POST /search``.

    Returns:
        Six texts; a dash stands for what is unknown.
    """
    probability = match["probability"]
    return [
        str(match["rank"]),
        match["crop_id"],
        match["identity"] or "-",
        match["camera"] or "-",
        f"{match['score']:.3f}",
        "-" if probability is None else f"{probability:.1%}",
    ]


def _rows_of(entry: Mapping[str, Any]) -> Iterator[list[str]]:
    query = " + ".join(image["file"] for image in entry["images"])
    match entry["status"]:
        case "matched":
            yield from ([query, *match_cells(match)] for match in entry["matches"])
        case "unknown":
            nearest = entry["nearest"]
            score = "-" if nearest is None else f"{nearest['score']:.3f}"
            yield [query, "-", "unknown (nearest score on the right)", "-", "-", score, "-"]
        case _:
            yield [query, "-", f"error: {entry['error']['detail']}", "-", "-", "-", "-"]
