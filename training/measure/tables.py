"""Format measured accuracy as a text table, as Markdown or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from service.model.manifest import Accuracy

Form = Literal["text", "markdown", "json"]

MAP_FORM = "finite sum"
_HEADER = (
    "data",
    "protocol",
    "re-ranked",
    f"mAP % ({MAP_FORM})",
    "rank-1 %",
    "rank-5 %",
    "rank-10 %",
    "queries",
    "skipped",
    "gallery",
)
_TEXT_COLUMNS = 3  # the columns after these hold numbers and are aligned right


def format_results(
    results: Sequence[Accuracy], form: Form = "text", ceilings: Sequence[Accuracy] = ()
) -> str:
    """Format measured accuracy as a table or a JSON document.

    Args:
        results: one row each.
        form: ``text`` and ``markdown`` show percent with one decimal; ``json`` gives shares 0..1 in
            full precision.
        ceilings: measured likewise, with a network that learned from true identities; adds the
            share of its mAP that each result reaches.

    Returns:
        The text, without a newline at the end.
    """
    match form:
        case "text":
            return _text_table(_rows(results, ceilings))
        case "markdown":
            return _markdown_table(_rows(results, ceilings))
        case "json":
            rows = [
                result.model_dump(mode="json")
                | ({"share_of_ceiling": _share(result, ceilings)} if ceilings else {})
                for result in results
            ]
            return json.dumps({"map_form": MAP_FORM, "results": rows}, indent=2, ensure_ascii=False)


def _rows(results: Sequence[Accuracy], ceilings: Sequence[Accuracy]) -> list[tuple[str, ...]]:
    rows = [_HEADER, *map(_cells, results)]
    if not ceilings:
        return rows
    shares = [_share(result, ceilings) for result in results]
    column = ["of ceiling %", *("" if share is None else f"{100 * share:.1f}" for share in shares)]
    return [(*row, cell) for row, cell in zip(rows, column, strict=True)]


def _share(result: Accuracy, ceilings: Sequence[Accuracy]) -> float | None:
    """A result's mAP as a share of that of the ceiling measured likewise; None if there is none."""
    for each in ceilings:
        likewise = (each.data, each.protocol, each.rerank) == (
            result.data,
            result.protocol,
            result.rerank,
        )
        if likewise and each.map > 0:
            return result.map / each.map
    return None


def _cells(result: Accuracy) -> tuple[str, ...]:
    shares = (result.map, result.rank1, result.rank5, result.rank10)
    counts = (result.queries, result.skipped, result.gallery)
    return (
        result.data,
        result.protocol,
        "yes" if result.rerank else "no",
        *(f"{100 * share:.1f}" for share in shares),
        *map(str, counts),
    )


def _text_table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["  ".join(cells).rstrip() for cells in _aligned(rows)]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in _aligned(escaped)]
    rule = ["---" if column < _TEXT_COLUMNS else "---:" for column in range(len(rows[0]))]
    return "\n".join([lines[0], f"| {' | '.join(rule)} |", *lines[1:]])


def _aligned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            cell.ljust(width) if column < _TEXT_COLUMNS else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
