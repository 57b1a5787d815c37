"""A detector that runs a model by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.detection.detector import Found
from service.embedding.embedder import check_batch
from service.embedding.onnx_embedder import pad
from service.errors import InvalidImage
from service.model.contract import detector_findings, find, load_detector, refuse
from service.model.detector_manifest import DetectorManifest
from service.model.detector_rules import Candidates
from service.model.session import Device, Provider, open_on_device
from service.values.boxes import LOWEST_SCORE

LARGEST_RUN = 8
"""Most pictures per run: more save no time on a CPU, and each takes tens of megabytes."""
MOST_CANDIDATES = 1000
"""Per picture, the best ones; no picture shows as many persons."""


class OnnxDetector:
    """A network run by ONNX Runtime. Safe to call from several threads.

    Construction verifies the hash and checks every rule of the contract, and so runs the network.

    Args:
        path: ``models/<name>``, or a bare ONNX file that keeps the contract for detectors.
        device: ``cuda`` requires the GPU; ``auto`` uses the CPU if no GPU works.
        threads: cores per run on the CPU; None leaves the choice to ONNX Runtime.

    Raises:
        ArtifactError: the model breaks the contract, or ``cuda`` was requested and no GPU works.
    """

    def __init__(self, path: Path, *, device: Device = "auto", threads: int | None = None) -> None:
        self._manifest, file = load_detector(path)
        height, width = self._manifest.input_height, self._manifest.input_width
        blank = np.zeros((1, height, width, 3), dtype=np.uint8)
        self._session, self._provider = open_on_device(file, device, threads, blank)
        refuse(path, detector_findings(self._session, self._run, self._manifest))

    @property
    def manifest(self) -> DetectorManifest:
        """The model's manifest."""
        return self._manifest

    @property
    def provider(self) -> Provider:
        """The device the network runs on: ``cuda`` or ``cpu``."""
        return self._provider

    def detect(self, images: NDArray[np.uint8]) -> list[Found]:
        """Find candidates; those that overlap are not removed.

        Args:
            images: (N, H, W, 3) uint8 RGB at the manifest's input size, N >= 1.

        Returns:
            For each image its candidates above ``LOWEST_SCORE``, at most ``MOST_CANDIDATES``.

        Raises:
            InvalidImage: the network returned a non-finite number for an image.
            Unavailable: the run failed, for example because memory ran out.
        """
        check_batch(images, self._manifest)
        found: list[Found] = []
        for start in range(0, len(images), LARGEST_RUN):
            boxes, scores = self._run(images[start : start + LARGEST_RUN])
            if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
                raise InvalidImage("the network returned a non-finite box or score for an image")
            found += map(_candidates, boxes, scores)
        return found

    def _run(self, images: NDArray[np.uint8]) -> Candidates:
        if self._provider == "cpu":
            return find(self._session, images)
        boxes, scores = find(self._session, pad(images))
        return Candidates(boxes[: len(images)], scores[: len(images)])


def _candidates(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> Found:
    order = np.flatnonzero(scores > LOWEST_SCORE)
    order = order[np.argsort(-scores[order], kind="stable")][:MOST_CANDIDATES]
    return np.column_stack([boxes[order], scores[order]])
