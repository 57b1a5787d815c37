"""A network as one ONNX file that keeps the model contract, and the proof that it is the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.errors import ArtifactError
from training.core.transforms import normalise
from training.networks.building import Network
from training.networks.embedder import OnnxEmbedder

OPSET = 20
MIN_COSINE = 0.9999
BATCHES = (1, 7, 32)


class _FromPixels(nn.Module):
    """Cast, normalisation and layout become part of the graph: the service only resizes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, D) float32, unit rows."""
        embeddings: Tensor = self.network(normalise(images))
        return embeddings


def write_onnx(network: Network, height: int, width: int, file: Path) -> None:
    """Write the network: ``images`` uint8 (N, H, W, 3) to ``embeddings`` float32 (N, D), N free.

    Args:
        network: on the CPU, in evaluation mode.
        height: H.
        width: W.
        file: what to write; weights included.

    Raises:
        ArtifactError: the exporter gave no valid graph.
    """
    program = torch.onnx.export(
        _FromPixels(network).eval(),
        # Two images: the exporter would take a batch of one for a constant.
        (torch.zeros(2, height, width, 3, dtype=torch.uint8),),
        input_names=["images"],
        output_names=["embeddings"],
        dynamic_shapes={"images": {0: torch.export.Dim("N", min=1)}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ArtifactError(f"{file}: the exporter returned nothing")
    model = program.model_proto
    _drop_traces(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArtifactError(f"{file}: {error}") from error
    onnx.save(model, file)


@dataclass(frozen=True, slots=True)
class Parity:
    """How well ONNX Runtime and PyTorch agree.

    Attributes:
        cosine: the worst over all crops and batches.
        crops: how many were compared.
        batches: sizes of the batches that each crop was in.
    """

    cosine: float
    crops: int
    batches: tuple[int, ...] = BATCHES

    def __str__(self) -> str:
        """One line for people."""
        sizes = ", ".join(map(str, self.batches))
        return f"worst cosine {self.cosine:.7f} over {self.crops} crops in batches of {sizes}"


def check_parity(
    reference: NDArray[np.float32], exported: OnnxEmbedder, images: NDArray[np.uint8]
) -> Parity:
    """Compare every crop, alone and among others, with what PyTorch says.

    Args:
        reference: (N, D) float32 of PyTorch, unit rows.
        exported: the ONNX file.
        images: (N, H, W, 3) uint8, N >= 32 so that the largest batch is full.

    Returns:
        How well they agree.

    Raises:
        ArtifactError: a crop's cosine is below 0.9999; the message names batch and crop.
    """
    worst = 1.0
    for batch in BATCHES:
        found = exported.embed(images, batch=batch)
        cosines = np.einsum("nd,nd->n", reference.astype(np.float64), found)
        crop = int(np.argmin(cosines))
        if not cosines[crop] >= MIN_COSINE:  # catches NaN
            raise ArtifactError(
                f"ONNX and PyTorch disagree: crop {crop} in a batch of {batch} has cosine "
                f"{cosines[crop]:.6f}, must be at least {MIN_COSINE}"
            )
        worst = min(worst, float(cosines[crop]))
    return Parity(worst, len(images))


def _drop_traces(model: onnx.ModelProto) -> None:
    """Forget where each operation stood in whose source folder."""
    graph = model.graph
    model.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")
