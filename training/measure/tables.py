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


def format_results(results: Sequence[Accuracy], form: Form = "text") -> str:
    """Format measured accuracy as a table or a JSON document.

    Args:
        results: one row each.
        form: ``text`` and ``markdown`` show percent with one decimal; ``json`` gives shares 0..1 in
            full precision.

    Returns:
        The text, without a newline at the end.
    """
    match form:
        case "text":
            return _text_table([_HEADER, *map(_cells, results)])
        case "markdown":
            return _markdown_table([_HEADER, *map(_cells, results)])
        case "json":
            rows = [result.model_dump(mode="json") for result in results]
            return json.dumps({"map_form": MAP_FORM, "results": rows}, indent=2, ensure_ascii=False)


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
    rule = ["---" if column < _TEXT_COLUMNS else "---:" for column in range(len(_HEADER))]
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
