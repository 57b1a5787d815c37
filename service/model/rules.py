"""Check the rules of the contract on a network's graph, and by running it.

The input is ``images``, uint8 (N, H, W, 3) RGB with N free. The output is ``embeddings``, float32
(N, D), whose rows have unit length and do not depend on the other images of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import Unavailable
from service.model.manifest import MANIFEST_NAME, Manifest, NetworkRecord

INPUT_NAME = "images"
OUTPUT_NAME = "embeddings"
LENGTH_TOLERANCE = 1e-3
COMPOSITION_TOLERANCE = 1e-4
SIDES = range(8, 4096 + 1)
DIMENSIONS = range(1, 65536 + 1)

Shape = Sequence[int | str | None]
RunNetwork = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Tensor(Protocol):
    """An input or output of a graph, as ONNX Runtime describes it. Free axes are not numbers."""

    name: str
    type: str
    shape: Shape


class Sizes(NamedTuple):
    """The sizes that both graph and manifest state."""

    input_height: int
    input_width: int
    dimension: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule.

    Attributes:
        found: what the model does.
        rule: what the contract requires.
        fix: what to change.
    """

    found: str
    rule: str
    fix: str

    def __str__(self) -> str:
        """The three parts as sentences."""
        return f"{self.found}. The contract: {self.rule}. {self.fix}."


def graph_findings(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Finding]:
    """Check names, types and shapes.

    Args:
        inputs: inputs of the graph.
        outputs: outputs of the graph; all but ``embeddings`` are ignored.

    Returns:
        The broken rules.
    """
    return [*input_findings(inputs, INPUT_NAME), *_output_findings(outputs)]


def read_sizes(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Sizes:
    """Read H, W and D from a graph that :func:`graph_findings` accepts.

    Args:
        inputs: inputs of the graph.
        outputs: outputs of the graph.

    Returns:
        The sizes.
    """
    embeddings = next(tensor for tensor in outputs if tensor.name == OUTPUT_NAME)
    _, height, width, _ = inputs[0].shape
    return Sizes(int(height or 0), int(width or 0), int(embeddings.shape[1] or 0))


def manifest_findings(sizes: Sizes, manifest: Manifest) -> list[Finding]:
    """Check that graph and manifest state the same sizes.

    Args:
        sizes: the sizes of the graph.
        manifest: the manifest of the same model.

    Returns:
        The broken rules.
    """
    return size_findings(sizes._asdict(), manifest)


def size_findings(sizes: Mapping[str, int], manifest: NetworkRecord) -> list[Finding]:
    """Check that graph and manifest state the same sizes.

    Args:
        sizes: the sizes of the graph, by their names in the manifest.
        manifest: the manifest of the same model.

    Returns:
        The broken rules.
    """
    return [
        Finding(
            f"{field} is {getattr(manifest, field)} in the manifest and {size} in the graph",
            "both state the same sizes",
            f"Write {size} into {MANIFEST_NAME}",
        )
        for field, size in sizes.items()
        if getattr(manifest, field) != size
    ]


def behaviour_findings(run: RunNetwork, sizes: Sizes) -> list[Finding]:
    """Check the rules that need a run of the network.

    Args:
        run: (N, H, W, 3) uint8 to (N, D) float32; may raise Unavailable.
        sizes: H, W and D.

    Returns:
        The broken rules. A failed run, a wrong shape or a non-finite number ends the checks.
    """
    images = probes(sizes.input_height, sizes.input_width)
    try:
        together = run(images)
        alone = np.concatenate([run(image[None]) for image in images])
    except Unavailable as error:
        return [failed_run(error)]
    expected = (len(images), sizes.dimension)
    for shape in (together.shape, alone.shape):
        if shape != expected:
            return [_wrong_shape(shape, expected)]
    if not (np.isfinite(together).all() and np.isfinite(alone).all()):
        return [_not_finite()]
    return list(_vector_findings(together, alone))


def _vector_findings(
    together: NDArray[np.float32], alone: NDArray[np.float32]
) -> Iterator[Finding]:
    lengths = np.linalg.norm(together, axis=1)
    if np.abs(lengths - 1.0).max() > LENGTH_TOLERANCE:
        yield Finding(
            f"embeddings have lengths {lengths.min():.4g} to {lengths.max():.4g}",
            "every row has length 1",
            "End the graph with an L2 normalisation over axis 1",
        )
    if np.ptp(together, axis=0).max() < 1e-6:
        yield Finding(
            "different images get the same embedding",
            "the embedding depends on the image",
            "Check that the weights were loaded and that the image reaches the output",
        )
    products = (together * alone).sum(axis=1)
    cosines = products / np.maximum(lengths * np.linalg.norm(alone, axis=1), 1e-12)
    if 1.0 - cosines.min() > COMPOSITION_TOLERANCE:
        yield Finding(
            f"an image alone and in a batch of {len(alone)} has different embeddings: cosine "
            f"{cosines.min():.6f}",
            f"an embedding does not depend on the batch (cosine >= {1 - COMPOSITION_TOLERANCE})",
            "Export in evaluation mode, with the running statistics of batch normalisation",
        )


def input_findings(inputs: Sequence[Tensor], name: str) -> Iterator[Finding]:
    """Check the input of a network that takes pictures.

    Args:
        inputs: inputs of the graph.
        name: the name that the contract gives to the only one.

    Yields:
        The broken rules.
    """
    if len(inputs) != 1:
        names = ", ".join(f"`{tensor.name}`" for tensor in inputs)
        yield Finding(
            f"{len(inputs)} inputs: {names}",
            f"one input, `{name}`",
            "Turn the others into constants of the graph",
        )
        return
    (tensor,) = inputs
    if tensor.name != name:
        yield wrong_name("input", tensor.name, name)
    if tensor.type != "tensor(uint8)":
        yield Finding(
            f"the input is {type_name(tensor.type)}",
            "the input is uint8, 0..255",
            "Begin the graph with a Cast and the normalisation of the pixels",
        )
    yield from _layout_findings(tensor.shape)


def _layout_findings(shape: Shape) -> Iterator[Finding]:
    found, rule = f"the input's shape is {shape_name(shape)}", "the input is (N, H, W, 3)"
    if len(shape) != 4:
        yield Finding(f"{found}: {len(shape)} axes", rule, "Give the input four axes")
        return
    if isinstance(shape[0], int):
        yield fixed_batch("input", shape[0])
    if shape[3] != 3 and shape[1] == 3:
        yield Finding(
            f"{found}: NCHW, channels before rows",
            f"{rule}: NHWC, channels last",
            "Begin the graph with a Transpose from NHWC to NCHW",
        )
    elif shape[3] != 3:
        yield Finding(f"{found}: the last axis is not 3", rule, "Take RGB, channels last")
    elif not all(side in SIDES for side in shape[1:3]):
        yield Finding(
            f"{found}: H or W is not a number from {SIDES[0]} to {SIDES[-1]}",
            f"{rule} with fixed H and W",
            "Export with the size of the crops the network was trained on",
        )


def _output_findings(outputs: Sequence[Tensor]) -> Iterator[Finding]:
    named = [tensor for tensor in outputs if tensor.name == OUTPUT_NAME]
    if not named:
        yield wrong_name("output", "`, `".join(t.name for t in outputs), OUTPUT_NAME)
    tensor = (named or outputs)[0]
    if tensor.type != "tensor(float)":
        yield Finding(
            f"the output is {type_name(tensor.type)}",
            "the output is float32",
            "End the graph with a Cast to float32",
        )
    if len(tensor.shape) != 2 or tensor.shape[1] not in DIMENSIONS:
        yield Finding(
            f"the output's shape is {shape_name(tensor.shape)}",
            f"the output is (N, D) with a fixed D from {DIMENSIONS[0]} to {DIMENSIONS[-1]}",
            "Flatten the output and run shape inference when exporting",
        )
    elif isinstance(tensor.shape[0], int):
        yield fixed_batch("output", tensor.shape[0])


def probes(height: int, width: int) -> NDArray[np.uint8]:
    """Pictures to try a network on: noise, a gradient, colour blocks, dark noise; (4, H, W, 3)."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    gradient = np.broadcast_to(np.linspace(0, 255, height)[:, None, None], noise.shape)
    blocks = np.full_like(noise, (200, 40, 40))
    blocks[height // 2 :] = (30, 50, 160)
    return np.stack([noise, gradient, blocks, noise // 8]).astype(np.uint8)


def type_name(name: str) -> str:
    """The usual name of a type of ONNX Runtime, such as ``float32`` for ``tensor(float)``."""
    plain = name.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(plain, plain)


def shape_name(shape: Shape) -> str:
    """A shape as text; a free axis is its name or a question mark."""
    return f"({', '.join(str(side or '?') for side in shape)})"


def wrong_name(kind: str, found: str, rule: str) -> Finding:
    """An input or output has another name than the contract gives it."""
    return Finding(
        f"the {kind} is named `{found}`",
        f"the {kind} is named `{rule}`",
        f"Rename it when exporting ({kind}_names)",
    )


def fixed_batch(kind: str, size: int) -> Finding:
    """The first axis of an input or output is a number."""
    return Finding(
        f"the {kind}'s batch is fixed at {size}",
        "the first axis is free",
        "Export with a dynamic first axis (dynamic_shapes)",
    )


def failed_run(error: Unavailable) -> Finding:
    """ONNX Runtime could not run the network."""
    return Finding(
        str(error),
        "the network runs for one image and for several",
        "Export with a dynamic first axis and test both",
    )


def _wrong_shape(shape: tuple[int, ...], expected: tuple[int, int]) -> Finding:
    return Finding(
        f"{expected[0]} images gave embeddings of shape {shape_name(shape)}",
        f"{expected[0]} images give {shape_name(expected)}",
        "Keep the batch on the first axis throughout the graph",
    )


def _not_finite() -> Finding:
    return Finding(
        "embeddings hold NaN or infinity",
        "every number is finite",
        "Check the weights, and guard the normalisation against division by zero",
    )
