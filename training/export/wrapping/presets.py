"""The preprocessing of families of networks, and recognising them by the names in their graph.

Sources: torchreid's ``build_transforms``; FastReID's ``Baseline.preprocess_image``, which
normalises inside the network; open-metric-learning's ``get_normalisation_resize_torch``; NVIDIA
TAO's ReIdentificationNet specification (``pixel_mean``, ``pixel_std``); Open Model Zoo's page of
each person-reidentification-retail model. What the files themselves expect was measured for
person-reidentification-retail-0267 only, see docs/training.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from training.export.wrapping.preprocessing import Preprocessing

_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_SCALE = (58.395, 57.12, 57.375)
_PIXELS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_OSNET_WEIGHTS = ("conv1.conv.weight", "conv2.0.conv1.conv.weight", "conv2.0.conv2a")

Signature = Callable[[onnx.GraphProto, str, str], bool]


@dataclass(frozen=True, slots=True)
class Preset:
    """A family of networks with one preprocessing.

    Attributes:
        what: the family, in words.
        preprocessing: what its networks expect.
        size: height and width, used if the graph leaves them free.
        signature: decides by graph, input name and output name; None if nothing tells the family.
    """

    what: str
    preprocessing: Preprocessing
    size: tuple[int, int] = (256, 128)
    signature: Signature | None = None


def _is_osnet(graph: onnx.GraphProto, _: str, output: str) -> bool:
    names = [tensor.name for tensor in graph.initializer]
    found = all(any(part in name for name in names) for part in _OSNET_WEIGHTS)
    return found and not _is_open_model_zoo(graph, "data", output)


def _is_open_model_zoo(_: onnx.GraphProto, name: str, output: str) -> bool:
    return (name, output) == ("data", "reid_embedding")


def _is_tao(_: onnx.GraphProto, name: str, output: str) -> bool:
    return (name, output) == ("input", "fc_pred")


def _normalises_itself(graph: onnx.GraphProto, name: str, _: str) -> bool:
    """Whether the graph begins by subtracting ImageNet's mean of pixels 0..255."""
    constants = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    first = [node for node in graph.node if name in node.input]
    if len(first) != 1 or first[0].op_type != "Sub" or first[0].input[1] not in constants:
        return False
    mean = onnx.numpy_helper.to_array(constants[first[0].input[1]]).ravel()
    return mean.shape == (3,) and bool(np.allclose(mean, _IMAGENET_MEAN, atol=0.5))


PRESETS: Mapping[str, Preset] = {
    "torchreid": Preset(
        "torchreid and BoxMOT, such as OSNet",
        Preprocessing(_IMAGENET_MEAN, _IMAGENET_SCALE, "rgb", "bilinear"),
        signature=_is_osnet,
    ),
    "fastreid": Preset(
        "FastReID, which normalises inside the network",
        Preprocessing(*_PIXELS, "rgb", "bicubic"),
        signature=_normalises_itself,
    ),
    "oml": Preset(
        "open-metric-learning (OML)",
        Preprocessing(_IMAGENET_MEAN, _IMAGENET_SCALE, "rgb", "bilinear"),
        size=(224, 224),
    ),
    "tao": Preset(
        "NVIDIA TAO's ReIdentificationNet",
        Preprocessing(_IMAGENET_MEAN, (57.63, 57.63, 57.63), "rgb", "bilinear"),
        signature=_is_tao,
    ),
    "open-model-zoo": Preset(
        "Open Model Zoo's person-reidentification-retail",
        Preprocessing(*_PIXELS, "rgb", "bilinear"),
        signature=_is_open_model_zoo,
    ),
}


def recognise(graph: onnx.GraphProto, input_name: str, output_name: str) -> str | None:
    """Find the family of a network by names and first steps of its graph.

    Args:
        graph: the original graph.
        input_name: its input.
        output_name: the output that holds the embedding.

    Returns:
        The preset's name; None if none fits, or several do.
    """
    found = [
        name
        for name, preset in PRESETS.items()
        if preset.signature is not None and preset.signature(graph, input_name, output_name)
    ]
    return found[0] if len(found) == 1 else None
