"""Jobs do not name erased people either: not over HTTP, and not in any file."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE, wait_until

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.erasure.retention import Retention
from service.errors import StorageFull
from service.testing import solid

TAR = {"Content-Type": "application/x-tar"}
PICTURE = solid((200, 20, 20), kind="PNG")
OTHER = solid((20, 200, 20), kind="PNG")
NAME = "annaschmidt"


def archive(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


# One picture is stored, one fails, one is left out, all with the name.
CONTENT = archive(
    (f"{NAME}/1.png", PICTURE),
    (f"{NAME}/2.png", b"no picture"),
    (f"{NAME}/notes.txt", b"left out"),
    ("somebody/1.png", OTHER),
    ("somebody/2.png", b"no picture either"),
)
PATTERN = r"(?P<identity>\w+)/.*"


def files_with(data: Path, *texts: str) -> list[str]:
    """Files that contain one of these texts."""
    return sorted(
        str(path.relative_to(data))
        for path in data.rglob("*")
        if path.is_file() and any(text.encode() in path.read_bytes() for text in texts)
    )


def bring_in(service: Any, gallery: str = "lobby", content: bytes = CONTENT) -> str:
    """Import the archive into a gallery; returns the address of its job."""
    service.http.post("/galleries", json={"name": gallery})
    answer = service.http.post(
        f"/galleries/{gallery}/imports",
        content=content,
        headers=TAR | {"Idempotency-Key": f"folder of {NAME}"},
        params={"pattern": PATTERN},
    )
    job = service.ended(answer)
    assert (job["state"], job["errors"]) == ("done", 2), job
    return f"/jobs/{job['job_id']}"


def items(service: Any, path: str) -> list[str]:
    lines = service.http.get(f"{path}/errors").text.splitlines()
    return [json.loads(line)["item"] for line in lines]


class TestErasedCrops:
    """Erasing crops erases what the gallery's jobs have noted about them."""

    def test_no_job_names_an_erased_person(self, start, tmp_path):
        data = tmp_path / "data"
        with start() as service:
            path = bring_in(service)
            assert NAME in service.http.get(path).text
            assert files_with(data, NAME) != []
            receipt = service.http.post(
                "/galleries/lobby/crops/delete", json={"identities": [NAME]}
            ).json()
            assert receipt["deleted"] == 1
            assert items(service, path) == ["somebody/2.png"]
            assert NAME not in service.http.get(path).text
            assert files_with(data, NAME) == []
            assert receipt["lists"] == [path.removeprefix("/jobs/")]
        assert files_with(data, NAME) == []

    def test_no_list_names_an_erased_crop(self, start, tmp_path):
        """The same picture failed before, and was stored later."""
        with start() as service:
            path = bring_in(service)
            assert service.put("lobby", "somebody/2.png", OTHER, identity="x").status_code == 201
            service.http.delete("/galleries/lobby/crops/somebody/2.png")
            assert items(service, path) == [f"{NAME}/2.png"]

    def test_no_job_of_an_emptied_gallery_names_anybody(self, start, tmp_path):
        data = tmp_path / "data"
        with start() as service:
            path = bring_in(service)
            body = {"all": True}
            receipt = service.http.post("/galleries/lobby/crops/delete", json=body).json()
            assert (receipt["deleted"], receipt["jobs"], receipt["lists"]) == (2, [], [])
            assert items(service, path) == []
            job = service.http.get(path).json()
            assert (job["state"], job["errors"]) == ("done", 2)  # the counts stay
            assert files_with(data, NAME, "somebody") == []
        assert files_with(data, NAME, "somebody") == []

    def test_a_dry_run_erases_nothing(self, start, tmp_path):
        with start() as service:
            path = bring_in(service)
            body = {"all": True, "dry_run": True}
            receipt = service.http.post("/galleries/lobby/crops/delete", json=body).json()
            assert receipt["lists"] == [path.removeprefix("/jobs/")]
            assert len(items(service, path)) == 2

    def test_retention_erases_lists_past_their_time(self, start, tmp_path):
        with start() as service:
            path = bring_in(service)
            parts = service.parts
            gallery = parts.store.open("lobby")
            gallery.configure(replace(gallery.options, keep_for=3600.0))
            retention = Retention(parts.store, lambda _: None, parts.erasure)
            retention.erase_expired(time.time())
            assert len(items(service, path)) == 2
            retention.erase_expired(time.time() + 7200.0)
            assert items(service, path) == []

    def test_on_a_full_disk_the_receipt_names_the_lists(self, start, monkeypatch):
        with start() as service:
            path = bring_in(service)

            def refuse(*_: object) -> None:
                raise StorageFull("the disk is full")

            monkeypatch.setattr(service.parts.board.notes._table, "writing", refuse)
            body = {"all": True}
            answer = service.http.post("/galleries/lobby/crops/delete", json=body)
            assert answer.status_code == 200
            assert answer.json()["lists"] == [path.removeprefix("/jobs/")]

    def test_a_list_can_be_erased_separately(self, start, tmp_path):
        data = tmp_path / "data"
        with start() as service:
            path = bring_in(service)
            answer = service.http.delete(f"{path}/errors")
            assert (answer.status_code, answer.json()["errors"]) == (200, 2)
            assert items(service, path) == []
            assert files_with(data, f"{NAME}/2.png", f"{NAME}/notes") == []

    def test_a_finished_job_keeps_neither_its_request_nor_its_key(self, start, tmp_path):
        data = tmp_path / "data"
        with start() as service:
            path = bring_in(service)
            service.parts.erasure.tidy_jobs()  # runs every minute
            assert files_with(data, "folder of", "?P<identity>") == []
            again = service.http.post(
                "/galleries/lobby/imports",
                content=CONTENT,
                headers=TAR | {"Idempotency-Key": f"folder of {NAME}"},
                params={"pattern": PATTERN},
            )
            assert again.headers["Location"] == path  # the idempotency key still works
            other = service.http.post(
                "/galleries/lobby/imports",
                content=CONTENT,
                headers=TAR | {"Idempotency-Key": f"folder of {NAME}"},
            )
            assert other.status_code == 409


class TestDeletedGalleries:
    """Deleting a gallery deletes its jobs."""

    def test_nothing_is_left_of_its_jobs(self, start, tmp_path, monkeypatch):
        data = tmp_path / "data"
        with start() as service:
            path = bring_in(service)

            def refuse(*_: object) -> None:
                raise StorageFull("the disk is full")

            monkeypatch.setattr(service.parts.board._workers, "_run", refuse)
            answer = service.http.post("/galleries/lobby/imports", content=CONTENT, headers=TAR)
            failed = answer.headers["Location"]
            assert service.ended(failed)["resumable"]
            answer = service.http.delete("/galleries/lobby")
            assert (answer.json()["deleted"], answer.json()["jobs"]) == (2, 2)
            for one in (path, failed):
                assert service.http.get(one).status_code == 404
                assert service.http.get(f"{one}/errors").status_code == 404
            assert service.http.get("/jobs").json()["jobs"] == []
            assert files_with(data, NAME, "somebody", "no picture") == []
        assert files_with(data, NAME, "somebody") == []

    def test_jobs_of_earlier_releases_are_deleted_at_the_next_start(self, start, tmp_path):
        """Their galleries were deleted, and their item errors outlived them."""
        data = tmp_path / "data"
        data.mkdir()
        old_file(data / "jobs.sqlite3")
        assert files_with(data, NAME) != []
        with start() as service:
            wait_until(lambda: files_with(data, NAME), lambda files: not files)
            kept = service.http.get("/jobs/stays").json()
            assert (kept["state"], kept["counts"]) == ("done", {"created": 1})


def old_file(path: Path) -> None:
    """The jobs as an earlier release left them."""
    now = time.time()
    with closing(sqlite3.connect(path)) as file, file:
        file.executescript(
            "CREATE TABLE jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, "
            "job_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, gallery TEXT NOT NULL, "
            "spec TEXT NOT NULL, idempotency_key TEXT, owner TEXT, state TEXT NOT NULL, "
            "created REAL NOT NULL, counts TEXT NOT NULL, total INTEGER, started REAL, "
            "finished REAL, result TEXT, error TEXT, errors INTEGER NOT NULL, "
            "cancelling INTEGER NOT NULL, crashes INTEGER NOT NULL);"
            "CREATE TABLE item_errors (number INTEGER PRIMARY KEY AUTOINCREMENT, "
            "job_id TEXT NOT NULL, item TEXT NOT NULL, reason TEXT NOT NULL);"
        )
        spec = json.dumps({"source": "folder", "folder": NAME})
        for job_id, gallery in (("stays", "default"), ("goes", "gone")):
            file.execute(
                "INSERT INTO jobs VALUES (NULL, ?, 'import', ?, ?, ?, NULL, 'done', ?, "
                "'{\"created\": 1}', 1, ?, ?, NULL, NULL, 1, 0, 0)",
                (job_id, gallery, spec, f"key of {NAME}", now, now, now),
            )
        for job_id in ("goes", "forgotten long ago"):
            file.execute(
                "INSERT INTO item_errors VALUES (NULL, ?, ?, 'no picture')", (job_id, f"{NAME}/1")
            )


class TestWhoReadsNames:
    """File paths may name people, so only keys that may write see them."""

    def test_a_search_key_reads_counts_only(self, start, tmp_path):
        with start() as service, closing(KeyStore(tmp_path / "data" / FILE)) as keys:
            path = bring_in(service)
            _, text = keys.create(NewKey(label="looks", scope="search"))
            headers = {"Authorization": f"Bearer {text}"}
            with httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE) as looks:
                assert looks.get(f"{path}/errors").status_code == 403
                for answer in (looks.get(path), looks.get("/jobs")):
                    assert answer.status_code == 200
                    assert NAME not in answer.text
                    assert "somebody" not in answer.text
                assert looks.get(path).json()["counts"]["failed"] == 2


class TestReceipts:
    """When crops were erased, by which request, and where copies remain."""

    def test_time_and_request(self, start):
        with start() as service:
            bring_in(service)
            before = datetime.now(UTC) - timedelta(seconds=1)
            headers = {"X-Request-ID": "receipt-1"}
            for method, path, body in (
                ("DELETE", "/galleries/lobby/crops/somebody/1.png", None),
                ("POST", "/galleries/lobby/crops/delete", {"all": True}),
                ("DELETE", "/galleries/lobby", None),
            ):
                answer = service.http.request(method, path, json=body, headers=headers)
                receipt = answer.json()
                assert receipt["request_id"] == answer.headers["X-Request-ID"] == "receipt-1"
                assert receipt["time"].endswith("Z")
                moment = datetime.fromisoformat(receipt["time"])
                assert before <= moment <= datetime.now(UTC)

    @pytest.mark.parametrize("whole", [False, True], ids=["crop", "gallery"])
    def test_galleries_with_a_copy(self, start, whole):
        with start() as service:
            bring_in(service)
            taken = service.http.post("/galleries/lobby/snapshots").json()["snapshot_id"]
            into = f"/galleries/lobby/snapshots/{taken}/restore"
            assert service.http.post(into, json={"into": "copy"}).is_success
            service.create("elsewhere")
            service.create("innocent")
            assert service.put("elsewhere", "x", PICTURE).status_code == 201
            assert service.put("innocent", "x", solid((1, 2, 3), kind="PNG")).status_code == 201
            path = "/galleries/lobby" if whole else f"/galleries/lobby/crops/{NAME}/1.png"
            receipt = service.http.delete(path).json()
            assert (receipt["copies"], receipt["hidden_copies"]) == (["copy", "elsewhere"], 0)
            receipt = service.http.delete("/galleries/innocent/crops/x").json()
            assert (receipt["copies"], receipt["hidden_copies"]) == ([], 0)

    def test_galleries_that_the_key_may_not_see_are_counted(self, start, tmp_path):
        with start() as service, closing(KeyStore(tmp_path / "data" / FILE)) as keys:
            bring_in(service)
            for name in ("vault", "hall"):
                service.create(name)
                service.put(name, "x", PICTURE)
            _, text = keys.create(NewKey(label="b", scope="write", galleries=["lobby", "hall"]))
            headers = {"Authorization": f"Bearer {text}"}
            path = f"{service.url}/galleries/lobby/crops/{NAME}/1.png"
            receipt = httpx.delete(path, headers=headers, timeout=PATIENCE).json()
            assert (receipt["copies"], receipt["hidden_copies"]) == (["hall"], 1)
            assert "vault" not in json.dumps(receipt)
