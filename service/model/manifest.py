"""The model contract: ``models/<name>/`` with ``manifest.json`` and ``model.onnx``.

Training writes it, the service reads it, and nothing else passes between the two programs.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Calibration(_Record):
    """How a cosine becomes a probability, and where the service draws the line.

    ``P(same identity) = 1 / (1 + exp(-(slope * cosine + intercept)))``, fitted on cross-camera
    pairs of identities the network was not trained on (Platt 1999), for a pair drawn from both
    kinds equally often.
    """

    slope: float = Field(gt=0.0)
    intercept: float
    threshold: float = Field(ge=-1.0, le=1.0, description="default min_score: a cosine")
    false_match_rate: Share = Field(description="impostor pairs at or above the threshold")
    true_match_rate: Share = Field(description="genuine pairs at or above the threshold")
    genuine_pairs: int = Field(ge=1)
    impostor_pairs: int = Field(ge=1)
    data: str

    def probability(self, score: float) -> float:
        """Probability that two crops with this cosine show the same identity.

        Args:
            score: cosine, -1..1.

        Returns:
            A probability, 0..1, however steep the calibration is.
        """
        log_odds = self.slope * float(score) + self.intercept
        # The exponent is never positive: a large one overflows, a very negative one becomes 0.
        smaller = math.exp(-abs(log_odds))
        return (1.0 if log_odds >= 0.0 else smaller) / (1.0 + smaller)


class Accuracy(_Record):
    """One measured line of the model's card; shares are 0..1, mAP is the finite-sum form."""

    data: str
    protocol: Literal["market1501", "cross-camera"]
    rerank: bool = False
    map: Share
    rank1: Share
    rank5: Share
    rank10: Share
    queries: int
    skipped: int = Field(default=0, ge=0, description="queries without a match; not counted")
    gallery: int


class Manifest(_Record):
    """What a program must know of a model before it opens the network."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    created: str | None = Field(default=None, description="ISO 8601, UTC")
    file: str = Field(default="model.onnx", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    input_height: int = Field(ge=8, le=4096)
    input_width: int = Field(ge=8, le=4096)
    resize: Literal["bilinear", "bicubic"] = "bicubic"
    dimension: int = Field(ge=1, le=65536)
    metric: Literal["cosine"] = "cosine"
    opset: int | None = None
    recipe: dict[str, Any] = Field(default_factory=dict, description="the whole training config")
    trained_epochs: int | None = Field(
        default=None, description="fewer than the recipe's where training was stopped early"
    )
    training_data: str | None = None
    accuracy: tuple[Accuracy, ...] = ()
    accuracy_before: tuple[Accuracy, ...] = Field(
        default=(), description="the same measurements with the start weights"
    )
    calibration: Calibration | None = None
    licence: str | None = None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file.

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits.

    Raises:
        ArtifactError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from error


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json`` of a model folder and verify the network's hash.

    Args:
        folder: ``models/<name>``.

    Returns:
        The manifest.

    Raises:
        ArtifactError: a file is missing, a field breaks its rule, or the hash differs.
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        rules = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}"
            for item in error.errors()
        )
        raise ArtifactError(f"{path}: {rules}") from error
    found = sha256_of(folder / manifest.file)
    if found != manifest.sha256:
        raise ArtifactError(
            f"{folder / manifest.file}: sha256 is {found}, the manifest says {manifest.sha256}"
        )
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, readable by people and stable under ``diff``.

    Args:
        folder: ``models/<name>``; must exist.
        manifest: what to write.
    """
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
