"""Imports of everything that can be sent, and waiting for jobs, against a running service."""

from __future__ import annotations

import io
import tarfile
import threading
from pathlib import Path

import pytest
from waiting import PATIENCE, always_set

from service.client import InvalidInput, JobFailed
from service.testing import FakeEmbedder, solid

RED, GREEN = (200, 20, 20), (20, 200, 20)


def picture(colour: tuple[int, int, int]) -> bytes:
    return solid(colour, kind="PNG")


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    crops = tmp_path / "crops"
    (crops / "door").mkdir(parents=True)
    (crops / "door" / "0001.png").write_bytes(picture(RED))
    (crops / "door" / ("long-" * 40 + "name.png")).write_bytes(picture(GREEN))
    (crops / "broken.png").write_bytes(b"nonsense")
    (crops / "link.png").symlink_to(crops / "broken.png")
    return crops


def test_a_folder_is_streamed(ask, name, folder):
    ask(lambda client: client.galleries.create(name))
    pattern = r"(?P<camera>[^/]+)/.*\.png"
    job = ask(lambda client: client.imports.upload_folder(name, folder, pattern=pattern))
    job = ask(lambda client: client.jobs.wait(job.job_id))
    assert (job.counts["created"], job.counts.get("failed", 0)) == (2, 0)
    assert ask(lambda client: client.galleries.get(name)).cameras == {"door": 2}
    with pytest.raises(InvalidInput, match="no such folder"):
        ask(lambda client: client.imports.upload_folder(name, folder / "nowhere"))


def test_items_that_failed_are_listed_and_erased(ask, name, folder):
    ask(lambda client: client.galleries.create(name))
    job = ask(lambda client: client.imports.upload_folder(name, folder))
    job = ask(lambda client: client.jobs.wait(job.job_id))
    (failed,) = ask(lambda client: client.jobs.errors(job.job_id))
    assert failed.item == "broken.png"
    assert "is not a JPEG" in failed.reason
    assert ask(lambda client: client.jobs.erase_errors(job.job_id)).job_id == job.job_id
    assert ask(lambda client: client.jobs.errors(job.job_id)) == []


@pytest.mark.parametrize("how", ["path", "bytes", "pieces", "function"])
def test_an_archive_is_sent_from_anything(ask, name, tmp_path, how):
    data = archive(**{"0001_c1s1_000000_00.png": picture(RED)})
    path = tmp_path / "crops.tar"
    path.write_bytes(data)
    halves = [data[:700], data[700:]]
    ask(lambda client: client.galleries.create(name))
    body = {"path": path, "bytes": data, "pieces": iter(halves), "function": lambda: halves}[how]
    job = ask(lambda client: client.imports.upload(name, body, zones={"c1": "Europe/Berlin"}))
    assert ask(lambda client: client.jobs.wait(job.job_id)).counts["created"] == 1


def test_a_folder_of_the_server(asker, start, folder):
    with start(import_roots=[folder.parent]) as service:

        def ask(what):
            return asker(service.url, what)

        ask(lambda client: client.galleries.create("g"))
        start_job = lambda client: client.imports.server_folder("g", "crops", pattern=r".*\.png")  # noqa: E731
        job = ask(start_job)
        assert ask(lambda client: client.jobs.wait(job.job_id)).state == "done"


def test_a_job_that_failed_raises_unless_told_not_to(asker, start):
    with start(max_import_bytes=30_000, max_image_bytes=50_000) as service:

        def ask(what):
            return asker(service.url, what)

        ask(lambda client: client.galleries.create("g"))
        rows = b'{"path": "x.png"}\n'
        job = ask(lambda client: client.imports.upload("g", rows, content_type="text/csv"))
        with pytest.raises(JobFailed, match=r"import .* failed") as failed:
            ask(lambda client: client.jobs.wait(job.job_id))
        assert failed.value.job.state == "failed"
        assert ask(lambda client: client.jobs.wait(job.job_id, check=False)).state == "failed"


def test_waiting_can_end_before_the_job(asker, start):
    door = threading.Event()
    door.set()
    with start(FakeEmbedder(fault=lambda _: door.wait(PATIENCE))) as service, always_set(door):

        def ask(what):
            return asker(service.url, what)

        ask(lambda client: client.galleries.create("g"))
        door.clear()
        data = archive(**{"0001_c1s1_000000_00.png": picture(RED)})
        job = ask(lambda client: client.imports.upload("g", data))
        with pytest.raises(TimeoutError, match=job.job_id):
            ask(lambda client: client.jobs.wait(job.job_id, timeout=0.01))
        assert ask(lambda client: client.jobs.cancel(job.job_id)).job_id == job.job_id
