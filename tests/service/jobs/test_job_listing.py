"""``GET /jobs`` filters before it cuts off; no gallery pushes out another's jobs."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.gallery.disk.store import DiskGalleryStore
from service.gallery.rules import encode_cursor
from service.jobs.job import Job, Order
from service.jobs.table import JobTable

OTHERS = 1_500


def store_jobs(data: Path, jobs: list[Job]) -> None:
    """Store jobs in a data folder as an earlier run of the service would."""
    table = JobTable(data / "jobs.sqlite3")
    for job in jobs[:1]:
        table.insert(job)
    table.close()
    order = "job_id, kind, gallery, spec, state, created, counts, errors, cancelling, crashes"
    with closing(sqlite3.connect(data / "jobs.sqlite3")) as file, file:
        file.executemany(
            f"INSERT INTO jobs ({order}, finished) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            [
                (
                    *(job.job_id, job.kind, job.gallery, "{}", job.state, job.created, "{}"),
                    *(0, 0, 0, job.finished),
                )
                for job in jobs[1:]
            ],
        )


def provide_galleries(data: Path, *names: str) -> None:
    """Create the galleries of the stored jobs, since jobs are deleted with their galleries."""
    with closing(DiskGalleryStore(data, device="cpu")) as store:
        for name in names:
            store.create(name, "0" * 64, 8)


def ended(job_id: str, gallery: str, kind: Any = "import", state: Any = "done") -> Job:
    now = time.time()
    return Job(job_id, Order(kind, gallery, {}), state, now, finished=now)


@pytest.fixture
def crowded(start: Any, tmp_path: Path) -> Any:
    """A service with one old job of ``mine`` and many newer ones of ``other``."""
    data = tmp_path / "data"
    data.mkdir()
    provide_galleries(data, "mine", "other")
    others = [ended(f"other-{number:04d}", "other") for number in range(OTHERS)]
    store_jobs(data, [ended("mine-1", "mine", state="failed"), *others])
    _, text = KeyStore(data / FILE).create(
        NewKey(label="guard", scope="search", galleries=["mine"])
    )
    _, admin = KeyStore(data / FILE).create(NewKey(label="admin", scope="admin"))
    with start() as service:
        service.guard = {"Authorization": f"Bearer {text}"}
        service.admin = {"Authorization": f"Bearer {admin}"}
        yield service


def listed(service: Any, headers: dict[str, str], **query: Any) -> dict[str, Any]:
    answer = service.http.get("/jobs", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(page: dict[str, Any]) -> list[str]:
    return [job["job_id"] for job in page["jobs"]]


def test_a_bound_key_sees_its_own_job_behind_a_thousand_others(crowded):
    assert ids(listed(crowded, crowded.guard)) == ["mine-1"]
    assert ids(listed(crowded, crowded.guard, limit=1)) == ["mine-1"]
    assert ids(listed(crowded, crowded.guard, gallery="mine", state="failed")) == ["mine-1"]
    assert ids(listed(crowded, crowded.guard, state="done")) == []
    assert crowded.http.get("/jobs/mine-1", headers=crowded.guard).status_code == 200
    refused = crowded.http.get("/jobs", params={"gallery": "other"}, headers=crowded.guard)
    assert refused.status_code == 403


def test_gallery_and_state_are_filtered_before_the_limit(crowded):
    assert ids(listed(crowded, crowded.admin, gallery="mine")) == ["mine-1"]
    assert ids(listed(crowded, crowded.admin, state="failed", limit=1)) == ["mine-1"]
    assert ids(listed(crowded, crowded.admin, kind="cluster")) == []


def test_the_newest_thousand_jobs_per_gallery_are_kept(crowded):
    total, cursor = [], None
    while True:
        page = listed(crowded, crowded.admin, limit=999, **({"cursor": cursor} if cursor else {}))
        total += ids(page)
        if (cursor := page["cursor"]) is None:
            break
    kept = [f"other-{number:04d}" for number in reversed(range(OTHERS - 1000, OTHERS))]
    assert total == [*kept, "mine-1"]


class TestPages:
    @pytest.fixture
    def service(self, start: Any, tmp_path: Path) -> Any:
        data = tmp_path / "data"
        data.mkdir()
        kinds = ["import", "cluster", "reembed"]
        states = ["done", "failed"]
        jobs = [
            ended(f"job-{n:02d}", f"g{n % 2}", kinds[n % 3], states[n % 5 == 0]) for n in range(30)
        ]
        provide_galleries(data, "g0", "g1", "absent")
        store_jobs(data, jobs)
        with start() as service:
            yield service

    @pytest.mark.parametrize("limit", [1, 7, 29, 30, 100])
    @pytest.mark.parametrize(
        "query",
        [{}, {"gallery": "g1"}, {"state": "failed"}, {"kind": "cluster", "gallery": "g0"}],
        ids=repr,
    )
    def test_pages_list_every_job_once_while_jobs_are_added(self, service, query, limit):
        whole = ids(listed(service, {}, **query, limit=1000))
        assert whole == sorted(whole, reverse=True)
        seen, cursor = [], None
        while True:
            page = listed(
                service, {}, **query, limit=limit, **({"cursor": cursor} if cursor else {})
            )
            assert len(page["jobs"]) <= limit
            seen += ids(page)
            if (cursor := page["cursor"]) is None:
                break
            service.parts.board.submit("cluster", "absent", {})
        assert seen == whole

    @pytest.mark.parametrize(
        "query",
        [
            *({"cursor": "?"}, {"cursor": "Gp3xFjE4LmpwZw"}, {"limit": 0}, {"page": 2}),
            {"cursor": encode_cursor("9" * 19)},  # larger than SQLite's integers
            {"cursor": encode_cursor("9" * 5000)},  # more digits than Python converts
            {"cursor": encode_cursor("-1")},
        ],
    )
    def test_invalid_parameters_are_refused(self, service, query):
        assert service.http.get("/jobs", params=query).status_code == 422


def test_a_state_that_is_not_on_disk_yet_is_filtered_too(tmp_path):
    from service.jobs.job import JobFilter

    table = JobTable(tmp_path / "jobs.sqlite3")
    for number in range(3):
        table.insert(Job(f"job-{number}", Order("cluster", "g", {}), "queued", 0.0))
    ahead: dict[str, Any] = {"job-0": "running", "job-2": "done"}
    found = {
        state: [job.job_id for _, job in table.newest(JobFilter(state=state), 10, ahead=ahead)]
        for state in ("queued", "running", "done")
    }
    assert found == {"queued": ["job-1"], "running": ["job-0"], "done": ["job-2"]}
