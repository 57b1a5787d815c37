"""The images that wait for a run of the network, in order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.errors import ReidError

Image = NDArray[np.uint8]
Outcome = NDArray[np.float32] | ReidError


@dataclass(slots=True, eq=False)
class Call:
    """The images of one caller. Runs take them in order, so outcomes arrive in order.

    Attributes:
        images: N images.
        answer: gets N outcomes, or an error.
        taken: how many images were taken by runs.
        outcomes: the outcomes so far.
    """

    images: Sequence[Image]
    answer: asyncio.Future[list[Outcome]]
    taken: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Number of images that wait for a run."""
        return len(self.images) - self.taken

    def take(self, most: int) -> Sequence[Image]:
        """Take the next images, at most this many."""
        images = self.images[self.taken : self.taken + most]
        self.taken += len(images)
        return images

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of the next image; the last one completes the answer."""
        self.outcomes.append(outcome)
        if len(self.outcomes) == len(self.images) and not self.answer.done():
            self.answer.set_result(self.outcomes)

    def fail(self, error: ReidError) -> None:
        """Answer with an error, unless there is an answer already."""
        if not self.answer.done():
            self.answer.set_exception(error)


class BatchQueue:
    """Calls that wait for a run; belongs to one event loop.

    Attributes:
        images: number of images that wait.
    """

    def __init__(self) -> None:
        self.images = 0
        self._calls: deque[Call] = deque()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, call: Call, *, urgent: bool) -> None:
        """Add a call at the end, or at the front if it is urgent."""
        if urgent:
            self._calls.appendleft(call)
        else:
            self._calls.append(call)
        self.images += call.waiting

    def remove(self, call: Call) -> None:
        """Remove a call that may still be waiting."""
        if call in self._calls:
            self._calls.remove(call)
            self.images -= call.waiting

    def take(self, most: int) -> list[tuple[Call, Image]]:
        """Take the images of the next run.

        Args:
            most: largest batch.

        Returns:
            The images, each with its call.
        """
        batch: list[tuple[Call, Image]] = []
        while self._calls and len(batch) < most:
            call = self._calls[0]
            if call.answer.done():  # rejected or disconnected a moment ago
                self.remove(call)
                continue
            images = call.take(most - len(batch))
            self.images -= len(images)
            batch += [(call, image) for image in images]
            if not call.waiting:
                self._calls.popleft()
        return batch
