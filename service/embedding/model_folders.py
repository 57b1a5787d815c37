"""The folder of further models: which of its entries can be run, and why others cannot."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from service.errors import ArtifactError
from service.model.manifest import MANIFEST_NAME, Manifest, kind_of, read_manifest

log = logging.getLogger(__name__)


def models_in(folder: Path | None, unusable: dict[str, str]) -> Iterator[tuple[Path, Manifest]]:
    """Read the folder: each model that embeds, in the order of names.

    Args:
        folder: the folder of model folders; None, or one that does not exist, holds none.
        unusable: why an entry cannot be run is added here, by its name.

    Yields:
        A model's folder and its manifest.
    """
    for entry in _entries(folder):
        if kind_of(entry) == "person-detector":
            continue
        try:
            _require_model_folder(entry)
            yield entry, read_manifest(entry)
        except ArtifactError as error:  # it may be half copied; the others are still usable
            log.warning("%s", error)
            # Callers need not know where the folder lies.
            unusable[entry.name] = str(error).replace(f"{entry}{os.sep}", "")


def find_model(folder: Path | None, sha256: str) -> Path | None:
    """Find the folder of the model with this SHA-256; None if the folder has no such model."""
    folders = {manifest.sha256: entry for entry, manifest in models_in(folder, {})}
    return folders.get(sha256)


def _entries(folder: Path | None) -> list[Path]:
    """What may be a model: the folders, and ONNX files beside them."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(
        entry
        for entry in folder.iterdir()
        # A model that is being written lies in a hidden folder.
        if not entry.name.startswith(".") and (entry.is_dir() or entry.suffix == ".onnx")
    )


def _require_model_folder(entry: Path) -> None:
    wrap = "`python -m training wrap` makes a model folder from an ONNX file"
    if not entry.is_dir():
        raise ArtifactError(f"{entry.name} is a file, and a model is a folder: {wrap}")
    if not (entry / MANIFEST_NAME).is_file():
        raise ArtifactError(f"{entry.name} has no {MANIFEST_NAME}: {wrap}")
