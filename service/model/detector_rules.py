"""Check the rules of the contract for networks that find persons.

The input is ``image``, uint8 (N, H, W, 3) RGB with N free. The outputs are ``boxes``, float32
(N, A, 4), the corners x1, y1, x2, y2 of A candidates in pixels of the input, and ``scores``,
float32 (N, A), 0..1. Neither depends on the other images of the batch. Overlapping candidates are
removed outside the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import Unavailable
from service.model.rules import (
    Finding,
    Tensor,
    failed_run,
    fixed_batch,
    input_findings,
    probes,
    shape_name,
    type_name,
    wrong_name,
)

DETECTOR_INPUT = "image"
DETECTOR_OUTPUTS = ("boxes", "scores")
BOX_TOLERANCE = 0.1  # pixels of the input
SCORE_TOLERANCE = 1e-3

_SHAPES = {"boxes": "(N, A, 4)", "scores": "(N, A)"}


class Candidates(NamedTuple):
    """What a detector's network returns for N images.

    Attributes:
        boxes: (N, A, 4) float32: x1, y1, x2, y2 in pixels of the input.
        scores: (N, A) float32, 0..1.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


RunDetector = Callable[[NDArray[np.uint8]], Candidates]


def finds_persons(outputs: Sequence[Tensor]) -> bool:
    """Whether a graph's outputs are named as those of a detector."""
    return set(DETECTOR_OUTPUTS) <= {tensor.name for tensor in outputs}


def detector_graph_findings(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Finding]:
    """Check names, types and shapes of a detector.

    Args:
        inputs: inputs of the graph.
        outputs: outputs of the graph; all but ``boxes`` and ``scores`` are ignored.

    Returns:
        The broken rules.
    """
    findings = list(input_findings(inputs, DETECTOR_INPUT))
    named = {tensor.name: tensor for tensor in outputs}
    for name in DETECTOR_OUTPUTS:
        if name in named:
            findings += _output_findings(named[name])
        else:
            findings.append(wrong_name("output", "`, `".join(named), name))
    return findings


def detector_behaviour_findings(run: RunDetector, height: int, width: int) -> list[Finding]:
    """Check the rules that need a run of a detector.

    Args:
        run: runs the network; may raise Unavailable.
        height: rows of the input.
        width: columns of the input.

    Returns:
        The broken rules. A failed run, a wrong shape or a non-finite number ends the checks.
    """
    images = probes(height, width)
    try:
        together = run(images)
        each = [run(image[None]) for image in images]
    except Unavailable as error:
        return [failed_run(error)]
    for found, count in [(together, len(images)), *((one, 1) for one in each)]:
        if wrong := _shape_findings(found, count):
            return wrong
    alone = Candidates(*(np.concatenate(arrays) for arrays in zip(*each, strict=True)))
    if not all(np.isfinite(array).all() for array in (*together, *alone)):
        return [_not_finite()]
    return list(_value_findings(together, alone))


def _output_findings(tensor: Tensor) -> Iterator[Finding]:
    name, axes = tensor.name, len(_SHAPES[tensor.name].split(","))
    if tensor.type != "tensor(float)":
        yield Finding(
            f"`{name}` is {type_name(tensor.type)}",
            f"`{name}` is float32",
            "End the graph with a Cast to float32",
        )
    if len(tensor.shape) != axes or (name == "boxes" and tensor.shape[2] != 4):
        yield Finding(
            f"the shape of `{name}` is {shape_name(tensor.shape)}",
            f"`{name}` is {_SHAPES[name]}",
            "Decode the boxes inside the graph, and keep only the score of persons",
        )
    elif isinstance(tensor.shape[0], int):
        yield fixed_batch("output", tensor.shape[0])


def _shape_findings(found: Candidates, count: int) -> list[Finding]:
    boxes, scores = found.boxes.shape, found.scores.shape
    if boxes == (count, *scores[1:], 4) and len(scores) == 2:
        return []
    return [
        Finding(
            f"{count} images gave boxes of shape {shape_name(boxes)} and scores of shape "
            f"{shape_name(scores)}",
            "N images give (N, A, 4) and (N, A) with the same A",
            "Keep the batch on the first axis throughout the graph",
        )
    ]


def _value_findings(together: Candidates, alone: Candidates) -> Iterator[Finding]:
    scores, (boxes, _) = together.scores, together
    if scores.size and not 0.0 <= scores.min() <= scores.max() <= 1.0:
        yield Finding(
            f"scores reach from {scores.min():.4g} to {scores.max():.4g}",
            "scores are 0..1",
            "End the scores with a Sigmoid",
        )
    if boxes.size and (boxes[..., 2:] < boxes[..., :2]).any():
        yield Finding(
            "some boxes end before they begin",
            "a box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2",
            "Return corners, not a centre or a size",
        )
    if np.ptp(scores, axis=0).max(initial=0.0) < 1e-9:
        yield Finding(
            "different images get the same scores",
            "the scores depend on the image",
            "Check that the weights were loaded and that the image reaches the output",
        )
    apart = [np.abs(a - b).max(initial=0.0) for a, b in zip(together, alone, strict=True)]
    if apart[0] > BOX_TOLERANCE or apart[1] > SCORE_TOLERANCE:
        yield Finding(
            f"an image alone and in a batch of {len(scores)} has boxes that differ by "
            f"{apart[0]:.3g} pixels and scores that differ by {apart[1]:.3g}",
            f"neither depends on the batch (within {BOX_TOLERANCE} and {SCORE_TOLERANCE})",
            "Export in evaluation mode, with the running statistics of batch normalisation",
        )


def _not_finite() -> Finding:
    return Finding(
        "boxes or scores hold NaN or infinity",
        "every number is finite",
        "Check the weights",
    )
