"""The light of an empty street in a file, so that processes and resumed runs see it once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.machine.durable import replaced_file


@dataclass(frozen=True, slots=True)
class StreetFile:
    """A file with the light of one camera's empty street.

    Attributes:
        path: the file; its folder exists.
    """

    path: Path

    def read(self) -> NDArray[np.float32] | None:
        """Read the light.

        Returns:
            (H, W, 3) float32, or None if no process has written it yet.
        """
        try:
            return np.asarray(np.load(self.path), np.float32)
        except FileNotFoundError:
            return None

    def write(self, light: NDArray[np.float32]) -> None:
        """Write the light; no other process writes the same file at the same time.

        Args:
            light: (H, W, 3) float32.
        """
        with replaced_file(self.path, durable=False) as file:
            np.save(file, light)
