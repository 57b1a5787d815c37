"""The job board: jobs are durable, run once per gallery, and can be cancelled and resumed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE, always_set, wait_until

from service.errors import Conflict, InvalidInput, NotFound, Unavailable
from service.jobs.board import JobBoard
from service.jobs.bridge import Bridge
from service.jobs.context import JobContext, Runner
from service.jobs.job import ItemError, Job, Order


@pytest.fixture
def open_board(tmp_path: Path, service) -> Callable[..., Any]:
    """Opens boards on the test's folder, one after the other, like restarts."""
    parts = service.parts
    bridge = Bridge(
        parts.shelf.running.intake, parts.enroller, parts.cutter, parts.metrics.observe_stage
    )

    @contextmanager
    def opened(run: Runner) -> Iterator[JobBoard]:
        board = JobBoard(tmp_path, run, bridge, parts.metrics.count_failure)
        loop = asyncio.new_event_loop()
        board.start(loop)
        try:
            yield board
        finally:
            board.close()
            loop.close()

    return opened


def until(state: str, board: JobBoard, job_id: str) -> Job:
    return wait_until(lambda: board.get(job_id), lambda job: job.state == state)


def until_idle(board: JobBoard) -> None:
    wait_until(lambda: not (board.running or board.waiting))


def patiently(context: JobContext) -> None:
    while True:
        context.wait(0.01)


def count_to_five(context: JobContext) -> None:
    context.expect(5)
    context.count("created", 4)
    context.fail("e.jpg", "it is not a picture")
    context.finish({"answer": 42})


def test_a_job_runs_and_is_remembered(open_board):
    with open_board(count_to_five) as board:
        asked = board.submit("import", "g", {"a": 1}, owner="k1")
        assert (asked.state, asked.done, asked.order.owner) == ("queued", 0, "k1")
        until("done", board, asked.job_id)
    with open_board(patiently) as board:
        job = board.get(asked.job_id)
        assert (job.state, job.counts, job.total) == ("done", {"created": 4, "failed": 1}, 5)
        assert (job.result, job.error, job.errors) == ({"answer": 42}, None, 1)
        assert job.created <= job.started <= job.finished
        assert list(board.errors(job.job_id)) == [ItemError("e.jpg", "it is not a picture")]
        with pytest.raises(NotFound, match="no job 'nobody'"):
            board.get("nobody")


def test_one_job_per_gallery_and_two_per_client_run(open_board):
    running: list[str] = []
    most: list[int] = []
    door = threading.Event()

    def run(context: JobContext) -> None:
        running.append(context.gallery)
        most.append(len(running))
        assert len(set(running)) == len(running)
        assert door.wait(PATIENCE)
        running.remove(context.gallery)

    with open_board(run) as board, always_set(door):
        jobs = [board.submit("import", name, {}) for name in ("a", "a", "b", "c", "c")]
        wait_until(lambda: len(running) >= 2)
        states = [board.get(job.job_id).state for job in jobs]
        assert states == ["running", "queued", "running", "queued", "queued"]
        door.set()
        for job in jobs:
            until("done", board, job.job_id)
    assert max(most) == 2


def test_a_failed_job_has_a_reason_and_can_be_resumed(open_board):
    outcomes: Iterator[Exception | None] = iter([InvalidInput("no good"), KeyError("bug"), None])

    def run(context: JobContext) -> None:
        context.fail("x", "y")
        context.folder.mkdir(exist_ok=True)
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    with open_board(run) as board:
        job = until("failed", board, board.submit("import", "g", {}).job_id)
        assert (job.error, job.errors) == ("no good", 1)
        board.resume(job.job_id)
        wait_until(lambda: "log" in (board.get(job.job_id).error or ""))
        assert board.resume(job.job_id).state == "queued"
        again = until("done", board, job.job_id)
        assert (again.errors, len(list(board.errors(job.job_id)))) == (1, 1)
        with pytest.raises(Conflict, match="only a failed job"):
            board.resume(job.job_id)
        with pytest.raises(Conflict, match="is already done"):
            board.cancel(job.job_id)


def test_cancel_ends_waiting_running_and_failed_jobs(open_board, tmp_path):
    def run(context: JobContext) -> None:
        if context.spec:
            raise InvalidInput("no")
        patiently(context)

    with open_board(run) as board:
        first, second = (board.submit("import", "g", {}) for _ in "ab")
        failed = until("failed", board, board.submit("import", "h", {"fail": True}).job_id)
        until("running", board, first.job_id)
        assert board.cancel(second.job_id).state == "cancelled"
        board.cancel(first.job_id)
        until("cancelled", board, first.job_id)
        assert board.cancel(failed.job_id).state == "cancelled"
        assert board.cancel(failed.job_id).state == "cancelled"
        with pytest.raises(Conflict):
            board.resume(first.job_id)
        third = board.submit("import", "g", {})
        until("running", board, third.job_id)
        assert board.forget("g") == 3
        with pytest.raises(NotFound):
            board.get(third.job_id)
        until_idle(board)
    assert list((tmp_path / "jobs").iterdir()) == []


def test_unfinished_jobs_run_again_at_the_next_start(open_board):
    ended: list[str] = []

    def until_told(context: JobContext) -> None:
        try:
            patiently(context)
        finally:
            ended.append(context.job.job_id)

    with open_board(until_told) as board:
        running = board.submit("import", "a", {"x": 1})
        queued = board.submit("import", "a", {"x": 2})
        cancelled = board.submit("import", "b", {})
        until("running", board, running.job_id)
        until("running", board, cancelled.job_id)
        board.cancel(cancelled.job_id)
    assert len(ended) == 2, "closing gave up on a runner that would have ended"
    specs: list[dict[str, Any]] = []
    with open_board(lambda context: specs.append(context.spec)) as board:
        until("done", board, running.job_id)
        until("done", board, queued.job_id)
        assert board.get(cancelled.job_id).state == "cancelled"
    assert specs == [{"x": 1}, {"x": 2}]


def crash(data: Path) -> None:
    """Leave the jobs as ``kill -9`` leaves them."""
    with closing(sqlite3.connect(data / "jobs.sqlite3")) as file, file:
        file.execute("UPDATE jobs SET state = 'running', finished = NULL")


def test_a_job_that_crashes_the_service_twice_fails(open_board, tmp_path):
    with open_board(patiently) as board:
        job = board.submit("import", "g", {})
    crash(tmp_path)
    with open_board(patiently) as board:
        until("running", board, job.job_id)
    crash(tmp_path)
    with open_board(count_to_five) as board:
        assert board.get(job.job_id).state == "failed"
        assert "crashed 2 times" in board.get(job.job_id).error
        assert "resume it" in board.get(job.job_id).error
        board.resume(job.job_id)
        until("done", board, job.job_id)


def test_an_idempotency_key_starts_one_job(open_board):
    with open_board(count_to_five) as board:
        first = board.submit("import", "g", {"a": 1, "b": 2}, idempotency_key="k")
        until("done", board, first.job_id)
        again = board.submit("import", "g", {"b": 2, "a": 1}, idempotency_key="k")
        assert (again.job_id, again.state) == (first.job_id, "done")
        with pytest.raises(Conflict, match="with a different request"):
            board.submit("import", "g", {"a": 2}, idempotency_key="k")
        other = board.submit("import", "h", {"a": 2}, idempotency_key="k")
        anothers = board.submit("import", "g", {"a": 2}, idempotency_key="k", owner="me")
        assert len({first.job_id, other.job_id, anothers.job_id}) == 3
        assert [job.job_id for job in board.list("g", None, 10)] == [
            anothers.job_id,
            first.job_id,
        ]


def test_rate_and_eta_of_a_running_job(open_board):
    def run(context: JobContext) -> None:
        context.expect(1_000_000)
        while True:
            context.count("created")
            context.wait(0.001)

    with open_board(run) as board:
        job_id = board.submit("import", "g", {}).job_id
        job = wait_until(lambda: board.get(job_id), lambda job: job.done >= 50)
        assert 0 < job.rate < 1000
        assert job.eta_seconds == pytest.approx((1_000_000 - job.done) / job.rate)
        board.cancel(job_id)


def test_uploads_are_kept_as_long_as_their_job(open_board, tmp_path):
    seen: list[bytes] = []

    def run(context: JobContext) -> None:
        seen.append((context.folder / "archive").read_bytes())

    with open_board(run) as board:
        with board.receiving() as folder:
            (folder / "archive").write_bytes(b"tar")
            job = board.place(Order("import", "g", {}), folder)
        until("done", board, job.job_id)
        with suppress(KeyError), board.receiving() as folder:
            (folder / "archive").write_bytes(b"half")
            raise KeyError
    assert seen == [b"tar"]
    assert list((tmp_path / "jobs").iterdir()) == []
    left = tmp_path / "jobs" / ".incoming-crash"
    left.mkdir()
    with open_board(run):
        assert not left.exists()


def test_the_service_runs_on_a_disk_that_refuses_writes(open_board, tmp_path):
    (tmp_path / "jobs.sqlite3").mkdir()  # SQLite cannot open a folder
    with open_board(count_to_five) as board:
        with pytest.raises(Unavailable):
            board.submit("import", "g", {})
        (tmp_path / "jobs.sqlite3").rmdir()
        until("done", board, board.submit("import", "g", {}).job_id)


def test_jobs_over_http(service):
    assert service.http.get("/jobs", params={"gallery": "x"}).json() == {
        "jobs": [],
        "cursor": None,
    }
    assert service.http.get("/jobs", params={"state": "lost"}).status_code == 422
    for method, path in (
        ("GET", "/jobs/x"),
        ("GET", "/jobs/x/errors"),
        ("POST", "/jobs/x/cancel"),
        ("POST", "/jobs/x/resume"),
    ):
        answer = service.http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
