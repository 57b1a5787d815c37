"""Write a network as one ONNX file that meets the model contract, and check it against PyTorch."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from service.errors import ArtifactError
from training.core.transforms import normalise
from training.networks.building import Network
from training.networks.embedder import OnnxEmbedder
from training.networks.exported import MIN_COSINE

OPSET = 20
BATCHES = (1, 7, 32)


class _FromPixels(nn.Module):
    """A network with cast, normalisation and layout in its graph, so the service only resizes."""

    def __init__(self, network: Network, *, flip: bool) -> None:
        super().__init__()
        self.network = network
        self.flip = flip

    def forward(self, images: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, D) float32, unit rows."""
        pixels = normalise(images)
        if not self.flip:
            embeddings: Tensor = self.network(pixels)
            return embeddings
        # One pass over both, so that the graph holds each weight once; pairs, because the exporter
        # would make the batch size of images one after the other a constant.
        pairs = torch.stack([pixels, pixels.flip(3)], dim=1).flatten(0, 1)
        return F.normalize(self.network(pairs).unflatten(0, (-1, 2)).sum(dim=1), dim=1)


def write_onnx(
    network: Network, height: int, width: int, file: Path, *, flip: bool = False
) -> None:
    """Write a network that maps ``images`` to ``embeddings`` with any batch size N.

    ``images`` is uint8 (N, H, W, 3), ``embeddings`` is float32 (N, D).

    Args:
        network: on the CPU, in evaluation mode.
        height: H.
        width: W.
        file: the file to write; it includes the weights.
        flip: also embed each crop's mirror image, and add the two.

    Raises:
        ArtifactError: the exporter did not produce a valid graph.
    """
    program = torch.onnx.export(
        _FromPixels(_quick_to_trace(network), flip=flip).eval(),
        # Two images, because the exporter would make a batch size of one constant.
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


class _Clip(nn.Module):
    """ReLU6 by the name that ONNX has for it."""

    def forward(self, values: Tensor) -> Tensor:
        return values.clamp(0, 6)


def _quick_to_trace(network: Network) -> Network:
    """Copy a network for the exporter, which would trace gradients, and ReLU6 through slow Python.

    For MobileNetV2, the exporter then needs two thirds of the time.
    """
    network = deepcopy(network).requires_grad_(requires_grad=False)
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, _Clip())
    return network


@dataclass(frozen=True, slots=True)
class Parity:
    """How well an exported network and its reference agree.

    Attributes:
        cosine: the lowest over all crops and batches.
        crops: number of crops compared.
        batches: sizes of the batches in which each crop was embedded.
    """

    cosine: float
    crops: int
    batches: tuple[int, ...] = BATCHES

    def __str__(self) -> str:
        """Format one line for people."""
        sizes = ", ".join(map(str, self.batches))
        return f"worst cosine {self.cosine:.7f} over {self.crops} crops in batches of {sizes}"


def check_parity(
    reference: NDArray[np.float32],
    exported: OnnxEmbedder,
    images: NDArray[np.uint8],
    *,
    between: str = "ONNX and PyTorch",
) -> Parity:
    """Compare every crop's embeddings, alone and in batches, with those of the reference.

    Args:
        reference: (N, D) float32, PyTorch's or the original network's embeddings, unit rows.
        exported: the exported network.
        images: (N, H, W, 3) uint8, N >= 32 so that the largest batch is full.
        between: who is compared, for messages.

    Returns:
        How well they agree.

    Raises:
        ArtifactError: a crop's cosine is below 0.9999; the message names the batch and the crop.
    """
    worst = 1.0
    for batch in BATCHES:
        found = exported.embed(images, batch=batch)
        cosines = np.einsum("nd,nd->n", reference.astype(np.float64), found)
        crop = int(np.argmin(cosines))
        if not cosines[crop] >= MIN_COSINE:  # catches NaN
            raise ArtifactError(
                f"{between} disagree: crop {crop} in a batch of {batch} has cosine "
                f"{cosines[crop]:.6f}, must be at least {MIN_COSINE}"
            )
        worst = min(worst, float(cosines[crop]))
    return Parity(worst, len(images))


def _drop_traces(model: onnx.ModelProto) -> None:
    """Remove source paths of the exporting machine from the graph."""
    graph = model.graph
    model.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")
