"""The manifest of a model that finds persons on frames, instead of embedding crops of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from service.model.manifest import NetworkRecord, read_checked
from service.values.boxes import LOWEST_SCORE


class DetectorManifest(NetworkRecord):
    """What a program must know about a detector before it loads the network."""

    does = "person-detector"

    kind: Literal["person-detector"] = "person-detector"
    score: float = Field(
        default=0.4, ge=LOWEST_SCORE, lt=1.0, description="a person has a score above it"
    )
    iou: float = Field(
        default=0.5,
        gt=0.0,
        lt=1.0,
        description="of two boxes that overlap more, the one with the lower score is dropped",
    )
    smallest: int | None = Field(
        default=None,
        ge=1,
        description="height in pixels of the network's input from which persons are found reliably",
    )
    opset: int | None = None
    source: str | None = Field(default=None, description="where the weights come from")
    training_data: str | None = None
    licence: str | None = None


def read_detector_manifest(folder: Path) -> DetectorManifest:
    """Read ``manifest.json`` of a detector's folder and verify the network's hash.

    Args:
        folder: ``models/<name>``.

    Returns:
        The manifest.

    Raises:
        ArtifactError: a file is missing, a field breaks its rule, the hash differs, or the model is
            of another kind.
    """
    return read_checked(folder, DetectorManifest)
