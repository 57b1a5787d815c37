"""How much one key can occupy: waiting jobs, received bytes, uploads, texts."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE, always_set, ended, wait_until

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.errors import Unavailable
from service.jobs.context import JobContext, Progress
from service.jobs.job import ItemError
from service.testing import solid

TAR = {"Content-Type": "application/x-tar"}
EACH = 100  # waiting jobs per client


def archive(name: str = "a.png", size: int = 0) -> bytes:
    """A tar with one picture, padded with this many bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, data in ((name, solid((9, 9, 9), kind="PNG")), ("notes.txt", bytes(size))):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Place:
    """A service with keys, whose jobs in ``lobby`` wait until a test releases them."""

    def __init__(self, service: Any, keys: KeyStore, patch: pytest.MonkeyPatch) -> None:
        self.service = service
        self.data: Path = service.parts.settings.data
        self.keys = keys
        self.go = threading.Event()
        self.failure: Exception | None = None
        self.closing = ExitStack()
        admin = self.key("admin")
        for name in ("lobby", "hall"):
            assert admin.post("/galleries", json={"name": name}).status_code == 201
        run = service.parts.board._workers._run

        def held(context: JobContext) -> None:
            while context.gallery == "lobby" and not self.go.is_set():
                context.wait(0.01)
            if self.failure is not None:
                raise self.failure
            run(context)

        patch.setattr(service.parts.board._workers, "_run", held)

    def key(self, scope: Any, *galleries: str) -> httpx.Client:
        """A client with its own key."""
        wanted = NewKey(
            label="k", scope=scope, galleries=list(galleries) or None, requests_per_minute=100_000
        )
        _, text = self.keys.create(wanted)
        headers = {"Authorization": f"Bearer {text}"}
        client = httpx.Client(base_url=self.service.url, timeout=PATIENCE, headers=headers)
        return self.closing.enter_context(client)

    def received(self) -> list[str]:
        """The files kept for imports."""
        return sorted(path.name for path in (self.data / "jobs").glob("*"))


def send(client: httpx.Client, content: Any, gallery: str = "lobby", **params: str) -> Any:
    return client.post(f"/galleries/{gallery}/imports", content=content, headers=TAR, params=params)


@pytest.fixture
def place(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Open places with the test's settings."""

    @contextmanager
    def opened(**settings: Any) -> Iterator[Place]:
        with start(**settings) as service, closing(KeyStore(tmp_path / "data" / FILE)) as keys:
            here = Place(service, keys, monkeypatch)
            with here.closing:
                try:
                    yield here
                finally:
                    here.go.set()

    return opened


def test_one_key_cannot_fill_the_whole_queue(place):
    with place() as here:
        bound, other = here.key("write", "lobby"), here.key("write", "hall")
        answers = [
            bound.post("/galleries/lobby/cluster", json={"eps": 0.001 * (1 + number)})
            for number in range(EACH + 8)
        ]
        refused = [answer for answer in answers if answer.status_code != 202]
        assert refused, "one key may have any number of waiting jobs"
        assert {answer.status_code for answer in refused} == {429}
        problem = refused[0].json()
        assert problem["code"] == "too_many_requests"
        assert f"{EACH} of your jobs are already waiting" in problem["detail"]
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert send(bound, archive()).status_code == 429
        assert here.received() == []
        # Meanwhile all other keys are served.
        assert ended(other, send(other, archive(), "hall"))["state"] == "done"


def test_two_keys_of_one_gallery_do_not_take_each_others_share(place):
    with place() as here:
        one, two = here.key("write", "lobby"), here.key("write", "lobby")
        for number in range(EACH + 2):
            one.post("/galleries/lobby/cluster", json={"eps": 0.001 * (1 + number)})
        answer = two.post("/galleries/lobby/cluster", json={"min_samples": 7})
        assert answer.status_code == 202


@pytest.mark.parametrize(
    ("path", "body"), [("cluster", {"min_samples": 3}), ("cluster", {}), ("cluster", None)]
)
def test_equal_waiting_clusterings_are_merged(place, path, body):
    with place() as here:
        one, two = here.key("write", "lobby"), here.key("write", "lobby")
        first = one.post("/galleries/lobby/cluster", json={"min_samples": 9}).json()
        wait_until(lambda: one.get(f"/jobs/{first['job_id']}").json()["state"] == "running")
        answers = [client.post(f"/galleries/lobby/{path}", json=body) for client in (one, two, one)]
        assert [answer.status_code for answer in answers] == [202] * 3
        assert len({answer.json()["job_id"] for answer in answers}) == 1
        assert len({answer.headers["Location"] for answer in answers}) == 1
        # The running job has read the gallery already, so another one waits.
        again = one.post("/galleries/lobby/cluster", json={"min_samples": 9}).json()
        assert again["job_id"] != first["job_id"]


class TestKeptBytes:
    """The disk space of received imports."""

    @pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
    def test_a_key_keeps_bytes_up_to_the_limit(self, place, announced):
        content = archive(size=50_000)
        with place(max_kept_bytes=2 * len(content) + 1000) as here:
            bound, other = here.key("write", "lobby"), here.key("write", "lobby")

            def body(pattern: str) -> Any:
                return content if announced else iter([content[:9000], content[9000:]])

            for _ in range(2):
                assert send(bound, body("x")).status_code == 202
            refused = send(bound, body("x"))
            assert refused.status_code == 429, refused.text
            assert refused.json()["code"] == "too_many_requests"
            assert int(refused.headers["Retry-After"]) >= 1
            assert len(here.received()) == 2
            assert send(other, body("x")).status_code == 202

    def test_an_import_that_can_never_fit_says_so(self, place):
        with place(max_kept_bytes=1000) as here:
            refused = send(here.key("write", "lobby"), archive(size=50_000))
            assert refused.status_code == 413
            assert "1,000" in refused.json()["detail"]

    def test_two_concurrent_uploads_do_not_exceed_the_limit(self, place):
        content = archive(size=50_000)
        half, go, answers = threading.Event(), threading.Event(), []
        with place(max_kept_bytes=len(content) + 1000) as here, always_set(go):
            bound = here.key("write", "lobby")

            def slowly() -> Iterator[bytes]:
                yield content[:40_000]
                half.set()
                go.wait(PATIENCE)
                yield content[40_000:]

            thread = threading.Thread(
                target=lambda: answers.append(
                    bound.post(
                        "/galleries/lobby/imports",
                        content=slowly(),
                        headers=TAR | {"Content-Length": str(len(content))},
                    )
                )
            )
            thread.start()
            assert half.wait(PATIENCE)
            wait_until(here.received)
            assert send(bound, content).status_code == 429
            go.set()
            thread.join(PATIENCE)
            assert [answer.status_code for answer in answers] == [202]

    def test_failed_imports_are_removed_oldest_first(self, place):
        content = archive(size=50_000)
        with place(max_kept_bytes=2 * len(content) + 1000) as here:
            bound = here.key("write", "hall")
            here.failure = Unavailable("the network is gone")
            jobs = []
            for _ in range(4):
                job = ended(bound, send(bound, content, "hall"))
                assert job["state"] == "failed", job
                jobs.append(f"/jobs/{job['job_id']}")
            states = [bound.get(path).json() for path in jobs]
            assert [job["kept_bytes"] > 0 for job in states] == [False, False, True, True]
            assert [job["resumable"] for job in states] == [False, False, True, True]
            assert len(here.received()) == 2
            gone = bound.post(f"{jobs[0]}/resume")
            assert gone.status_code == 409
            assert "send it again" in gone.json()["detail"]
            here.failure = None
            assert ended(bound, bound.post(f"{jobs[3]}/resume"))["state"] == "done"

    @pytest.mark.parametrize(
        ("kind", "content"),
        [
            ("application/x-tar", archive(size=60_000)[:40_000]),
            ("application/zip", b"PK\x03\x04" + bytes(5000)),
            ("application/x-ndjson", b"{"),
        ],
        ids=["cut", "no zip", "no rows"],
    )
    def test_unreadable_uploads_are_deleted_at_once(self, place, kind, content):
        with place() as here:
            client = here.key("write", "hall")
            headers = {"Content-Type": kind}
            answer = client.post("/galleries/hall/imports", content=content, headers=headers)
            job = ended(client, answer)
            wait_until(lambda: here.received() == [])
            job = client.get(f"/jobs/{job['job_id']}").json()
            assert (job["kept_bytes"], job["resumable"]) == (0, False)


def test_one_key_sends_a_limited_number_of_imports_at_a_time(place):
    content = archive(size=50_000)
    go, statuses = threading.Event(), []
    with place() as here, always_set(go):
        bound, other = here.key("write", "lobby"), here.key("write", "lobby")

        def slowly() -> Iterator[bytes]:
            yield content[:40_000]
            go.wait(PATIENCE)
            yield content[40_000:]

        def hold() -> None:
            statuses.append(send(bound, slowly()).status_code)

        threads = [threading.Thread(target=hold) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(here.received()) == 4)
        refused = send(bound, content)
        assert refused.status_code == 429
        assert "being received" in refused.json()["detail"]
        assert send(other, content).status_code == 202
        go.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert statuses == [202] * 4


def test_a_jobs_list_of_failures_is_limited():
    progress = Progress()
    for number in range(20_000):
        progress.fail(f"{number:05d}" + "x" * 5000, "y" * 5000)
    kept = progress.take_errors()
    assert progress.errors == 20_000
    assert 1000 < len(kept) < 20_000
    assert sum(len(error.item) + len(error.reason) for error in kept) <= 8 << 20
    assert kept[0] == ItemError("00000" + "x" * 994 + "…", "y" * 999 + "…")


def test_a_long_result_is_cut(place):
    with place() as here:
        client = here.key("write", "hall")

        def run(context: JobContext) -> None:
            context.finish({"warnings": ["w" * 10_000] * 5000, "more": {"k" * 9000: "v"}, "n": 1})

        here.service.parts.board._workers._run = run
        job = ended(client, client.post("/galleries/hall/cluster"))
        assert job["state"] == "done"
        assert len(client.get(f"/jobs/{job['job_id']}").content) < 100_000
        assert job["result"]["n"] == 1


def test_a_gallery_keeps_the_newest_texts(place):
    """A busy key cannot fill the disk with lists of failed items."""
    with place() as here:
        client = here.key("write", "hall")

        def run(context: JobContext) -> None:
            for number in range(4000):
                context.progress.fail(f"{number}" + "x" * 995, "y" * 1000)

        here.service.parts.board._workers._run = run
        paths = []
        for number in range(4):
            body = {"min_samples": number + 1}
            paths.append(client.post("/galleries/hall/cluster", json=body).headers["Location"])
            wait_until(
                lambda: client.get(paths[-1]).status_code == 404 or settled(client, paths[-1])
            )
        wait_until(lambda: client.get(paths[0]).status_code == 404)
        assert client.get(paths[-1]).json()["errors"] == 4000


def settled(client: httpx.Client, path: str) -> bool:
    return client.get(path).json()["state"] in {"done", "failed"}
