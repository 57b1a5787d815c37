"""Reading data sets: from folders and lists to samples with a path, an identity and a camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """One crop. Sample i, embedding i and pseudo-label i share the index i everywhere.

    Attributes:
        path: the image file.
        identity: ground truth where known, -1 where unknown; training never reads it except to
            report NMI and ARI.
        camera: 0-based camera index.
    """

    path: Path
    identity: int
    camera: int
