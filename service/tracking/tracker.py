"""Follow the persons of one camera.

The order of association is that of ByteTrack (Zhang et al., ECCV 2022): boxes with high scores
first, then those with low scores, which are often people behind others. Unlike there, every span is
in seconds, so frames may come irregularly or be missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.tracking.association import Float64s, best_pairs, widened_iou
from service.tracking.motion import Motion
from service.tracking.options import TrackerOptions
from service.values.boxes import Box

_MEMORY = 0.9  # share of a track's mean embedding that a new one leaves (as in FairMOT, 2021)


def prefix_of(seconds: float) -> str:
    """Begin the names of a tracker's tracks, so that they differ from those before a restart.

    Args:
        seconds: when the tracker begins, since 1970-01-01 UTC.

    Returns:
        Such as ``20260105T120000.000Z-``. Equal times give equal names, so a film that is read
        again gives its tracks the same ones.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z-"


class Tracker:
    """Names the persons of one camera, frame by frame. Equal input gives equal names.

    Args:
        prefix: begins every name; a number follows. See :func:`prefix_of`.
        options: how to follow.
    """

    def __init__(self, prefix: str, options: TrackerOptions | None = None) -> None:
        self._prefix = prefix
        self._options = options or TrackerOptions()
        self._tracks: list[_Track] = []
        self._named = 0
        self._last = -math.inf

    def update(
        self,
        seconds: float,
        boxes: Sequence[Box],
        scores: Sequence[float],
        embeddings: NDArray[np.float32] | None = None,
    ) -> list[str | None]:
        """Follow the persons onto the next frame.

        Args:
            seconds: when the frame was taken, from any origin; not before the frame before.
            boxes: N boxes in pixels.
            scores: N scores of the detector, 0..1.
            embeddings: (N, D) of unit length, if known; always or never.

        Returns:
            For each box the name of its track. None if its score is too low, or its track is too
            new to have a name. No two boxes of a frame have the same name.

        Raises:
            InvalidInput: the time is not finite, or before that of the frame before. Nothing
                changed; :meth:`restart` makes any time acceptable.
        """
        frame = _Frame(boxes, scores, embeddings)
        self._require_later(seconds)
        self._forget(seconds)
        followed = self._follow(seconds, frame)
        followed |= self._begin(seconds, frame, followed)
        self._last = seconds
        return [self._name(followed.get(index)) for index in range(len(boxes))]

    def restart(self) -> None:
        """End every track, for example because the clock was set back; no name is used again."""
        self._tracks = []
        self._last = -math.inf

    def _require_later(self, seconds: float) -> None:
        if not math.isfinite(seconds):
            raise InvalidInput(f"the time of a frame must be a finite number, got {seconds}")
        if seconds < self._last:
            raise InvalidInput(
                f"the frame of {seconds:.3f} s came after that of {self._last:.3f} s: send the "
                "frames of a camera in their order, or restart the tracker if its clock was set"
            )

    def _forget(self, seconds: float) -> None:
        gaps = {True: self._options.gap, False: self._options.unnamed_gap}
        self._tracks = [
            track
            for track in self._tracks
            if seconds - track.motion.seconds <= gaps[track.name is not None]
        ]

    def _follow(self, seconds: float, frame: _Frame) -> dict[int, _Track]:
        """Continue tracks, and return them by the box that continues each."""
        options = self._options
        high = np.flatnonzero(frame.scores >= options.high)
        low = np.flatnonzero((frame.scores >= options.low) & (frame.scores < options.high))
        named = [track for track in self._tracks if track.name is not None]
        # Who was lost before is not found by a low score: it may as well be nobody.
        present = [track for track in named if track.motion.seconds == self._last]
        new = [track for track in self._tracks if track.name is None]
        followed: dict[int, _Track] = {}
        for tracks, indices, least in (
            (named, high, options.overlap),
            (present, low, options.low_overlap),
            (new, high, options.overlap),
        ):
            done = set(map(id, followed.values()))
            free = [index for index in indices.tolist() if index not in followed]
            left = [track for track in tracks if id(track) not in done]
            followed |= self._match(seconds, left, frame, free, least)
        for index, track in followed.items():
            track.see(frame.boxes[index], seconds, frame.embeddings[index])
        return followed

    def _match(
        self,
        seconds: float,
        tracks: Sequence[_Track],
        frame: _Frame,
        indices: Sequence[int],
        overlap: float,
    ) -> dict[int, _Track]:
        if not tracks or not indices:
            return {}
        expected = [track.motion.at(seconds) for track in tracks]
        iou = widened_iou(
            np.stack([motion.corners for motion in expected]),
            np.array([motion.doubt for motion in expected]),
            frame.corners[indices],
        )
        cosine = np.stack([track.mean for track in tracks]) @ frame.embeddings[indices].T
        share = self._options.appearance if frame.embeddings.size else 0.0
        likeness = iou + share * (np.maximum(cosine, 0.0) - iou)
        pairs = best_pairs(likeness, iou >= overlap)
        return {indices[column]: tracks[row] for row, column in pairs}

    def _begin(
        self, seconds: float, frame: _Frame, followed: dict[int, _Track]
    ) -> dict[int, _Track]:
        """Begin tracks at the boxes that continue none, and return them by their boxes."""
        room = max(0, self._options.most - len(self._tracks))
        best = np.argsort(-frame.scores, kind="stable").tolist()
        able = [index for index in best if frame.scores[index] >= self._options.start]
        begun = {
            index: _Track(Motion.begin(frame.boxes[index], seconds), frame.embeddings[index])
            for index in [index for index in able if index not in followed][:room]
        }
        self._tracks += begun.values()
        return begun

    def _name(self, track: _Track | None) -> str | None:
        """The name of a track, which it gets now if it has been seen often enough."""
        if track is None:
            return None
        if track.name is None and track.hits >= self._options.hits:
            self._named += 1
            track.name = f"{self._prefix}{self._named}"
        return track.name


class _Frame:
    """What is known of a frame."""

    def __init__(
        self,
        boxes: Sequence[Box],
        scores: Sequence[float],
        embeddings: NDArray[np.float32] | None,
    ) -> None:
        corners = [(box.left, box.top, box.right, box.bottom) for box in boxes]
        self.boxes = boxes
        self.corners: Float64s = np.array(corners, dtype=np.float64).reshape(-1, 4)
        self.scores = np.asarray(scores, dtype=np.float64)
        self.embeddings = (
            np.zeros((len(boxes), 0), dtype=np.float32) if embeddings is None else embeddings
        )
        if not len(boxes) == len(self.scores) == len(self.embeddings):
            raise ValueError(
                f"{len(boxes)} boxes with {len(self.scores)} scores and {len(self.embeddings)} "
                "embeddings"
            )
        if not (np.isfinite(self.corners).all() and np.isfinite(self.scores).all()):
            raise ValueError("a box or a score is not finite")


class _Track:
    """A person who is followed."""

    def __init__(self, motion: Motion, mean: NDArray[np.float32]) -> None:
        self.name: str | None = None
        self.hits = 1
        self.motion = motion
        self.mean = mean

    def see(self, box: Box, seconds: float, embedding: NDArray[np.float32]) -> None:
        """Take note that the person is on a frame."""
        self.hits += 1
        self.motion = self.motion.at(seconds).seen(box)
        mean = _MEMORY * self.mean + (1 - _MEMORY) * embedding
        self.mean = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
