"""How many tiles of a frame a detector sees, as people and programs write it: ``2x2``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from service.errors import InvalidInput

MOST_TILES = 4
"""In a row, and in a column."""

GRID = f"^[1-{MOST_TILES}]x[1-{MOST_TILES}]$"
"""What the text of a grid matches."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Tiles of a frame.

    Attributes:
        columns: tiles in a row, 1..4.
        rows: tiles in a column, 1..4.
    """

    columns: int = 1
    rows: int = 1

    @property
    def tiles(self) -> int:
        """How many there are."""
        return self.columns * self.rows

    @property
    def views(self) -> int:
        """How many pictures of a frame the network sees: the whole frame, and the tiles."""
        return 1 if self.tiles == 1 else 1 + self.tiles

    @classmethod
    def read(cls, text: str) -> Self:
        """Read ``COLUMNSxROWS``.

        Args:
            text: such as ``2x2``.

        Returns:
            The grid.

        Raises:
            InvalidInput: it is not of this form.
        """
        try:
            columns, rows = written_grid(text).split("x")
        except ValueError as error:
            raise InvalidInput(f"{text[:20]!r}: {error}") from error
        return cls(int(columns), int(rows))


def written_grid(text: str) -> str:
    """Return a text that :meth:`Grid.read` reads. Raises ValueError: it is not of this form."""
    if re.fullmatch(GRID, text) is None or text.endswith("\n"):
        raise ValueError(f"write COLUMNSxROWS, each 1 to {MOST_TILES}, such as 2x2")
    return text
