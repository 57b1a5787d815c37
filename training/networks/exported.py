"""Read an exported network back into PyTorch, ready for further training.

The exporter folds each batch normalisation into the convolution before it. The file holds
``W' = W g / s`` and ``b' = b - g m / s``, but no longer the scale g, shift b, mean m and deviation
s, which cannot be recovered. Training needs a normalisation that can follow the data. So the mean
m' and variance v' of the folded convolution's output are measured on crops, and the normalisation
gets the scale ``sqrt(v' + eps)`` and shift ``b' + m'`` that exactly undo it. In evaluation mode the
network is the exported one; in training mode, a batch like those crops passes unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from service.errors import ArtifactError
from service.model.manifest import Manifest, read_manifest
from training.core.checkpoint import START_FILE, Checkpoint, save_checkpoint
from training.core.config import TrainConfig, parse_config
from training.core.transforms import normalise
from training.networks.building import Network, exported_model, load_start, new_network
from training.networks.embedder import TorchEmbedder, flipped, open_onnx
from training.networks.provenance import labels_behind

MIN_COSINE = 0.9999
"""How alike a crop's embeddings by PyTorch and by ONNX Runtime must be."""

_PREFIX = "network."
_BATCH = 32
_MEASURED = 1024  # crops; more would change the statistics less than one training step does
_COMPARED = 64
_CPU = torch.device("cpu")


def start_network(
    config: TrainConfig,
    crops: NDArray[np.uint8],
    *,
    resumed: bool = False,
    keep: Path | None = None,
) -> Network:
    """Build a run's network with its start weights, which may be an exported model's.

    Args:
        config: the run's config.
        crops: (N, H, W, 3) uint8, the crops to train on; an exported model is read back with their
            help.
        resumed: a checkpoint will fill the network, so start weights are not read.
        keep: the run's folder, to keep what was read back from an exported model; other starts can
            be read again.

    Returns:
        The network, in training mode on the CPU.

    Raises:
        ArtifactError: the exported model breaks the contract, or cannot be read back exactly.
        InvalidInput: the start weights cannot be read or do not fit.
    """
    if resumed:
        return new_network(config, weights="none")
    model = exported_model(config.model.weights)
    if model is None:
        return new_network(config)
    _, trained = read_exported(model, crops)
    network = new_network(config, weights="none")
    load_start(network, trained.state_dict(), model)
    if keep is not None:
        state, labels = network.state_dict(), labels_behind(model)
        start = Checkpoint(0, config, state, {}, {}, identity_labels=labels)
        save_checkpoint(keep, start, START_FILE)
    return network


def read_exported(
    folder: Path, crops: NDArray[np.uint8], *, device: torch.device = _CPU
) -> tuple[TrainConfig, Network]:
    """Build the network of a model folder from its recipe and its ONNX file.

    Args:
        folder: ``models/<name>``.
        crops: (N, H, W, 3) uint8, from the cameras to train on; other sizes than the model's input
            are resized.
        device: where to put the network.

    Returns:
        The config with which the model was trained, and the network in evaluation mode.

    Raises:
        ArtifactError: the folder breaks the contract, its network does not match the recipe, or
            PyTorch and ONNX Runtime give different embeddings.
        InvalidInput: the recipe has options that this version does not know.
    """
    manifest = read_manifest(folder)
    if not manifest.recipe:
        raise ArtifactError(
            f"{folder}: its manifest has no recipe, so its network cannot be trained further; a "
            "wrapped network can be served and measured only"
        )
    if manifest.quantised is not None:
        raise ArtifactError(
            f"{folder} is quantised, so its network cannot be trained further: begin with the "
            f"float model, {manifest.quantised.name}"
        )
    file = folder / manifest.file
    config = parse_config(manifest.recipe, f"the recipe in {folder}")
    network = new_network(config, weights="none").eval()
    tensors = _tensors_of(file)
    _load_tensors(network, tensors, file)
    folded = list(_folded(network, tensors))
    network.to(device)
    shown = _resized(_spread(crops, _MEASURED), manifest.input_height, manifest.input_width)
    _unfold(network, folded, shown)
    _require_equal(network, manifest, file, _spread(shown, _COMPARED))
    return config, network


def _tensors_of(file: Path) -> dict[str, Tensor]:
    try:
        graph = onnx.load(file).graph
    except Exception as error:  # protobuf's exceptions share no other base
        raise ArtifactError(f"{file}: {error}") from error
    return {
        each.name.removeprefix(_PREFIX): torch.from_numpy(onnx.numpy_helper.to_array(each).copy())
        for each in graph.initializer
        if each.name.startswith(_PREFIX)
    }


def _load_tensors(network: nn.Module, tensors: dict[str, Tensor], file: Path) -> None:
    own = {name: t for name, t in tensors.items() if not name.endswith(".weight_bias")}
    try:
        missing, unknown = network.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise ArtifactError(f"{file}: its network does not match its recipe: {error}") from error
    folded = {name for conv, norm in _pairs(network) for name in _names(norm, conv, tensors)}
    counters = {name for name in missing if name.endswith(".num_batches_tracked")}
    if lacking := sorted({*missing} - folded - counters):
        raise ArtifactError(
            f"{file}: {len(lacking)} tensors of its recipe's network are missing ({lacking[0]}, "
            f"...), and {len(unknown)} are unknown; the model cannot be trained further"
        )


def _pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of each convolution and of the normalisation that follows it in our backbones."""
    last = ""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            last = name
        elif isinstance(module, nn.BatchNorm2d) and last:
            yield last, name
            last = ""


def _names(norm: str, conv: str, tensors: dict[str, Tensor]) -> list[str]:
    if f"{conv}.weight_bias" not in tensors:
        return []
    return [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]


def _folded(
    network: nn.Module, tensors: dict[str, Tensor]
) -> Iterator[tuple[nn.BatchNorm2d, Tensor]]:
    """Normalisations folded into their convolution, and the bias that remains of each."""
    modules = dict(network.named_modules())
    for conv, norm in _pairs(network):
        bias, module = tensors.get(f"{conv}.weight_bias"), modules[norm]
        if bias is not None and isinstance(module, nn.BatchNorm2d):
            yield module, bias


@torch.no_grad()
def _unfold(
    network: nn.Module, folded: list[tuple[nn.BatchNorm2d, Tensor]], crops: NDArray[np.uint8]
) -> None:
    """Give each normalisation these crops' statistics, and a scale and shift that undo them."""
    device = next(network.parameters()).device
    sums = {norm: torch.zeros(2, norm.num_features, device=device).double() for norm, _ in folded}
    counts = dict.fromkeys(sums, 0)

    def observe(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        maps = inputs[0].double()
        sums[norm] += torch.stack([maps.sum((0, 2, 3)), (maps**2).sum((0, 2, 3))])  # type: ignore[index]
        counts[norm] += maps.numel() // maps.shape[1]  # type: ignore[index]

    for norm, bias in folded:
        _pass_through(norm, torch.zeros_like(bias), torch.ones_like(bias), bias)
    hooks = [norm.register_forward_pre_hook(observe) for norm, _ in folded]
    for start in range(0, len(crops), _BATCH):
        network(normalise(torch.from_numpy(crops[start : start + _BATCH]).to(device)))
    for hook in hooks:
        hook.remove()
    for norm, bias in folded:
        mean, square = sums[norm] / counts[norm]
        _pass_through(norm, mean, (square - mean**2).clamp(min=0), bias.to(mean))


def _pass_through(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, bias: Tensor) -> None:
    """Make the normalisation add only the bias in evaluation mode, whatever its statistics."""
    norm.running_mean, norm.running_var = (each.to(norm.weight) for each in (mean, variance))
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(bias + mean)


def _require_equal(
    network: Network, manifest: Manifest, file: Path, crops: NDArray[np.uint8]
) -> None:
    device = next(network.parameters()).device
    alone = TorchEmbedder(network, manifest.input_height, manifest.input_width, device)
    found = flipped(alone, manifest.flip).embed(crops)
    expected = open_onnx(file, manifest).embed(crops)
    worst = float(np.einsum("nd,nd->n", found.astype(np.float64), expected).min())
    if not worst >= MIN_COSINE:  # catches NaN
        raise ArtifactError(
            f"{file}: the embeddings of PyTorch and ONNX Runtime differ: a crop's cosine is "
            f"{worst:.6f}, must be at least {MIN_COSINE}; start from the run instead"
        )


def _resized(crops: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if crops.shape[1:3] == (height, width):
        return crops
    planes = torch.from_numpy(crops).permute(0, 3, 1, 2)
    resized = F.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    pixels: NDArray[np.uint8] = resized.permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def _spread(crops: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """At most ``count`` crops, evenly spaced."""
    spread: NDArray[np.uint8] = crops[
        np.linspace(0, len(crops) - 1, min(count, len(crops))).astype(int)
    ]
    return spread
