"""What a runner works with: one run of one job, its counts, and texts short enough to store."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.detection.frame_intake import FrameOptions
from service.detection.person_cutter import PeopledFrame
from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import Embedding, Intake
from service.errors import ReidError
from service.gallery.base import Crop
from service.ingest.storing import Enrolment
from service.jobs.bridge import Bridge
from service.jobs.job import Cancelled, ItemError, Job, Kind, Stopped

MAX_REASONS = 100_000
"""Item errors stored per run; further ones are only counted."""
MAX_NOTED = 8 << 20
"""Characters of all item errors of one run, reasons included."""
_MAX_TEXT = 1000
_WINDOW = 30.0  # seconds over which the rate is averaged


class JobContext:
    """One run of one job, as its runner sees it.

    A runner is called in a thread of its own and must be safe to run again from its start, which
    happens after a crash or a restart. It calls :meth:`raise_if_cancelled` often. A
    :class:`ReidError` that it raises fails the job with that message.

    Args:
        job: the job to run.
        folder: the job's folder, kept until the job ends.
        bridge: detects, embeds and enrols.
        save: stores the progress; called after every count.

    Attributes:
        job_id: the job's id.
        kind: selects the runner.
        gallery: name of the gallery to work on.
        spec: the input from the request.
        folder: the job's folder, kept until the job ends.
        progress: the counts of this run.
        result: what was passed to :meth:`finish`.
    """

    def __init__(
        self, job: Job, folder: Path, bridge: Bridge, save: Callable[[JobContext], None]
    ) -> None:
        self.job = job
        self.job_id = job.job_id
        self.kind: Kind = job.kind
        self.gallery = job.gallery
        self.spec: dict[str, Any] = job.order.spec
        self.folder = folder
        self.progress = Progress(job.order.total)
        self.result: dict[str, Any] | None = None
        self.cancelled = False
        self.stopped = False
        self._left = threading.Event()
        self._bridge = bridge
        self._save = save

    def expect(self, total: int) -> None:
        """Set the number of items."""
        self.progress.total = total

    def count(self, outcome: str, n: int = 1) -> None:
        """Count processed items.

        Args:
            outcome: created, replaced, unchanged, ...
            n: number of items.
        """
        self.progress.count(outcome, n)
        self._save(self)

    def fail(self, item: str, reason: str) -> None:
        """Count a failed item and store the reason.

        Args:
            item: its name, such as a path.
            reason: which value broke which rule.
        """
        self.progress.fail(item, reason)
        self._save(self)

    def raise_if_cancelled(self) -> None:
        """End the run here if the job was cancelled or the service is shutting down.

        Raises:
            Interrupted: runners must not catch it.
        """
        if self.cancelled:
            raise Cancelled
        if self.stopped:
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep, unless the run has to end. Raises as :meth:`raise_if_cancelled`."""
        self._left.wait(seconds)
        self.raise_if_cancelled()

    def finish(self, result: dict[str, Any]) -> None:
        """Set the job's result, a JSON object; long texts and lists are cut."""
        self.result = bounded(storable(result))

    def embed(
        self, uploads: Sequence[EncodedImage], intake: Intake | None = None
    ) -> list[Embedding | ReidError]:
        """Embed uploads; wait while the service is overloaded.

        Args:
            uploads: N files.
            intake: the model to use; the running model if absent.

        Returns:
            N entries: a (D,) float32 unit row, or the error of that file.

        Raises:
            Unavailable: the network failed for a reason unrelated to the images.
            Interrupted: runners must not catch it.
        """
        return self._bridge.embed(uploads, self.wait, intake)

    def enrol(
        self, gallery: str, uploads: Sequence[EncodedImage], crops: Sequence[Crop]
    ) -> list[Enrolment]:
        """Insert or replace crops by id; wait while the service is overloaded.

        Args:
            gallery: an existing gallery.
            uploads: N image files.
            crops: their metadata; upload i shows crop i.

        Returns:
            N outcomes in the order of the crops, durable once this returns.

        Raises:
            ReidError: what ``Enroller.enrol`` raises, except Overloaded.
            Interrupted: runners must not catch it.
        """
        return self._bridge.enrol(gallery, uploads, crops, self.wait)

    def require_detector(self) -> None:
        """Check that persons can be found. Raises Unsupported: the service has no detector."""
        self._bridge.require_detector()

    def find_persons(
        self, frames: Sequence[EncodedImage], options: FrameOptions
    ) -> list[PeopledFrame | ReidError]:
        """Find the persons on frames and cut them out; wait while the service is overloaded.

        Args:
            frames: N image files, preferably few.
            options: how to look at them.

        Returns:
            N entries: the persons, or the error of that file.

        Raises:
            TooLarge: there are too many persons.
            Unavailable: the detector failed for a reason unrelated to the frames.
            Unsupported: the service has no detector.
            Interrupted: runners must not catch it.
        """
        return self._bridge.find_persons(frames, options, self.wait)

    def cancel(self) -> None:
        """Make the runner stop at its next safe point; the job is cancelled."""
        self.cancelled = True
        self._left.set()

    def stop(self) -> None:
        """Make the runner stop at its next safe point; the job starts over later."""
        self.stopped = True
        self._left.set()


Runner = Callable[[JobContext], None]


@dataclass(slots=True)
class Progress:
    """Counts of one run; the runner writes, any thread reads.

    Attributes:
        total: number of items, if known.
        errors: number of failed items.
    """

    total: int | None = None
    errors: int = 0
    _noted: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _unwritten: list[ItemError] = field(default_factory=list)
    _samples: deque[tuple[float, int]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._samples.append((time.monotonic(), 0))

    def count(self, outcome: str, n: int) -> None:
        """Count n items with the same outcome."""
        with self._lock:
            self._counts[outcome] += n
            self._sample()

    def fail(self, item: str, reason: str) -> None:
        """Count a failed item; reasons are stored for the first 100,000 items or 8 MiB only."""
        error = ItemError(cut(storable(item), _MAX_TEXT), cut(storable(reason), _MAX_TEXT))
        with self._lock:
            self._counts["failed"] += 1
            self.errors += 1
            self._noted += len(error.item) + len(error.reason)
            if self.errors <= MAX_REASONS and self._noted <= MAX_NOTED:
                self._unwritten.append(error)
            self._sample()

    def counts(self) -> dict[str, int]:
        """Number of items per outcome."""
        with self._lock:
            return dict(self._counts)

    def rate(self) -> float:
        """Items per second over the last half minute."""
        with self._lock:
            (start, before), now = self._samples[0], time.monotonic()
            return (self._counts.total() - before) / max(now - start, 1e-3)

    def take_errors(self) -> list[ItemError]:
        """Remove and return the item errors that are not on disk yet."""
        with self._lock:
            taken, self._unwritten = self._unwritten, []
            return taken

    def put_back(self, errors: list[ItemError]) -> None:
        """Return item errors that could not be written."""
        with self._lock:
            self._unwritten = errors + self._unwritten

    def _sample(self) -> None:
        now = time.monotonic()
        if now - self._samples[-1][0] < 1.0:
            return
        self._samples.append((now, self._counts.total()))
        while len(self._samples) > 2 and now - self._samples[1][0] > _WINDOW:
            self._samples.popleft()


def storable(value: Any) -> Any:
    """Replace what UTF-8 cannot encode: file names need not be valid text.

    Args:
        value: a JSON value.

    Returns:
        The value with ``?`` for each byte of a file name that is not UTF-8.
    """
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {storable(name): storable(part) for name, part in value.items()}
        case list() | tuple():
            return [storable(part) for part in value]
        case _:
            return value


def bounded(value: Any, *, text: int = 400, entries: int = 100) -> Any:
    """Cut a JSON value to a size that can be stored for many jobs.

    Args:
        value: a JSON value.
        text: most characters per text.
        entries: most entries per list or object.

    Returns:
        The value; a text that was cut ends in ``…``.
    """
    match value:
        case str():
            return cut(value, text)
        case dict():
            some = list(value.items())[:entries]
            return {
                cut(name, text): bounded(part, text=text, entries=entries) for name, part in some
            }
        case list() | tuple():
            return [bounded(part, text=text, entries=entries) for part in value[:entries]]
        case _:
            return value


def cut(text: str, most: int) -> str:
    """Cut a text to at most ``most`` characters; one that was cut ends in ``…``."""
    return text if len(text) <= most else text[: most - 1] + "…"
