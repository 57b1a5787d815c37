"""Summarise files that were left out or had no metadata: counts, examples and advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.ingest.name_layouts import fitting
from service.ingest.picture_files import LeftOut

_REASONS = 50  # counted separately; all others share one entry
_OTHER = "other reasons"
_LONGEST = 1000  # characters of a reason, a path or a note
_LOOKED_AT = 200  # files whose names are tried with every layout


@dataclass(slots=True)
class ImportSummary:
    """Counts files left out, by reason, and files whose name has neither identity nor camera."""

    _left_out: dict[str, list[Any]] = field(default_factory=dict)
    _nameless: int = 0
    _example: str = ""
    _layouts: list[str] | None = None
    _notes: list[str] = field(default_factory=list)

    def leave_out(self, entry: LeftOut) -> None:
        """Count a file that is not used."""
        known = entry.reason[:_LONGEST] in self._left_out or len(self._left_out) < _REASONS
        reason = entry.reason if known else _OTHER
        self._left_out.setdefault(reason[:_LONGEST], [0, str(entry.path)[:_LONGEST]])[0] += 1

    def miss_names(self, path: str) -> None:
        """Count a file whose path has neither identity nor camera."""
        self._example = self._example or path[:_LONGEST]
        self._nameless += 1
        if self._nameless <= _LOOKED_AT:
            found = fitting(path) if self._layouts is None else fitting(path, self._layouts)
            self._layouts = found

    def note(self, text: str) -> None:
        """Add a warning."""
        if len(self._notes) < _REASONS:
            self._notes.append(text[:_LONGEST])

    def result(self) -> dict[str, Any]:
        """The part of a job's result: ``left_out``, ``nameless`` and ``warnings``."""
        return {
            "left_out": [
                {"reason": reason, "items": items, "example": example}
                for reason, (items, example) in self._left_out.items()
            ],
            "nameless": self._nameless,
            "warnings": [*self._notes, *self._of_nameless()],
        }

    def _of_nameless(self) -> list[str]:
        if not self._nameless:
            return []
        files = "1 file has" if self._nameless == 1 else f"{self._nameless:,} files have"
        remedy = "use a layout, a pattern or a manifest"
        if self._layouts:
            remedy = f"they match the layout {' or '.join(self._layouts)}: use it"
        return [f"{files} neither identity nor camera, such as {self._example}: {remedy}"]


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """Format a summary as text.

    Args:
        result: the answer of :meth:`ImportSummary.result`.

    Returns:
        One line per reason and per warning.
    """
    lines = [
        f"left out: {entry['items']:,}, such as {entry['example']}: {entry['reason']}"
        for entry in result.get("left_out", ())
    ]
    return lines + [f"warning: {text}" for text in result.get("warnings", ())]
