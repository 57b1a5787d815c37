"""A folder into a running service: once, twice, interrupted, overloaded."""

from __future__ import annotations

import json
import threading

import httpx
import pytest
from waiting import PATIENCE, always_set

from service.cli.indexer import IndexReport, index, index_server_folder
from service.client import Client, ServiceError
from service.ingest.crop_names import list_manifest, list_market1501
from service.testing import FakeEmbedder, solid


@pytest.fixture
def folder(tmp_path):
    people = tmp_path / "people"
    people.mkdir()
    for number in range(70):
        name = f"{number % 7:04}_c{number % 3 + 1}s1_{number:06}_00.jpg"
        (people / name).write_bytes(solid((number, 2 * number, 255 - number)))
    (people / "-1_c1s1_000000_00.jpg").write_bytes(solid((0, 0, 0)))
    return people


def run(service, gallery, listing) -> IndexReport:
    report = IndexReport()
    with Client(service.url) as client:
        index(client, gallery, listing, report)
    return report


def counts(report: IndexReport) -> tuple[int, int, int, int, int]:
    found = (report.created, report.replaced, report.unchanged)
    return (*found, report.left_out, len(report.failed))


def test_a_second_run_has_nothing_to_do(service, folder):
    assert counts(run(service, "indexed", list_market1501(folder))) == (70, 0, 0, 1, 0)
    assert service.crop_ids("indexed") == sorted(
        path.name for path in folder.iterdir() if not path.name.startswith("-1")
    )
    stats = service.http.get("/galleries/indexed").json()
    assert stats["identities"] == 6  # 0000 are distractors, nobody in particular
    assert stats["cameras"] == {"c1": 24, "c2": 23, "c3": 23}
    images = service.parts.metrics.images.labels("decoded")._value.get()
    assert counts(run(service, "indexed", list_market1501(folder))) == (0, 0, 70, 1, 0)
    assert service.parts.metrics.images.labels("decoded")._value.get() == images


def test_changed_bytes_and_changed_metadata_are_sent_again(service, folder, tmp_path):
    manifest = folder / "m.csv"
    (folder / "a.jpg").write_bytes(solid((1, 1, 1)))
    (folder / "b.jpg").write_bytes(solid((2, 2, 2)))
    manifest.write_text("path,identity\na.jpg,1\nb.jpg,1\n")
    assert counts(run(service, "changing", list_manifest(folder, manifest)))[:3] == (2, 0, 0)
    (folder / "a.jpg").write_bytes(solid((3, 3, 3)))
    assert counts(run(service, "changing", list_manifest(folder, manifest)))[:3] == (0, 1, 1)
    manifest.write_text("path,identity\na.jpg,1\nb.jpg,2\n")
    assert counts(run(service, "changing", list_manifest(folder, manifest)))[:3] == (0, 1, 1)
    assert service.http.get("/galleries/changing/crops/b.jpg").json()["identity"] == "2"


def test_files_that_cannot_be_used_are_reported_one_by_one(start, folder):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (folder / "heavy.jpg").write_bytes(bytes(60_000))
    manifest = folder / "m.csv"
    names = ("broken.jpg", "heavy.jpg", "missing.jpg", "0001_c2s1_000001_00.jpg")
    manifest.write_text("\n".join(("path", *names, names[-1])))
    with start(max_image_bytes=50_000) as service:
        report = run(service, "default", list_manifest(folder, manifest))
    assert report.created == 1
    failed = {entry.path.name: entry.reason for entry in report.failed}
    assert set(failed) == set(names)
    assert "damaged" in failed["broken.jpg"]
    assert "60,000 bytes" in failed["heavy.jpg"]
    assert "No such file" in failed["missing.jpg"]
    assert "belongs to" in failed[names[-1]]


def test_an_interrupted_run_is_resumed(start, folder):
    class Interrupting(httpx.HTTPTransport):
        """Presses Ctrl-C once, when an import has begun to store."""

        pressed = False

        def handle_request(self, request):
            answer = super().handle_request(request)
            if request.method == "GET" and request.url.path.startswith("/jobs/"):
                job = json.loads(answer.read())
                if job["state"] == "running" and job["done"] and not self.pressed:
                    self.pressed = True
                    raise KeyboardInterrupt
            return answer

    with start(FakeEmbedder(delay=1.0), max_batch=8) as service:
        report = IndexReport()
        client = Client(service.url, transport=Interrupting())
        with client, pytest.raises(KeyboardInterrupt):
            index(client, "default", list_market1501(folder), report)
        stored = service.crop_ids("default")
        assert report.created == len(stored)
        assert 32 <= len(stored) < 70
        (job,) = service.http.get("/jobs").json()["jobs"]
        assert job["state"] == "cancelled"
        again = run(service, "default", list_market1501(folder))
        assert again.created == 70 - len(stored)
        assert again.unchanged == len(stored)
        assert len(service.crop_ids("default")) == 70


def test_an_overloaded_service_is_asked_again(start, folder):
    refused, limits = threading.Event(), {"max_images": 32, "max_queue": 32, "max_batch": 8}
    with start(FakeEmbedder(delay=0.02), **limits) as service, always_set(refused):

        def search_until_one_is_refused() -> None:
            with httpx.Client(base_url=service.url, timeout=PATIENCE) as http:
                images = [("images", ("q.png", solid((9, 9, 9))))] * 32
                while not refused.is_set():
                    if http.post("/search", files=images).status_code == 503:
                        refused.set()

        others = [threading.Thread(target=search_until_one_is_refused) for _ in range(3)]
        for other in others:
            other.start()
        assert counts(run(service, "default", list_market1501(folder))) == (70, 0, 0, 1, 0)
        for other in others:
            other.join()


def test_many_files_travel_in_several_parts(service, folder, monkeypatch):
    monkeypatch.setattr("service.cli.packing._MAX_CROPS", 20)
    assert counts(run(service, "parts", list_market1501(folder))) == (70, 0, 0, 1, 0)
    jobs = service.http.get("/jobs", params={"gallery": "parts"}).json()["jobs"]
    assert [job["total"] for job in reversed(jobs)] == [20, 20, 20, 10]


def test_an_import_that_fails_as_a_whole_says_why(start, folder):
    with start(max_import_bytes=30_000, max_image_bytes=50_000) as service:
        (folder / "0001_c1s1_000900_00.png").write_bytes(bytes(40_000))
        with pytest.raises(ServiceError, match="exceeds 30,000 bytes"):
            run(service, "default", list_market1501(folder))


def test_a_folder_the_service_reads_itself(start, folder):
    with start(import_roots=[folder.parent]) as service:
        report = IndexReport()
        with Client(service.url) as client:
            spec = {"folder": folder.name}
            index_server_folder(client, "default", spec, report)
            assert counts(report) == (70, 0, 0, 1, 0)
            index_server_folder(client, "default", spec, report)
        assert counts(report) == (70, 0, 70, 2, 0)


def test_a_refusal_ends_the_run_and_says_why(service, folder):
    with pytest.raises(ServiceError, match="Invalid input: gallery name 'No Name'"):
        run(service, "No Name", list_market1501(folder))
