"""The service's networks, and what brings pictures to them: batches, decoders and limits."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from service.detection.detection import Detection
from service.detection.detector import Detector
from service.detection.frame_intake import FrameIntake
from service.detection.onnx_detector import LARGEST_RUN, OnnxDetector
from service.detection.person_cutter import CutLimits, PersonCutter
from service.embedding.batching import Batcher, Run
from service.embedding.counted import CountedEmbedder
from service.embedding.decoding import Decoders
from service.embedding.embedder import Embedder
from service.embedding.imaging import ImageLimits
from service.embedding.intake import Intake
from service.embedding.model_folders import find_model
from service.embedding.onnx_embedder import OnnxEmbedder
from service.embedding.resting_embedder import RestingEmbedder
from service.embedding.shelf import Model, ModelShelf
from service.errors import ArtifactError
from service.machine.executors import Executors
from service.metrics import Metrics
from service.model.manifest import NetworkRecord
from service.settings import Settings


def open_shelf(settings: Settings, metrics: Metrics, embedder: Embedder | None) -> ModelShelf:
    """Open the model that embeds, and the shelf that opens others when a gallery needs them.

    Args:
        settings: every setting.
        metrics: counts the images of each run.
        embedder: replaces the model that the settings name.

    Returns:
        The shelf.

    Raises:
        ArtifactError: the model violates the contract.
        Unavailable: the device cannot be used.
    """

    def start(network: Embedder, resting: RestingEmbedder | None = None) -> Model:
        counted = CountedEmbedder(network, metrics.batch_images.observe)
        batcher = _batcher(settings, counted.embed, counted.manifest)
        limits = _image_limits(settings)
        intake = Intake(batcher, network.manifest, limits, settings.decode_threads, metrics)
        return Model(network.manifest, network.provider, batcher, intake, resting)

    def load(path: Path) -> Embedder:
        return OnnxEmbedder(path, device=settings.device)

    def load_again(sha256: str) -> Embedder:
        folder = find_model(settings.models, sha256)  # it may have another name by now
        if folder is None:
            raise ArtifactError(f"{settings.models} holds no model with the sha256 {sha256}")
        network = load(folder)
        if network.manifest.sha256 != sha256:
            raise ArtifactError(f"{folder} was replaced while it was read")
        return network

    def open_model(folder: Path) -> Model:
        network = load(folder)
        resting = RestingEmbedder(network, partial(load_again, network.manifest.sha256))
        return start(resting, resting)

    running = start(embedder or load(settings.model))
    return ModelShelf(running, settings.models, open_model)


def prepare_detection(
    settings: Settings, metrics: Metrics, executors: Executors
) -> tuple[Detection, PersonCutter]:
    """Prepare the detector, which the first frame loads, and what cuts persons out of frames.

    Args:
        settings: every setting.
        metrics: counts what is decoded.
        executors: threads that read and load.

    Returns:
        The detection, and the cutter.
    """

    def open_detector(path: Path) -> Detector:
        # A second thread took two to three times the processor time for the same frames.
        return OnnxDetector(path, device=settings.device, threads=1)

    def start(detector: Detector) -> FrameIntake:
        return FrameIntake(
            _batcher(settings, detector.detect, detector.manifest, LARGEST_RUN),
            detector.manifest,
            _image_limits(settings),
            Decoders(settings.decode_threads, metrics),
            executors.reads,
            settings.max_queue,
        )

    detection = Detection(settings.detector, open_detector, start, executors.background)
    return detection, _prepare_cutter(settings, metrics, detection)


def _prepare_cutter(settings: Settings, metrics: Metrics, detection: Detection) -> PersonCutter:
    images = _image_limits(settings)
    return PersonCutter(
        detection,
        Decoders(settings.decode_threads, metrics),
        images,
        CutLimits(settings.max_images * images.max_pixels, settings.max_request_bytes),
        settings.max_queue_seconds,
    )


def _batcher(
    settings: Settings, run: Run, manifest: NetworkRecord, most: int | None = None
) -> Batcher:
    return Batcher(
        run,
        manifest,
        max_batch=min(settings.max_batch, most or settings.max_batch),
        max_queue=settings.max_queue,
        max_queue_seconds=settings.max_queue_seconds,
    )


def _image_limits(settings: Settings) -> ImageLimits:
    return ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
