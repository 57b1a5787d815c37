"""An embedder that runs a model by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.embedding.embedder import check_batch
from service.errors import InvalidImage
from service.model.contract import load_model, refuse, session_findings
from service.model.manifest import Manifest
from service.model.session import Device, Provider, infer, open_on_device

LARGEST_RUN = 64
"""Most images per run of the network; larger batches take several runs."""


class OnnxEmbedder:
    """A network run by ONNX Runtime. Safe to call from several threads.

    Construction verifies the hash and checks every rule of the contract, and so runs the network
    before the first request does.

    Args:
        path: ``models/<name>``, or a bare ONNX file that keeps the contract.
        device: ``cuda`` requires the GPU; ``auto`` uses the CPU if no GPU works.
        threads: cores per run on the CPU; None leaves the choice to ONNX Runtime.

    Raises:
        ArtifactError: the model breaks the contract, or ``cuda`` was requested and no GPU works.
    """

    def __init__(self, path: Path, *, device: Device = "auto", threads: int | None = None) -> None:
        self._manifest, file = load_model(path)
        self._session, self._provider = open_on_device(file, device, threads, self._blank(1))
        refuse(path, session_findings(self._session, self._run, self._manifest))
        if self._provider == "cuda":
            self._warm_up()

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self._manifest

    @property
    def provider(self) -> Provider:
        """The device the network runs on: ``cuda`` or ``cpu``."""
        return self._provider

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed a batch.

        Args:
            images: (N, H, W, 3) uint8 RGB at the manifest's input size, N >= 1.

        Returns:
            (N, D) float32, rows of unit length.

        Raises:
            InvalidImage: the network returned a zero or non-finite embedding for an image.
            Unavailable: the run failed, for example because memory ran out.
        """
        check_batch(images, self._manifest)
        runs = range(0, len(images), LARGEST_RUN)
        rows = np.concatenate([self._run(images[start : start + LARGEST_RUN]) for start in runs])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        broken = int(np.count_nonzero(~(np.isfinite(lengths) & (lengths > 0.0))))
        if broken:
            raise InvalidImage(
                f"the network returned a zero or non-finite embedding for {broken} of "
                f"{len(images)} images"
            )
        return np.asarray(rows / lengths, dtype=np.float32)

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._provider == "cpu":
            return infer(self._session, images)
        return infer(self._session, pad(images))[: len(images)]

    def _warm_up(self) -> None:
        """Run every batch size once, because cuDNN plans each one on its first, slow run."""
        for exponent in range(LARGEST_RUN.bit_length()):
            self._run(self._blank(1 << exponent))

    def _blank(self, count: int) -> NDArray[np.uint8]:
        height, width = self._manifest.input_height, self._manifest.input_width
        return np.zeros((count, height, width, 3), dtype=np.uint8)


def pad(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill a batch with black images up to the next power of two.

    CUDA plans each batch size on its first run. With powers of two there are only seven, which can
    be planned at the start.

    Args:
        images: (N, H, W, 3), N >= 1.

    Returns:
        (M, H, W, 3), M the smallest power of two >= N; the first N are ``images``.
    """
    missing = (1 << (len(images) - 1).bit_length()) - len(images)
    return np.concatenate([images, np.zeros((missing, *images.shape[1:]), dtype=np.uint8)])
