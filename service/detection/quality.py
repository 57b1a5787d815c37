"""Measure how well a frame shows each person on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.values.boxes import Box
from service.values.quality import Quality

_SEEN_HEIGHT = 128  # pixels; finer detail is gone before a network sees the person
_SHAPE = 0.36  # width of a whole person's box, as a share of its height
_REACH = 9  # pixels over which blurring again takes the mean, as in the paper
_AT_EDGE = 5.0  # pixels: a box that ends so near to the edge of the frame may go on beyond it
_CELLS = (32, 16)  # rows and columns of points on a box that others may cover
_COVERS = 0.4  # score: boxes with a lower one are often nobody, and hide nobody
_MOST_IN_FRONT = 16  # persons who are looked at, so that a crowd costs no more than a group
_DIGITS = 3

Float64s = NDArray[np.float64]


def measure(
    frame: Image.Image, boxes: Sequence[Box], scores: Sequence[float | None]
) -> list[Quality]:
    """Measure how well a frame shows each person on it.

    Args:
        frame: upright.
        boxes: N boxes of the persons on it, all of them, because one hides another.
        scores: N scores of the detector, 0..1; None if unknown.

    Returns:
        N qualities; shares are rounded to a thousandth.
    """
    if not boxes:
        return []
    luma = frame.convert("L")
    return [
        Quality(
            height=box.height,
            sharpness=round(_sharpness_in(luma, box), _DIGITS),
            cut_off=round(cut_off(box, frame.width, frame.height), _DIGITS),
            covered=round(share, _DIGITS),
            score=score,
        )
        for box, score, share in zip(boxes, scores, covered(boxes, scores), strict=True)
    ]


def sharpness(luma: NDArray[np.uint8]) -> float:
    """How sharp a picture is: 1 - the blur effect (Crete, Dolmiere, Ladret, Nicolas, SPIE 2007).

    What is blurred changes little if it is blurred again. The measure does not depend on contrast;
    noise looks sharp to it.

    Args:
        luma: (H, W), H and W >= 1.

    Returns:
        0..1, the lower of both directions. 0 if the picture is plain.
    """
    picture = luma.astype(np.float64)
    return min(_sharpness_along(picture), _sharpness_along(picture.T))


def cut_off(box: Box, width: int, height: int) -> float:
    """Estimate the share of a person beyond the edge of the frame, from the shape of the box.

    A box that does not end at an edge is whole. One that does is whole too if it has the shape of a
    person; if it is shorter, or narrower, the rest is missing.

    Args:
        box: of the person.
        width: of the frame, in pixels.
        height: of the frame, in pixels.

    Returns:
        0..1.
    """
    seen = 1.0
    if box.top <= _AT_EDGE or box.bottom >= height - _AT_EDGE:
        seen *= min(1.0, box.height * _SHAPE / box.width)
    if box.left <= _AT_EDGE or box.right >= width - _AT_EDGE:
        seen *= min(1.0, box.width / (box.height * _SHAPE))
    return 1.0 - seen


def covered(boxes: Sequence[Box], scores: Sequence[float | None]) -> list[float]:
    """Estimate the share of each box that other persons hide.

    Whoever has the lower feet stands nearer to the camera. Boxes count as if people filled them, so
    the estimate is too high rather than too low.

    Args:
        boxes: N boxes on one frame.
        scores: N scores of the detector, 0..1; None if unknown.

    Returns:
        N shares, 0..1.
    """
    corners = np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])
    sure = corners[[score is None or score >= _COVERS for score in scores]]
    return [_covered(own, sure[sure[:, 3] > own[3]]) for own in corners]


def _covered(own: Float64s, front: Float64s) -> float:
    begin, end = np.maximum(front[:, :2], own[:2]), np.minimum(front[:, 2:], own[2:])
    common = np.prod(np.maximum(end - begin, 0.0), axis=1)
    most = np.argsort(-common, kind="stable")[:_MOST_IN_FRONT]
    front = front[most[common[most] > 0.0]]
    rows, columns = (
        low + (high - low) * (np.arange(count) + 0.5) / count
        for low, high, count in zip(own[[1, 0]], own[[3, 2]], _CELLS, strict=True)
    )
    down = (front[:, 1, None] <= rows) & (rows <= front[:, 3, None])
    across = (front[:, 0, None] <= columns) & (columns <= front[:, 2, None])
    return float((down[:, :, None] & across[:, None, :]).any(axis=0).mean())


def _sharpness_in(luma: Image.Image, box: Box) -> float:
    left, top, right, bottom = box.pixels(luma.width, luma.height)
    if right <= left or bottom <= top:
        return 0.0
    scale = min(1.0, _SEEN_HEIGHT / (bottom - top))
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    part = luma.resize(size, Image.Resampling.BILINEAR, (left, top, right, bottom), reducing_gap=2)
    return sharpness(np.asarray(part))


def _sharpness_along(picture: Float64s) -> float:
    """1 - blur from row to row."""
    padded = np.pad(picture, ((_REACH // 2 + 1, _REACH // 2), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0)
    again = (sums[_REACH:] - sums[:-_REACH]) / _REACH
    change, change_again = np.abs(np.diff(picture, axis=0)), np.abs(np.diff(again, axis=0))
    total = change.sum()
    return float(np.maximum(change - change_again, 0.0).sum() / total) if total else 0.0
