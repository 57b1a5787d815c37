"""One frame: the pictures of it that the network sees, and the persons on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.detection.detector import Found
from service.detection.letterbox import Boxes, Fit, draw, fit
from service.detection.nms import suppress
from service.detection.tiles import View, views
from service.embedding.imaging import ImageLimits, read_picture
from service.model.detector_manifest import DetectorManifest
from service.values.boxes import Box
from service.values.tiling import Grid

NEAR_CUT = 4.0
"""Pixels of the input: a box that ends so near to the cut of a tile shows a part of a person."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person on a frame.

    Attributes:
        left: x of the box in pixels of the frame.
        top: y of the box.
        width: of the box.
        height: of the box.
        score: the detector's, 0..1.
    """

    left: float
    top: float
    width: float
    height: float
    score: float

    @property
    def box(self) -> Box:
        """Where the person is."""
        return Box(self.left, self.top, self.width, self.height)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as the network sees it.

    Attributes:
        width: in pixels, upright.
        height: in pixels, upright.
        pictures: one (H, W, 3) uint8 RGB per view, at the network's input size.
        seen: what part of the frame each picture shows, and where it lies on the picture.
    """

    width: int
    height: int
    pictures: list[NDArray[np.uint8]]
    seen: list[tuple[View, Fit]]


def read_frame(data: bytes, grid: Grid, manifest: DetectorManifest, limits: ImageLimits) -> Frame:
    """Decode an image file and draw what the network sees of it.

    Args:
        data: JPEG, PNG, WebP, BMP or TIFF.
        grid: tiles in addition to the whole frame.
        manifest: states the network's input size.
        limits: largest and smallest file accepted.

    Returns:
        The frame.

    Raises:
        ImageTooLarge: the file has too many bytes or pixels.
        InvalidImage: the file is empty, damaged, too small, or in another format.
    """
    height, width = manifest.input_height, manifest.input_width
    picture = read_picture(data, limits)
    seen = [
        (view, fit(view.region, height, width))
        for view in views(picture.width, picture.height, grid)
    ]
    drawn = [draw(picture, place, height, width) for _, place in seen]
    return Frame(picture.width, picture.height, drawn, seen)


def persons_on(frame: Frame, found: Sequence[Found], score: float, iou: float) -> list[Person]:
    """Join what was found on the pictures of a frame.

    Args:
        frame: the frame.
        found: the candidates on each of its pictures.
        score: persons have a score above it.
        iou: of two boxes that overlap more, the one with the lower score is dropped.

    Returns:
        The persons, the highest score first. Boxes are clipped to the frame and rounded to a tenth
        of a pixel.
    """
    parts = [
        _on_view(view, place, candidates, score, iou)
        for (view, place), candidates in zip(frame.seen, found, strict=True)
    ]
    boxes = np.concatenate([boxes for boxes, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])
    if len(parts) > 1:
        kept = suppress(boxes, scores, iou)
        boxes, scores = boxes[kept], scores[kept]
    corners = np.clip(boxes, 0.0, [frame.width, frame.height] * 2).round(1)
    return [
        Person(left, top, round(right - left, 1), round(bottom - top, 1), round(value, 4))
        for (left, top, right, bottom), value in zip(corners.tolist(), scores.tolist(), strict=True)
        if right > left and bottom > top
    ]


def _on_view(
    view: View, place: Fit, candidates: Found, score: float, iou: float
) -> tuple[Boxes, NDArray[np.float32]]:
    """Boxes on the frame and scores of the persons on one view; none that its cuts cut."""
    candidates = candidates[candidates[:, 4] > score]
    candidates = candidates[suppress(candidates[:, :4], candidates[:, 4], iou)]
    boxes, scores = candidates[:, :4], candidates[:, 4]
    # Drop the parts only now: while they were there, they suppressed what overlaps them.
    inner = [place.left, place.top, place.left + place.width, place.top + place.height]
    begins, ends = np.array(inner[:2]) + NEAR_CUT, np.array(inner[2:]) - NEAR_CUT
    reaches = np.hstack([boxes[:, :2] < begins, boxes[:, 2:] > ends])
    whole = ~(reaches & np.array(view.cut)).any(axis=1)
    return place.to_frame(boxes[whole]), scores[whole]
