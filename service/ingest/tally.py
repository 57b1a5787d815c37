"""What became of files that tell nothing: how many, which for example, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.ingest.name_layouts import fitting
from service.ingest.picture_files import LeftOut

_REASONS = 50  # that are kept apart; the others share one entry
_OTHER = "other reasons"
_LONGEST = 1000  # letters of a reason, a path or a note
_LOOKED_AT = 200  # nameless files that say which layout they fit


@dataclass(slots=True)
class Tally:
    """Counts what is left out by reason, and the files that tell neither identity nor camera."""

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
        """Count a file whose path tells neither identity nor camera."""
        self._example = self._example or path[:_LONGEST]
        self._nameless += 1
        if self._nameless <= _LOOKED_AT:
            found = fitting(path) if self._layouts is None else fitting(path, self._layouts)
            self._layouts = found

    def note(self, text: str) -> None:
        """Keep something that has to be said."""
        if len(self._notes) < _REASONS:
            self._notes.append(text[:_LONGEST])

    def result(self) -> dict[str, Any]:
        """What a job answers: ``left_out``, ``nameless`` and ``warnings``."""
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
        files = "1 file tells" if self._nameless == 1 else f"{self._nameless:,} files tell"
        cure = "say how to read them with a layout, a pattern or a manifest"
        if self._layouts:
            cure = f"they fit the layout {' or '.join(self._layouts)}: say so"
        return [f"{files} neither identity nor camera, such as {self._example}: {cure}"]


def told(result: Mapping[str, Any]) -> list[str]:
    """Lines for a person.

    Args:
        result: of :meth:`Tally.result`.

    Returns:
        A line for each reason and each warning.
    """
    lines = [
        f"left out: {entry['items']:,}, such as {entry['example']}: {entry['reason']}"
        for entry in result.get("left_out", ())
    ]
    return lines + [f"warning: {text}" for text in result.get("warnings", ())]
