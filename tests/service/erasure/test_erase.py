"""After an erasure over HTTP, no trace is left in galleries, jobs or the audit log."""

from __future__ import annotations

import io
import tarfile

import pytest

from service.errors import StorageFull
from service.testing import solid

RED, GREEN = solid((200, 20, 20), kind="PNG"), solid((20, 200, 20), kind="PNG")


def archive(**pictures):
    """A tar of pictures."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in pictures.items():
            member = tarfile.TarInfo(f"{name}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def files_with(data, *texts):
    """Files that hold one of these bytes."""
    return sorted(
        str(path.relative_to(data))
        for path in data.rglob("*")
        if path.is_file() and any(text in path.read_bytes() for text in texts)
    )


@pytest.mark.parametrize("imported", [False, True], ids=["uploaded", "imported"])
def test_an_erased_crop_leaves_no_trace(start, tmp_path, imported):
    data = tmp_path / "data"
    with start() as service:
        service.http.post("/galleries", json={"name": "lobby", "store_crops": True})
        if imported:
            answer = service.http.post(
                "/galleries/lobby/imports",
                params={"pattern": r"(?P<identity>\w+)"},
                content=archive(erasedperson=RED, keptperson=GREEN),
                headers={"Content-Type": "application/x-tar"},
            )
            job = service.ended(answer)
            assert job["counts"] == {"created": 2}, job
            erased = "erasedperson.png"
        else:
            service.put("lobby", "erasedperson/1", RED, identity="erasedperson", camera="c1")
            service.put("lobby", "keptperson/1", GREEN, identity="keptperson")
            erased = "erasedperson/1"
        gallery = service.parts.store.open("lobby")
        embedding = gallery.embeddings([erased]).tobytes()
        digest = gallery.get(erased).digest.encode()
        searched = service.http.post("/search", data={"gallery": "lobby", "crop_ids": erased})
        assert searched.status_code == 200, searched.text
        receipt = service.http.post(
            "/galleries/lobby/crops/delete", json={"identities": ["erasedperson"]}
        ).json()
        assert (receipt["deleted"], receipt["pictures"]) == (1, 1)
        traces = (b"erasedperson", embedding, RED[-60:])
        assert files_with(data, *traces) == []
        # The audit log keeps the SHA-256 of queries, as documented.
        assert files_with(data / "galleries", digest) == []
        assert files_with(data, b"keptperson") != []
    assert files_with(data, *traces) == []


def failing_import(service, content, monkeypatch):
    """The job of an import that fails because of the disk: it keeps its archive."""

    def refuse(*_):
        raise StorageFull("the disk is full")

    monkeypatch.setattr(service.parts.board._workers, "_run", refuse)
    headers = {"Content-Type": "application/x-tar"}
    return service.ended(
        service.http.post("/galleries/lobby/imports", content=content, headers=headers)
    )


def test_the_receipt_lists_imports_that_keep_their_upload(start, tmp_path, monkeypatch):
    data = tmp_path / "data"
    with start() as service:
        service.http.post("/galleries", json={"name": "lobby", "store_crops": True})
        job = failing_import(service, archive(first=RED, second=GREEN), monkeypatch)
        assert (job["state"], job["resumable"]) == ("failed", True), job
        assert service.put("lobby", "first.png", RED).status_code == 201
        body = {"crop_ids": ["first.png"]}
        receipt = service.http.post("/galleries/lobby/crops/delete", json=body).json()
        assert (receipt["deleted"], receipt["jobs"]) == (1, [job["job_id"]])
        assert files_with(data, RED[-60:]) != []
        assert service.http.post(f"/jobs/{job['job_id']}/cancel").status_code == 200
        assert files_with(data, RED[-60:]) == []
        receipt = service.http.post("/galleries/lobby/crops/delete", json=body).json()
        assert (receipt["deleted"], receipt["jobs"]) == (0, [])
