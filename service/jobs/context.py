"""What a runner works with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from service.embedding.intake import Embedding, Intake
from service.embedding.upload import Upload
from service.errors import ReidError
from service.gallery.base import Crop
from service.ingest.enroller import Enrolment
from service.jobs.base import Cancelled, Job, Kind, Stopped
from service.jobs.bridge import Bridge
from service.jobs.progress import Progress
from service.jobs.texts import bounded, storable


class JobContext:
    """One run of one job, as its runner sees it.

    A runner is called in a thread of its own and must be safe to run again from its start: after a
    crash or a restart it is. It calls :meth:`raise_if_cancelled` often; what it raises as a
    :class:`ReidError` fails the job with that message.

    Args:
        job: what is to be done.
        folder: scratch, kept until the job ends.
        bridge: embeds and enrols.
        save: writes where the job stands; called as it goes.

    Attributes:
        job_id: the job's id.
        kind: which runner does it.
        gallery: name of the gallery it works on.
        spec: what was asked.
        folder: scratch of this job, kept until the job ends.
        progress: the counts of this run.
        result: what :meth:`finish` took.
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
        """Say how many items there will be."""
        self.progress.total = total

    def count(self, outcome: str, n: int = 1) -> None:
        """Count items that are behind us.

        Args:
            outcome: what became of them: created, replaced, unchanged, ...
            n: how many.
        """
        self.progress.count(outcome, n)
        self._save(self)

    def fail(self, item: str, reason: str) -> None:
        """Count an item that failed, and keep the reason.

        Args:
            item: its name, such as a path.
            reason: which value broke which rule.
        """
        self.progress.fail(item, reason)
        self._save(self)

    def raise_if_cancelled(self) -> None:
        """Leave here if the job was cancelled or the service ends.

        Raises:
            Interrupted: let it pass.
        """
        if self.cancelled:
            raise Cancelled
        if self.stopped:
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Sleep, but leave as soon as the job has to. Raises as :meth:`raise_if_cancelled`."""
        self._left.wait(seconds)
        self.raise_if_cancelled()

    def finish(self, result: dict[str, Any]) -> None:
        """Say what came out; a JSON object for whoever asks for the job, cut where it is long."""
        self.result = bounded(storable(result))

    def embed(
        self, uploads: Sequence[Upload], intake: Intake | None = None
    ) -> list[Embedding | ReidError]:
        """Embed uploads; waits while the service is overloaded.

        Args:
            uploads: N files.
            intake: whose embeddings; the running model's if absent.

        Returns:
            N entries: a (D,) float32 unit row, or what is wrong with that file.

        Raises:
            Unavailable: the network failed for reasons that lie not in the images.
            Interrupted: let it pass.
        """
        return self._bridge.embed(uploads, self.wait, intake)

    def enrol(
        self, gallery: str, uploads: Sequence[Upload], crops: Sequence[Crop]
    ) -> list[Enrolment]:
        """Insert or replace crops by id; waits while the service is overloaded.

        Args:
            gallery: an existing gallery.
            uploads: N image files.
            crops: what is known of them; upload i shows crop i.

        Returns:
            N outcomes in the order of the crops, durable once this returns.

        Raises:
            ReidError: what ``Enroller.enrol`` raises, except Overloaded.
            Interrupted: let it pass.
        """
        return self._bridge.enrol(gallery, uploads, crops, self.wait)

    def cancel(self) -> None:
        """Have the runner leave at its next safe point, for good."""
        self.cancelled = True
        self._left.set()

    def stop(self) -> None:
        """Have the runner leave at its next safe point; the job stays unfinished."""
        self.stopped = True
        self._left.set()


Runner = Callable[[JobContext], None]
