"""A client that imports archives and continues its import after the service was killed."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
import threading
import time

import httpx
from crash.clients import MORNING, Refused, fields_of
from crash.ledger import Change, Ledger, Record
from crash.pictures import Pictures

IDS = 60
CROPS = 24  # per archive
JOB_SECONDS = 300.0

# Two kills during one job look like an input that brings the service down: it asks before a third.
_CRASHED = re.compile(r"the service crashed \d+ times while this job ran")


class Importer:
    """Imports one archive after another; the service must finish every import that it accepted.

    Args:
        name: the prefix of every crop id of this client.
        gallery: an existing gallery.
        pictures: what it imports.
        seed: of its choices.
    """

    def __init__(self, name: str, gallery: str, pictures: Pictures, seed: int) -> None:
        self.name = name
        self.ledger = Ledger()
        self.failures: list[str] = []
        self.operations = 0
        self._path = f"/galleries/{gallery}/imports"
        self._pictures = pictures
        self._rng = random.Random(seed)
        self._archive: bytes | None = None
        self._job: str | None = None

    def work(self, url: str, stop: threading.Event) -> None:
        """Import until ``stop`` is set or the service no longer answers."""
        with httpx.Client(base_url=url, timeout=60) as http:
            while not stop.is_set():
                try:
                    self.finish(http)
                    self.begin()
                except httpx.TransportError:
                    return
                except Refused as failure:
                    self.failures.append(f"{self.name}: {failure}")
                    return

    def catch_up(self, url: str) -> None:
        """Wait until the pending import ends; an accepted import is not sent again."""
        with httpx.Client(base_url=url, timeout=60) as http:
            try:
                self.finish(http)
            except Refused as failure:
                self.failures.append(f"{self.name}: {failure}")

    def begin(self) -> None:
        """Draw the next archive."""
        chosen = self._rng.sample(range(IDS), CROPS)
        records = {f"{self.name}/{number:03}": self._draw() for number in chosen}
        self.ledger.begin(Change(records))
        self._archive = self._pack(records)
        self.operations += 1

    def finish(self, http: httpx.Client) -> None:
        """Send the drawn archive unless it was, and wait until it is imported.

        Raises:
            Refused: the import failed for another reason than two kills.
        """
        if self._archive is None:
            return
        if self._job is None:
            headers = {
                "Content-Type": "application/x-tar",
                "Idempotency-Key": f"{self.name}-{self.operations}",
            }
            answer = http.post(self._path, content=self._archive, headers=headers)
            self._job = _require(answer, 202)["job_id"]
        job = _wait(http, self._job)
        if job["resumable"] and _CRASHED.match(str(job["error"])):
            _require(http.post(f"/jobs/{self._job}/resume"), 200)
            job = _wait(http, self._job)
        if job["state"] != "done" or job["done"] != CROPS or job["errors"]:
            raise Refused(f"an import ended as {job}")
        self._archive = self._job = None
        self.ledger.acknowledge()

    def _draw(self) -> Record:
        digest = self._rng.choice(self._pictures.digests)
        return Record(digest, f"{self.name}-p{self._rng.randrange(5)}", f"{self.name}-c0", MORNING)

    def _pack(self, records: dict[str, Record]) -> bytes:
        rows = [
            {"path": f"{number}.png", "crop_id": crop_id, **fields_of(record)}
            for number, (crop_id, record) in enumerate(records.items())
        ]
        members = {"manifest.ndjson": "\n".join(map(json.dumps, rows)).encode()}
        for row, record in zip(rows, records.values(), strict=True):
            members[row["path"]] = self._pictures.files[self._pictures.row_of(record.digest)]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return buffer.getvalue()


def _wait(http: httpx.Client, job_id: str) -> dict[str, object]:
    deadline = time.monotonic() + JOB_SECONDS
    while True:
        job = _require(http.get(f"/jobs/{job_id}"), 200)
        if job["state"] not in {"queued", "running"}:
            return job
        if time.monotonic() > deadline:
            raise Refused(f"an import does not end: {job}")
        time.sleep(0.05)


def _require(answer: httpx.Response, status: int) -> dict[str, object]:
    if answer.status_code != status:
        raise Refused(f"{answer.request.method} {answer.request.url}: {answer.text}")
    body: dict[str, object] = answer.json()
    return body
