"""The folders jobs keep files in.

::

    <data>/jobs/<job id>/      of a job that waits, runs, or failed and can be resumed
    <data>/jobs/.incoming-*/   what is being received; a restart removes it
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.machine.durable import disk_errors, sync_folder

_INCOMING = ".incoming-"


class Scratch:
    """Every job's folder.

    Args:
        folder: holds them; made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, job_id: str) -> Path:
        """The folder of a job, which need not exist."""
        return self._folder / job_id

    @contextmanager
    def receiving(self) -> Iterator[Path]:
        """A new folder, removed at the end unless a job has taken it.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the data folder cannot be used.
        """
        folder = self._folder / f"{_INCOMING}{secrets.token_hex(8)}"
        with disk_errors(folder):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def take(self, received: Path, job_id: str) -> None:
        """Make what was received a job's folder, durable on return. Raises as above."""
        with disk_errors(received):
            sync_folder(received)
            received.rename(self.of(job_id))
            sync_folder(self._folder)

    def holds_files(self, job_id: str) -> bool:
        """Whether a job's folder has anything in it."""
        try:
            return any(self.of(job_id).iterdir())
        except OSError:  # no folder, or removed meanwhile
            return False

    def size(self, folder: Path) -> int:
        """Bytes of the files in a folder; 0 where it is gone."""
        try:
            return sum(path.stat().st_size for path in folder.iterdir())
        except OSError:
            return 0

    def discard(self, job_id: str) -> None:
        """Remove a job's folder, where there is one."""
        shutil.rmtree(self.of(job_id), ignore_errors=True)

    def sweep(self, kept: Collection[str]) -> None:
        """Remove every folder but those of some jobs: what a crash cut short. Raises as above."""
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            for entry in self._folder.iterdir():
                if entry.name not in kept:
                    shutil.rmtree(entry, ignore_errors=True)
