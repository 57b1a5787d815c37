"""Background work survives exceptions and reports them."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
from waiting import PATIENCE, wait_until

from service.access.audit import AuditEntry, AuditLog
from service.gallery.disk.gallery import DiskGallery
from service.gallery.disk.store import DiskGalleryStore
from service.testing import solid

HOUR = 3600.0
RED = solid((200, 20, 20))


def failures(service, task: str) -> float:
    name = f'reid_background_failures_total{{task="{task}"}}'
    for line in service.http.get("/metrics").text.splitlines():
        if line.startswith(name):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


class FailingOnce:
    """Replaces a method: the first calls fail, and an event tells when a later one succeeded."""

    def __init__(self, method, error: BaseException, times: int = 1) -> None:
        self._method = method
        self._error = error
        self._left = times
        self.recovered = threading.Event()

    def __get__(self, instance, owner=None):
        def call(*args, **kwargs):
            if self._left > 0:
                self._left -= 1
                raise self._error
            answer = self._method(instance, *args, **kwargs)
            self.recovered.set()
            return answer

        return call


@pytest.mark.parametrize("error", [RuntimeError("odd"), MemoryError(), OSError("gone")])
@pytest.mark.parametrize("owner", [DiskGalleryStore, DiskGallery])
def test_retention_continues_after_any_exception(start, monkeypatch, caplog, owner, error):
    with start(retention_seconds=0.01) as service:
        service.http.post("/galleries", json={"name": "week", "keep_for": HOUR})
        failing = FailingOnce(owner.stats, error)
        service.put("week", "old", RED, timestamp=time.time() - 2 * HOUR)
        monkeypatch.setattr(owner, "stats", failing)
        assert failing.recovered.wait(PATIENCE), "retention has stopped"
        monkeypatch.undo()
        wait_until(lambda: not service.crop_ids("week"))
        assert failures(service, "retention") >= 1
        assert "background task 'retention' failed" in caplog.text


def test_one_failing_gallery_does_not_affect_the_others(start, monkeypatch, caplog):
    delete = DiskGallery.delete

    def delete_some(self, where, **options):
        if self.name == "broken":
            raise RuntimeError("odd")
        return delete(self, where, **options)

    monkeypatch.setattr(DiskGallery, "delete", delete_some)
    with start(retention_seconds=0.01) as service:
        for name in ("broken", "sound"):
            service.http.post("/galleries", json={"name": name, "keep_for": HOUR})
            service.put(name, "old", RED, timestamp=time.time() - 2 * HOUR)
        wait_until(lambda: not service.crop_ids("sound"))
        assert service.crop_ids("broken") == ["old"]
        assert "'broken'" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError("odd"), MemoryError()])
def test_tidying_continues_after_any_exception(start, monkeypatch, error):
    with start(retention_seconds=0.01) as service:
        failing = FailingOnce(DiskGallery.tidy, error)
        monkeypatch.setattr(DiskGallery, "tidy", failing)
        assert failing.recovered.wait(PATIENCE), "tidying has stopped"
        assert failures(service, "tidy") >= 1


def test_closing_closes_everything_despite_failures(start, monkeypatch):
    closed = []
    with start() as service:
        service.create("other")
        close = DiskGallery.close

        def close_badly(self):
            closed.append(self.name)
            close(self)
            if self.name == "default":
                raise RuntimeError("odd")

        def board_fails(self, patience=10.0):
            raise RuntimeError("odd")

        monkeypatch.setattr(DiskGallery, "close", close_badly)
        monkeypatch.setattr(type(service.parts.board), "close", board_fails)
        folder = service.parts.settings.data
    assert sorted(closed) == ["default", "other"]
    monkeypatch.undo()
    DiskGalleryStore(folder, device="cpu").close()  # the folder was released


def test_a_worker_survives_a_job_whose_end_cannot_be_stored(start, monkeypatch):
    with start() as service:
        memory = service.parts.board._live
        failing = FailingOnce(type(memory).end, RuntimeError("odd"), times=4)
        monkeypatch.setattr(type(memory), "end", failing)
        for _ in range(4):  # more than the number of workers
            service.ended(service.http.post("/galleries/default/cluster"))
        fifth = service.http.post("/galleries/default/cluster")
        assert failing.recovered.wait(PATIENCE), "no worker is left"
        assert service.ended(fifth)["state"] == "done"
        assert failures(service, "jobs") == 4


def test_the_batcher_answers_after_any_exception_in_its_thread(start, monkeypatch):
    with start() as service:
        batcher = service.parts.shelf.running.batcher

        def fail(images):
            raise MemoryError

        monkeypatch.setattr(batcher, "_run_network", fail)
        answer = service.http.post("/search", files=[("images", ("q.png", RED))])
        assert answer.status_code == 503
        monkeypatch.undo()
        assert service.search(("q.png", RED)).status_code == 200


def test_the_audit_log_answers_after_any_exception_in_its_thread(tmp_path, monkeypatch):
    reported = []
    with closing(AuditLog(tmp_path, 90, reported.append)) as log:
        entry = AuditEntry(time=time.time(), method="GET", route="/")
        with monkeypatch.context() as patched:
            patched.setattr(log, "_append", lambda *_, **__: 1 / 0)
            with pytest.raises(OSError, match="ZeroDivisionError"):
                log.write(entry, durable=False).result(timeout=PATIENCE)
        log.write(entry, durable=False).result(timeout=PATIENCE)
        assert reported == ["audit"]
        assert len(log.page(None, None, 10, None).entries) == 1
