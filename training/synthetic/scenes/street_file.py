"""The light of an empty street in a file, so that processes and resumed runs see it once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


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
        """Write the light; another process that wrote the same meanwhile does no harm.

        Args:
            light: (H, W, 3) float32.
        """
        part = self.path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, light)
        part.replace(self.path)
