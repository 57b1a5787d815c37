"""Embed crops with a checkpoint or with an exported model."""

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
from service.errors import ArtifactError, InvalidInput
from service.model.manifest import Manifest, read_manifest
from training.core.checkpoint import load_checkpoint
from training.core.config import TrainConfig, parse_config
from training.core.engine import extract_embeddings
from training.networks.building import (
    Network,
    exported_model,
    is_exported,
    new_network,
    restore_network,
)

Float32s = NDArray[np.float32]

_BATCH = 32


class Embedder(Protocol):
    """A network, and the crops that it takes."""

    @property
    def height(self) -> int:
        """Height of a crop in pixels."""
        ...

    @property
    def width(self) -> int:
        """Width of a crop in pixels."""
        ...

    @property
    def resize(self) -> Resize:
        """How a crop is resized to that size."""
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
    """A network run by PyTorch.

    Attributes:
        network: on ``device``.
        height: height of a crop in pixels.
        width: width of a crop in pixels.
        device: where the network runs.
        resize: how training resized its crops.
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
    """A network run by ONNX Runtime on the CPU.

    Attributes:
        session: an open network that meets the model contract.
        height: height of a crop in pixels.
        width: width of a crop in pixels.
        resize: how a crop is resized.
    """

    session: onnxruntime.InferenceSession
    height: int
    width: int
    resize: Resize

    def embed(self, images: NDArray[np.uint8], *, batch: int = _BATCH) -> Float32s:
        """(N, H, W, 3) uint8 -> (N, D) float32, unit rows; ``batch`` crops at a time."""
        starts = range(0, len(images), batch)
        # disable=None: no progress bar unless the output is a terminal
        shown = tqdm(starts, "embed", unit="batch", leave=False, disable=None)
        runs = [
            self.session.run(["embeddings"], {"images": images[start : start + batch]})[0]
            for start in shown
        ]
        return np.concatenate(runs)


@dataclass(frozen=True, slots=True)
class FlipEmbedder:
    """Embeds each crop and its mirror image, and returns their sum at unit length.

    Attributes:
        embedder: embeds either.
    """

    embedder: Embedder

    @property
    def height(self) -> int:
        """Height of a crop in pixels."""
        return self.embedder.height

    @property
    def width(self) -> int:
        """Width of a crop in pixels."""
        return self.embedder.width

    @property
    def resize(self) -> Resize:
        """How a crop is resized to that size."""
        return self.embedder.resize

    def embed(self, images: NDArray[np.uint8]) -> Float32s:
        """(N, H, W, 3) uint8 -> (N, D) float32, unit rows."""
        mirrored = np.ascontiguousarray(images[:, :, ::-1])
        both = self.embedder.embed(images) + self.embedder.embed(mirrored)
        added: Float32s = both / np.linalg.norm(both, axis=1, keepdims=True)
        return added


def flipped(embedder: Embedder, flip: bool) -> Embedder:
    """Make an embedder add each crop's mirror image, if that is asked for.

    Args:
        embedder: embeds crops as they are.
        flip: whether to.

    Returns:
        The embedder.
    """
    return FlipEmbedder(embedder) if flip else embedder


def open_embedder(model: Path, device: torch.device) -> Embedder:
    """Open a trained or an exported model.

    Args:
        model: a run's folder, a checkpoint file, or an exported ``models/<name>``.
        device: where a checkpoint runs; exported models run on the CPU.

    Returns:
        The model.

    Raises:
        InvalidInput: there is no readable checkpoint.
        ArtifactError: the exported model breaks the contract.
    """
    if is_exported(model):
        manifest = read_manifest(model)
        return open_onnx(model / manifest.file, manifest)
    checkpoint = load_checkpoint(model)
    return _torch_embedder(restore_network(checkpoint), checkpoint.config, device)


def open_start(model: Path, weights: str | None, device: torch.device) -> Embedder:
    """Open the network with which a model's training began.

    Args:
        model: as for :func:`open_embedder`; its config describes the network.
        weights: overrides the config's start weights, for example if the file has moved.
        device: where the network runs.

    Returns:
        The network before its first epoch.

    Raises:
        InvalidInput: there is no config, or the weights cannot be read or do not fit.
    """
    if not is_exported(model):
        return start_embedder(load_checkpoint(model).config, weights, device)
    manifest = read_manifest(model)
    if not manifest.recipe:
        raise InvalidInput(
            f"{model}: its manifest has no recipe, so the network before training is not known"
        )
    config = parse_config(manifest.recipe, f"the recipe in {model}")
    return flipped(start_embedder(config, weights, device), manifest.flip)


def start_embedder(config: TrainConfig, weights: str | None, device: torch.device) -> Embedder:
    """Build the network with which a config begins.

    Args:
        config: the run's config.
        weights: overrides the config's start weights.
        device: where the network runs.

    Returns:
        The network before its first epoch.

    Raises:
        InvalidInput: the weights cannot be read or do not fit.
    """
    exported = exported_model(config.model.weights if weights is None else weights)
    if exported is not None:
        return open_embedder(exported, device)
    torch.manual_seed(config.seed)
    return _torch_embedder(new_network(config, weights=weights), config, device)


def open_onnx(file: Path, manifest: Manifest) -> OnnxEmbedder:
    """Open an exported network.

    Args:
        file: the ONNX file.
        manifest: the model's manifest, which states the size of its crops.

    Returns:
        The network.

    Raises:
        ArtifactError: ONNX Runtime cannot open the file, or it takes crops of another size.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        raise ArtifactError(f"{file}: {error}") from error
    expected = [manifest.input_height, manifest.input_width, 3]
    found = session.get_inputs()[0].shape[1:]
    if found != expected:
        raise ArtifactError(f"{file}: takes images of {found}, the manifest says {expected}")
    return OnnxEmbedder(session, manifest.input_height, manifest.input_width, manifest.resize)


def _torch_embedder(network: Network, config: TrainConfig, device: torch.device) -> TorchEmbedder:
    size = config.model
    return TorchEmbedder(network.to(device).eval(), size.height, size.width, device)
