"""Load ONNX files into ONNX Runtime sessions and run them, on a GPU if one is available."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.errors import ArtifactError, Unavailable
from service.machine.processors import available, lower_priority
from service.model.rules import OUTPUT_NAME

Device = Literal["auto", "cuda", "cpu"]
Provider = Literal["cuda", "cpu"]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"

logger = logging.getLogger(__name__)


def open_on_device(
    file: Path, device: Device, threads: int | None, probe: NDArray[np.uint8]
) -> tuple[onnxruntime.InferenceSession, Provider]:
    """Load a network on a device.

    Args:
        file: the ONNX file.
        device: ``cuda`` requires the GPU; ``auto`` uses the CPU if no GPU works.
        threads: cores per run on the CPU; None leaves the choice to ONNX Runtime.
        probe: (1, H, W, 3); a GPU is used only if the network runs on this image there.

    Returns:
        The session and the device it runs on.

    Raises:
        ArtifactError: the network cannot be loaded, or ``cuda`` was requested and no GPU works.
    """
    if device != "cpu":
        try:
            return _open_on_cuda(file, probe), "cuda"
        except ArtifactError as error:
            if device == "cuda":
                raise
            logger.info("running on the CPU: %s", error)
    return open_session(file, threads=threads), "cpu"


def open_session(
    file: Path, *, providers: Sequence[Any] = (_CPU,), threads: int | None = None
) -> onnxruntime.InferenceSession:
    """Load a network on given execution providers.

    Args:
        file: the ONNX file.
        providers: execution providers in order of preference.
        threads: cores per run; None leaves the choice to ONNX Runtime.

    Returns:
        The session.

    Raises:
        ArtifactError: ONNX Runtime cannot read or initialise the network.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # exporters leave unused weights, with a warning for each
    options.intra_op_num_threads = threads or _cap()
    # Without spinning, idle threads leave their cores to others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # The session's threads inherit the priority of the thread that creates it.
        with ThreadPoolExecutor(1, initializer=lower_priority) as starter:
            session = starter.submit(
                onnxruntime.InferenceSession, file, options, providers=list(providers)
            ).result()
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        raise ArtifactError(f"{file}: {_first_line(error)}") from error
    session.disable_fallback()  # a GPU that fails later is an error, not a silent slow-down
    return session


def _cap() -> int:
    # ONNX Runtime counts the machine's cores and ignores CPU masks and container quotas.
    mine = available()
    return mine if mine < (os.cpu_count() or 1) else 0


def infer(session: onnxruntime.InferenceSession, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a network that embeds.

    Args:
        session: a loaded network whose graph keeps the contract.
        images: (N, H, W, 3) uint8 RGB.

    Returns:
        (N, D) float32.

    Raises:
        Unavailable: the run failed, for example because memory ran out.
    """
    (embeddings,) = run_graph(session, images, [OUTPUT_NAME])
    return embeddings


def run_graph(
    session: onnxruntime.InferenceSession,
    images: NDArray[np.uint8],
    outputs: Sequence[str] | None = None,
) -> list[NDArray[np.float32]]:
    """Run a network that takes pictures.

    Args:
        session: a loaded network with one input.
        images: (N, H, W, 3) uint8 RGB.
        outputs: names of the outputs to compute; all of them if None.

    Returns:
        An array per output.

    Raises:
        Unavailable: the run failed, for example because memory ran out.
    """
    try:
        found = session.run(outputs, {session.get_inputs()[0].name: images})
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        raise Unavailable(f"the network failed: {_first_line(error)}") from error
    return [np.asarray(array) for array in found]


def _open_on_cuda(file: Path, probe: NDArray[np.uint8]) -> onnxruntime.InferenceSession:
    if _CUDA not in onnxruntime.get_available_providers():
        raise ArtifactError("the installed ONNX Runtime has no CUDA; install hhcl-reid[server-gpu]")
    onnxruntime.preload_dlls()  # finds the CUDA libraries that pip installed
    options = {"cudnn_conv_algo_search": "HEURISTIC"}  # EXHAUSTIVE costs ~0.5 s per batch size
    session = open_session(file, providers=[(_CUDA, options), _CPU])
    if _CUDA not in session.get_providers():
        raise ArtifactError("ONNX Runtime finds no GPU, or lacks CUDA libraries it needs")
    try:
        run_graph(session, probe)
    except Unavailable as error:
        raise ArtifactError(f"the GPU cannot run the network: {error}") from error
    return session


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
