"""The operations to combine: all that change a gallery or keep a copy of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from pauses.schedule import Now, operation
from pauses.world import GALLERY, World, archive, picture
from service.erasure.retention import Retention
from service.errors import ReidError

PATH = f"/galleries/{GALLERY}"
ERASED = "a"


@dataclass(frozen=True)
class Client:
    """One of the two clients.

    Attributes:
        world: the service.
        role: ``first`` or ``second``.
        http: its connection.
        receipts: the receipts of its erasures of one crop.
    """

    world: World
    role: str
    http: httpx.Client
    receipts: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, method: str, path: str, **content: Any) -> bool:
        """Send a request; return whether it was acknowledged."""
        headers = {"x-operation": self.role, **content.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **content).is_success

    def job(self, path: str, **content: Any) -> bool:
        """Start a job and wait for its end; return whether it succeeded."""
        headers = {"x-operation": self.role, **content.pop("headers", {})}
        answer = self.http.post(path, headers=headers, **content)
        if not answer.is_success:
            return False
        location = answer.headers["Location"]
        ended = self.world.ended[location.rpartition("/")[2]]
        while True:
            found = self.http.get(location)
            if not found.is_success:  # it was deleted with its gallery
                return False
            job = found.json()
            if job["state"] not in {"queued", "running"}:
                return bool(job["state"] == "done" and not job["errors"])
            if job["state"] == "queued" and self.world.parts.board.running:
                Now.schedule.note_queued(self.role)
            ended.wait(0.05)  # a queued job that was deleted with its gallery never ends


def upsert(client: Client) -> bool:
    """A new picture under an old id, an old picture again, a new crop."""
    files = {"a": picture("a", 9), "d": picture("d"), "n": picture("n", 1)}
    entries = [{"crop_id": crop_id, "camera": "c2"} for crop_id in files]
    return client.ask(
        "POST",
        f"{PATH}/crops",
        files=[("images", (crop_id, data)) for crop_id, data in files.items()],
        data={"crops": json.dumps(entries)},
    )


def delete_by_id(client: Client) -> bool:
    """Erase one crop."""
    headers = {"x-operation": client.role}
    answer = client.http.delete(f"{PATH}/crops/{ERASED}", headers=headers)
    if answer.is_success:
        client.receipts.append(answer.json())
    return answer.is_success


def delete_by_filter(client: Client) -> bool:
    """Erase a person."""
    return client.ask("POST", f"{PATH}/crops/delete", json={"identities": ["p"]})


def label(client: Client) -> bool:
    """Label two crops by hand, one of which had another identity."""
    name = f"hand-{client.role}"
    body = {"crop_ids": ["b", "d"], "identity": name}
    return client.ask("POST", f"{PATH}/identities/label", json=body)


def merge(client: Client) -> bool:
    """Merge two identities."""
    body = {"identities": ["p", "q"], "into": "pq"}
    return client.ask("POST", f"{PATH}/identities/merge", json=body)


def cluster(client: Client) -> bool:
    """Group crops that nobody labelled."""
    return client.job(f"{PATH}/cluster", json={"eps": 0.9, "standardise": False})


def import_archive(client: Client) -> bool:
    """A crop with other metadata, another picture of one, and a new one."""
    content = archive(
        ("e.png", picture("e"), {"crop_id": "e", "camera": "c3", "identity": "r"}),
        ("b.png", picture("b", 9), {"crop_id": "b", "camera": "c3"}),
        ("m.png", picture("m", 5), {"crop_id": "m", "camera": "c3"}),
    )
    headers = {"Content-Type": "application/x-tar"}
    return client.job(f"{PATH}/imports", content=content, headers=headers)


def reembed(client: Client) -> bool:
    """Embed with the other model, beside the served version."""
    return client.job(f"{PATH}/model", json={"model": "new"})


def switch_and_back(client: Client) -> bool:
    """Switch to the other model and back."""
    there, back = ({"model": name} for name in ("new", "old"))
    gone = client.ask("POST", f"{PATH}/model/switch", json=there)
    return client.ask("POST", f"{PATH}/model/switch", json=back) and gone


def snapshot(client: Client) -> bool:
    """Take a snapshot."""
    return client.ask("POST", f"{PATH}/snapshots")


def restore(client: Client) -> bool:
    """Restore the initial snapshot."""
    return client.ask("POST", f"{PATH}/snapshots/{client.world.snapshot}/restore", json={})


def retention(client: Client) -> bool:
    """Erase expired crops."""
    failed: list[str] = []
    operation.set(client.role)
    try:
        Retention(client.world.parts.store, failed.append).erase_expired(time.time())
    except ReidError:
        return False
    finally:
        operation.set("")
    return not failed


def patch(client: Client) -> bool:
    """Change one option, a different one for each client."""
    changes = {"first": {"join": True}, "second": {"keep_for": 2_000_000_000.0}}
    return client.ask("PATCH", PATH, json=changes[client.role])


def delete_gallery(client: Client) -> bool:
    """Delete the gallery."""
    return client.ask("DELETE", PATH)


Operations = dict[str, Callable[[Client], bool]]


def _by_name(*operations: Callable[[Client], bool]) -> Operations:
    return {one.__name__: one for one in operations}


# Two halves that take equally long, because a process runs whole test files.
ON_CROPS = _by_name(upsert, delete_by_id, delete_by_filter, label, merge, import_archive, retention)
ON_GALLERIES = _by_name(
    *(cluster, reembed, switch_and_back, snapshot, restore, patch, delete_gallery)
)
OPERATIONS = ON_CROPS | ON_GALLERIES
