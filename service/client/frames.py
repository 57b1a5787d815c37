"""Whole frames, whose persons become crops of a gallery."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from service.api.boxes import Box
from service.api.frames import FramesAnswer
from service.client.call import Call, Time, as_model, at, given
from service.client.errors import InvalidInput
from service.client.fields import FrameBox, Image, NewFrame, file_part


def add_frames(  # noqa: PLR0913 - the fields of the form
    gallery: str,
    frames: Sequence[NewFrame | Image],
    *,
    camera: str | None = None,
    timestamp: Time | None = None,
    zone: str | None = None,
    tiles: str | None = None,
    score: float | None = None,
    boxes: Sequence[Sequence[FrameBox | Box]] | None = None,
    min_quality: float | None = None,
    dry_run: bool = False,
) -> Call[FramesAnswer]:
    """Find the persons on whole frames, and add or replace a crop of each.

    Args:
        gallery: its name.
        frames: at most ``ops.info().limits.max_images``. A frame that is sent as bytes needs an id,
            so send it as a :class:`service.client.NewFrame`, or with a file name.
        camera: that took the frames, if they do not name their own.
        timestamp: when they were taken, if they do not say it.
        zone: whose clock ``timestamp`` was read from, if it has no zone of its own.
        tiles: look at overlapping tiles of each frame too, such as ``2x2``.
        score: persons have a score above it, 0.05..1; the detector's if None.
        boxes: the persons of each frame, instead of the detector's.
        min_quality: persons with a lower quality are not stored, 0..1; all are stored if None.
        dry_run: store nothing.

    Returns:
        One result per frame, in order. Persons called ``created`` or ``replaced`` are on disk.

    Raises:
        InvalidInput: a frame has no id.
    """
    described = [one if isinstance(one, NewFrame) else NewFrame(image=one) for one in frames]
    files = [("images", file_part(frame.image)) for frame in described]
    fields = {"camera": camera, "timestamp": timestamp, "zone": zone, "tiles": tiles}
    fields |= {"score": score, "min_quality": min_quality, "dry_run": dry_run}
    form = given(fields) | {"frames": json.dumps([_entry(frame) for frame in described])}
    if boxes is not None:
        form["boxes"] = json.dumps([[_box(box) for box in persons] for persons in boxes])
    return Call(
        method="POST",
        path=at("/galleries/{gallery}/frames", gallery=gallery),
        read=as_model(FramesAnswer),
        body=lambda: {"data": form, "files": files},
        repeat="always",
    )


def _entry(frame: NewFrame) -> dict[str, Any]:
    if frame.frame_id is None and isinstance(frame.image, bytes):
        raise InvalidInput("Invalid input: a frame that is sent as bytes needs a frame_id")
    names = ("frame_id", "camera", "timestamp", "zone")
    return given({name: getattr(frame, name) for name in names})


def _box(box: FrameBox | Box) -> dict[str, Any]:
    return given(asdict(box) if isinstance(box, FrameBox) else box.model_dump())
