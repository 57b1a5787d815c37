"""The model contract: ``models/<name>/`` with ``manifest.json`` and ``model.onnx``.

Training writes it and the service reads it; nothing else passes between the two programs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationError

from service.errors import ArtifactError
from service.values.accuracy import Accuracy, Calibration, FrozenRecord
from service.values.vocabulary import IdentityLabels

__all__ = [
    "MANIFEST_NAME",
    "Accuracy",
    "Calibration",
    "IdentityLabels",
    "Kind",
    "Manifest",
    "NetworkRecord",
    "Quantisation",
    "Wrapping",
    "format_manifest",
    "kind_of",
    "read_checked",
    "read_manifest",
    "sha256_of",
    "write_manifest",
]

MANIFEST_NAME = "manifest.json"
Three = tuple[float, float, float]
Kind = Literal["embedding", "person-detector"]

_DOES: dict[Kind, str] = {
    "embedding": "a model that embeds crops (REID_MODEL)",
    "person-detector": "a model that finds persons on frames (REID_DETECTOR)",
}


class Wrapping(FrozenRecord):
    """A network that was trained elsewhere, and what was put around it to keep the contract.

    The graph computes ``(pixel - mean) / scale`` for each channel, in the network's own order of
    colours, before the original network begins.
    """

    file: str = Field(description="the original file's name")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="the original file's")
    preset: str | None = Field(description="the family whose preprocessing was used")
    recognised: bool = Field(description="found by names in the graph, not asked for")
    colour: Literal["rgb", "bgr"] = Field(description="order of the original input's channels")
    mean: Three = Field(description="for pixels 0..255, in that order")
    scale: Three = Field(description="divides what is left, in that order")
    batches: str = Field(description="how the original runs a batch")


class Quantisation(FrozenRecord):
    """What was made of a float model: most of its convolutions multiply integers of 8 bits."""

    name: str = Field(description="the float model's")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="the float model's")
    convolutions: int = Field(ge=1, description="how many have 8 bits")
    kept: int = Field(ge=0, description="how many at the beginning do not")
    crops: int = Field(ge=1, description="on how many the ranges were measured")
    cosine: float = Field(description="mean over other crops, with the float model's embeddings")
    accuracy: tuple[Accuracy, ...] = Field(default=(), description="the float model's")


class NetworkRecord(FrozenRecord):
    """What the manifests of all kinds state; only an embedding model's does not name its kind."""

    does: ClassVar[Kind]

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    created: str | None = Field(default=None, description="ISO 8601, UTC")
    file: str = Field(default="model.onnx", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    input_height: int = Field(ge=8, le=4096)
    input_width: int = Field(ge=8, le=4096)


AnyManifest = TypeVar("AnyManifest", bound=NetworkRecord)


class Manifest(NetworkRecord):
    """What a program must know about a model before it loads the network."""

    does = "embedding"

    resize: Literal["bilinear", "bicubic"] = "bicubic"
    dimension: int = Field(ge=1, le=65536)
    flip: bool = Field(
        default=False, description="the graph also embeds each crop's mirror image: twice the time"
    )
    metric: Literal["cosine"] = "cosine"
    opset: int | None = None
    recipe: dict[str, Any] = Field(default_factory=dict, description="the whole training config")
    trained_epochs: int | None = Field(
        default=None, description="fewer than in the recipe if training was stopped early"
    )
    training_data: str | None = None
    identity_labels: IdentityLabels = Field(
        default="none", description="whose labels the network has learned from, since its start"
    )
    accuracy: tuple[Accuracy, ...] = ()
    accuracy_before: tuple[Accuracy, ...] = Field(
        default=(), description="the same measurements with the start weights"
    )
    calibration: Calibration | None = None
    licence: str | None = None
    wrapped: Wrapping | None = Field(
        default=None, description="set if the network was trained elsewhere, by another program"
    )
    quantised: Quantisation | None = Field(default=None, description="set if it has 8 bits")


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
        ArtifactError: a file is missing, a field breaks its rule, the hash differs, or the model is
            of another kind.
    """
    return read_checked(folder, Manifest)


def kind_of(folder: Path) -> Kind:
    """What a model does, as its manifest states it.

    Args:
        folder: ``models/<name>``.

    Returns:
        Its kind; ``embedding`` if the manifest cannot be read, because reading it as such says why.
    """
    try:
        stated = json.loads((folder / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return "embedding"
    is_detector = isinstance(stated, dict) and stated.get("kind") == "person-detector"
    return "person-detector" if is_detector else "embedding"


def read_checked(folder: Path, record: type[AnyManifest]) -> AnyManifest:
    """Read the manifest of a model of one kind and verify the network's hash.

    Args:
        folder: ``models/<name>``.
        record: the record of that kind.

    Returns:
        The manifest.

    Raises:
        ArtifactError: as :func:`read_manifest`.
    """
    path = folder / MANIFEST_NAME
    if (found := kind_of(folder)) != record.does and path.is_file():
        raise ArtifactError(f"{path} describes {_DOES[found]}, not {_DOES[record.does]}")
    try:
        manifest = record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        rules = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}"
            for item in error.errors()
        )
        raise ArtifactError(f"{path}: {rules}") from error
    sha256 = sha256_of(folder / manifest.file)
    if sha256 != manifest.sha256:
        raise ArtifactError(
            f"{folder / manifest.file}: sha256 is {sha256}, the manifest says {manifest.sha256}"
        )
    return manifest


def format_manifest(manifest: Manifest) -> str:
    """Format a manifest as JSON, readable and with a stable order of fields.

    Args:
        manifest: the manifest.

    Returns:
        The text, ending with a newline.
    """
    return json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``.

    Args:
        folder: ``models/<name>``; must exist.
        manifest: the manifest.
    """
    (folder / MANIFEST_NAME).write_text(format_manifest(manifest), encoding="utf-8")
