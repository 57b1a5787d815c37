"""Work that waits for one gallery blocks nothing else."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import PATIENCE

from service.gallery.disk.gallery import DiskGallery
from service.testing import solid

# The size of asyncio's default pool, which all work once shared.
WRITERS = min(16, (os.cpu_count() or 1) + 4)
RED = solid((200, 20, 20))


@pytest.fixture
def stuck(service, monkeypatch):
    """A gallery whose writers wait until the test ends, as during a compaction or a switch."""
    service.create("stuck")
    service.put("stuck", "a", RED)
    gallery, arrived = service.parts.store.open("stuck"), threading.Semaphore(0)
    delete = DiskGallery.delete

    def delete_late(self, *args, **kwargs):
        arrived.release()
        return delete(self, *args, **kwargs)

    monkeypatch.setattr(DiskGallery, "delete", delete_late)
    body = {"crop_ids": ["nobody"]}
    with ThreadPoolExecutor(WRITERS) as clients:
        with gallery.versions.lock:
            path = "/galleries/stuck/crops/delete"
            asked = [clients.submit(service.http.post, path, json=body) for _ in range(WRITERS)]
            for _ in asked:
                assert arrived.acquire(timeout=PATIENCE)
            yield "stuck"
        answers = [one.result().status_code for one in asked]
    assert answers == [200] * WRITERS
    service.http.delete("/galleries/stuck")


def test_waiting_writers_block_neither_searches_nor_probes(service, stuck):
    assert service.http.get("/readyz").status_code == 200
    answer = service.http.post(
        "/search", files=[("images", ("q.png", RED))], data={"gallery": stuck}
    )
    assert answer.status_code == 200
    for path in ("", "/crops", "/crops/a", "/identities", "/model", "/snapshots"):
        assert service.http.get(f"/galleries/{stuck}{path}").status_code == 200, path
    for path in ("/info", "/jobs", "/galleries", "/keys", "/audit", "/metrics", "/models"):
        assert service.http.get(path).status_code == 200, path


def test_waiting_writers_do_not_block_job_control(service, stuck):
    job = service.http.post(f"/galleries/{stuck}/cluster").json()
    assert service.http.post(f"/jobs/{job['job_id']}/cancel").status_code in {200, 409}


def test_threads_are_named_after_their_work(service):
    service.create("named")
    service.put("named", "a", RED)
    service.search(("q.png", RED), gallery="named")
    names = {thread.name.rpartition("_")[0] for thread in threading.enumerate()}
    assert {"read", "write", "background", "bookkeeping"} <= names
    assert not any(name.startswith("asyncio") for name in names)
