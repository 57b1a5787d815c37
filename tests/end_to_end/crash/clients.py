"""Clients that change a gallery until the service dies, and record every answer."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
from crash.ledger import Change, Ledger, Record
from crash.pictures import Pictures

MORNING = 1_795_249_800.0  # 2026-11-21T08:30:00Z; requests reject times before 1980
IDS = 40  # per client; few, so that most uploads replace a crop
BATCH = 8
CAMERAS = 3
IDENTITIES = 5


class Refused(Exception):
    """The service answered with an unexpected failure."""


class Writer:
    """Upserts, deletes and relabels its own crops, one request at a time.

    Args:
        name: the prefix of every crop id, camera and identity of this client.
        gallery: an existing gallery.
        pictures: what it uploads.
        seed: of its choices.
        tolerated: expected statuses of failures, for example of a full disk.
    """

    def __init__(
        self,
        name: str,
        gallery: str,
        pictures: Pictures,
        seed: int,
        tolerated: frozenset[int] = frozenset(),
    ) -> None:
        self.name = name
        self.ledger = Ledger()
        self.failures: list[str] = []
        self.operations = 0
        self._path = f"/galleries/{gallery}"
        self._pictures = pictures
        self._rng = random.Random(seed)
        self._tolerated = tolerated
        self._chances: list[tuple[Callable[[httpx.Client], httpx.Response], int]] = [
            (self._put_one, 5),
            (self._put_batch, 5),
            (self._delete_one, 2),
            (self._delete_of_camera, 1),
            (self._delete_of_identity, 1),
            (self._relabel, 2),
        ]

    def work(self, url: str, stop: threading.Event) -> None:
        """Send requests until ``stop`` is set or the service no longer answers."""
        with httpx.Client(base_url=url, timeout=60) as http:
            while not stop.is_set():
                try:
                    self.step(http)
                except httpx.TransportError:
                    return  # the pending request stays open in the ledger
                except Refused as failure:
                    self.failures.append(f"{self.name}: {failure}")
                    return

    def step(self, http: httpx.Client) -> int:
        """Send one request, record its answer, and return its status."""
        actions, weights = zip(*self._chances, strict=True)
        (action,) = self._rng.choices(actions, weights)
        self.operations += 1
        answer = action(http)
        if answer.is_success:
            self.ledger.acknowledge()
        else:
            self.ledger.refuse()
            if answer.status_code not in self._tolerated:
                raise Refused(f"{answer.request.method} {answer.request.url}: {answer.text}")
        return answer.status_code

    def _put_one(self, http: httpx.Client) -> httpx.Response:
        crop_id, record, file = self._draw()
        self.ledger.begin(self._stored({crop_id: record}))
        return http.put(
            f"{self._path}/crops/{crop_id}",
            data=fields_of(record),
            files={"image": ("a.png", file)},
        )

    def _put_batch(self, http: httpx.Client) -> httpx.Response:
        drawn = [self._draw() for _ in range(self._rng.randint(2, BATCH))]
        entries = [{"crop_id": crop_id, **fields_of(record)} for crop_id, record, _ in drawn]
        self.ledger.begin(self._stored({crop_id: record for crop_id, record, _ in drawn}))
        return http.post(
            f"{self._path}/crops",
            data={"crops": json.dumps(entries)},
            files=[("images", ("a.png", file)) for _, _, file in drawn],
        )

    def _delete_one(self, http: httpx.Client) -> httpx.Response:
        if not self.ledger.state:
            return self._put_one(http)
        crop_id = self._rng.choice(sorted(self.ledger.state))
        self.ledger.begin(Change(removed=frozenset({crop_id})))
        return http.delete(f"{self._path}/crops/{crop_id}")

    def _delete_of_camera(self, http: httpx.Client) -> httpx.Response:
        camera, since = self._camera(), MORNING + self._rng.uniform(0, 1000)
        return self._delete_where(
            http,
            {"cameras": [camera], "since": since},
            lambda record: record.camera == camera and (record.timestamp or -1) >= since,
        )

    def _delete_of_identity(self, http: httpx.Client) -> httpx.Response:
        identity = self._identity()
        body = {"identities": [identity]}
        return self._delete_where(http, body, lambda record: record.identity == identity)

    def _delete_where(
        self, http: httpx.Client, body: dict[str, Any], passes: Callable[[Record], bool]
    ) -> httpx.Response:
        gone = frozenset(key for key, record in self.ledger.state.items() if passes(record))
        self.ledger.begin(Change(removed=gone))
        answer = http.post(f"{self._path}/crops/delete", json=body)
        if answer.is_success and answer.json()["deleted"] != len(gone):
            raise Refused(f"deleted {answer.json()['deleted']} crops, {len(gone)} were there")
        return answer

    def _relabel(self, http: httpx.Client) -> httpx.Response:
        state = self.ledger.state
        if not state:
            return self._put_one(http)
        chosen = self._rng.sample(sorted(state), min(BATCH, len(state)))
        identity = self._identity()
        named = {key: replace(state[key], identity=identity, origin="hand") for key in chosen}
        self.ledger.begin(Change(named))
        body = {"crop_ids": chosen, "identity": identity}
        return http.post(f"{self._path}/identities/label", json=body)

    def _stored(self, sent: dict[str, Record]) -> Change:
        before = self.ledger.state
        return Change({key: record.stored_over(before.get(key)) for key, record in sent.items()})

    def _draw(self) -> tuple[str, Record, bytes]:
        number = self._rng.randrange(len(self._pictures.files))
        record = Record(
            self._pictures.digests[number],
            self._rng.choice([None, self._identity()]),
            self._camera(),
            MORNING + self._rng.randrange(1000),
        )
        crop_id = f"{self.name}/{self._rng.randrange(IDS):03}"
        return crop_id, record, self._pictures.files[number]

    def _camera(self) -> str:
        return f"{self.name}-c{self._rng.randrange(CAMERAS)}"

    def _identity(self) -> str:
        return f"{self.name}-p{self._rng.randrange(IDENTITIES)}"


def fields_of(record: Record) -> dict[str, Any]:
    """The fields of a crop in a form or a manifest."""
    fields = {
        "identity": record.identity,
        "camera": record.camera,
        "timestamp": record.timestamp,
    }
    return {name: value for name, value in fields.items() if value is not None}
