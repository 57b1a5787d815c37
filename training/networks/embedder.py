"""Crops in, embeddings out, whether a checkpoint or an exported model computes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from service.embedding.imaging import Resize
from service.errors import ArtifactError
from service.model.manifest import MANIFEST_NAME, Manifest, read_manifest
from training.core.checkpoint import load_checkpoint
from training.core.config import TrainConfig, parse_config
from training.core.engine import extract_embeddings
from training.networks.building import Network, new_network, restore_network

Float32s = NDArray[np.float32]

_BATCH = 32


class Embedder(Protocol):
    """A network and the crops it takes."""

    @property
    def height(self) -> int:
        """Rows of a crop."""
        ...

    @property
    def width(self) -> int:
        """Columns of a crop."""
        ...

    @property
    def resize(self) -> Resize:
        """How a crop comes to that size."""
        ...

    def embed(self, images: NDArray[np.uint8]) -> Float32s:
        """Embed crops.

        Args:
            images: (N, H, W, 3) uint8 RGB, N >= 1.

        Returns:
            (N, D) float32, unit rows; row i belongs to image i.
        """
        ...


@dataclass(frozen=True, slots=True)
class TorchEmbedder:
    """PyTorch runs it.

    Attributes:
        network: on ``device``.
        height: rows of a crop.
        width: columns of a crop.
        device: where the network runs.
        resize: how training read its crops.
    """

    network: Network
    height: int
    width: int
    device: torch.device
    resize: Resize = "bicubic"

    def embed(self, images: NDArray[np.uint8]) -> Float32s:
        """(N, H, W, 3) uint8 -> (N, D) float32, unit rows."""
        return extract_embeddings(self.network, images, self.device)


@dataclass(frozen=True, slots=True)
class OnnxEmbedder:
    """ONNX Runtime runs it, on the CPU.

    Attributes:
        session: an open network that keeps the model contract.
        height: rows of a crop.
        width: columns of a crop.
        resize: how a crop comes to that size.
    """

    session: onnxruntime.InferenceSession
    height: int
    width: int
    resize: Resize

    def embed(self, images: NDArray[np.uint8], *, batch: int = _BATCH) -> Float32s:
        """(N, H, W, 3) uint8 -> (N, D) float32, unit rows; ``batch`` crops a run."""
        starts = range(0, len(images), batch)
        # disable=None: no progress bar where nobody watches
        shown = tqdm(starts, "embed", unit="batch", leave=False, disable=None)
        runs = [
            self.session.run(["embeddings"], {"images": images[start : start + batch]})[0]
            for start in shown
        ]
        return np.concatenate(runs)


def open_embedder(model: Path, device: torch.device) -> Embedder:
    """Open a model, as trained or as exported.

    Args:
        model: a run's folder, a checkpoint file, or an exported ``models/<name>``.
        device: where a checkpoint runs; an exported model runs on the CPU.

    Returns:
        The model.

    Raises:
        InvalidInput: there is no readable checkpoint.
        ArtifactError: the exported model breaks the contract.
    """
    if _is_exported(model):
        manifest = read_manifest(model)
        return open_onnx(model / manifest.file, manifest)
    checkpoint = load_checkpoint(model)
    return _torch_embedder(restore_network(checkpoint), checkpoint.config, device)


def open_start(model: Path, weights: str | None, device: torch.device) -> Embedder:
    """Open the network that a model's training began with.

    Args:
        model: as for :func:`open_embedder`; its config describes the network.
        weights: start weights instead of the config's, for one that lies elsewhere now.
        device: where the network runs.

    Returns:
        The network before its first epoch.

    Raises:
        InvalidInput: there is no config, or the weights cannot be had.
    """
    if _is_exported(model):
        config = parse_config(read_manifest(model).recipe, f"the recipe in {model}")
    else:
        config = load_checkpoint(model).config
    return start_embedder(config, weights, device)


def start_embedder(config: TrainConfig, weights: str | None, device: torch.device) -> Embedder:
    """The network that a config begins with.

    Args:
        config: of the run.
        weights: start weights instead of the config's.
        device: where the network runs.

    Returns:
        The network before its first epoch.

    Raises:
        InvalidInput: the weights cannot be had.
    """
    torch.manual_seed(config.seed)
    return _torch_embedder(new_network(config, weights=weights), config, device)


def open_onnx(file: Path, manifest: Manifest) -> OnnxEmbedder:
    """Open an exported network.

    Args:
        file: the ONNX file.
        manifest: states the crops it takes.

    Returns:
        The network.

    Raises:
        ArtifactError: ONNX Runtime cannot open it, or it takes other crops.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no other base
        raise ArtifactError(f"{file}: {error}") from error
    expected = [manifest.input_height, manifest.input_width, 3]
    found = session.get_inputs()[0].shape[1:]
    if found != expected:
        raise ArtifactError(f"{file}: takes images of {found}, the manifest says {expected}")
    return OnnxEmbedder(session, manifest.input_height, manifest.input_width, manifest.resize)


def _is_exported(model: Path) -> bool:
    return (model / MANIFEST_NAME).exists()


def _torch_embedder(network: Network, config: TrainConfig, device: torch.device) -> TorchEmbedder:
    size = config.model
    return TorchEmbedder(network.to(device).eval(), size.height, size.width, device)
