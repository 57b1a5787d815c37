"""What the methods of both clients do, against a running service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from service.api.boxes import Box
from service.api.search import SearchAnswer
from service.client import (
    Conflict,
    EmbeddedCrop,
    FrameBox,
    InvalidInput,
    ModelMismatch,
    NewCrop,
    NewFrame,
    NotFound,
    ServiceError,
    Unauthorized,
    Unreachable,
    Vector,
)
from service.testing import solid

RED, GREEN = (200, 20, 20), (20, 200, 20)
ACCURACY = {
    "data": "drawn people",
    "protocol": "cross-camera",
    "map": 0.5,
    "rank1": 0.6,
    "rank5": 0.7,
    "rank10": 0.8,
    "queries": 10,
    "gallery": 20,
}


def picture(colour: tuple[int, int, int]) -> bytes:
    return solid(colour, kind="PNG")


@pytest.fixture
def pair(ask: Any, name: str) -> str:
    """A gallery that keeps pictures, of two people on two cameras."""
    ask(lambda client: client.galleries.create(name, store_crops=True))
    crops = [
        NewCrop(crop_id="red/1.png", image=picture(RED), identity="red", camera="c1"),
        NewCrop(crop_id="green/1 ?#%.png", image=picture(GREEN), identity="green", camera="c2"),
    ]
    ask(lambda client: client.crops.add(name, crops))
    return name


def test_search_answers_with_the_model_of_the_api(ask, people, tmp_path):
    path = tmp_path / "query.png"
    path.write_bytes(picture(RED))
    answer = ask(lambda client: client.search(path, gallery="people", top_k=2))
    assert isinstance(answer, SearchAnswer)
    (entry,) = answer.results
    assert (entry.status, entry.images[0].file) == ("matched", "query.png")
    assert [match.identity for match in entry.matches] == ["red", "red"]


def test_an_image_is_named_by_its_path(ask, people, tmp_path):
    path = tmp_path / "query.png"
    path.write_bytes(picture(RED))
    for images in (str(path), path, [str(path)], ("query.png", picture(RED))):
        answer = ask(lambda client, sent=images: client.search(sent, gallery="people"))
        assert [entry.images[0].file for entry in answer.results] == ["query.png"]
    with pytest.raises(InvalidInput, match="No such file"):
        ask(lambda client: client.embed("no such file.png"))


def test_search_takes_several_images_crops_and_every_kind_of_field(ask, people):
    since = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
    answer = ask(
        lambda client: client.search(
            [("a.png", picture(RED)), picture(GREEN)],
            gallery="people",
            crop_ids=["blue/c1.png"],
            cameras=["c1", "c2"],
            has_identity=True,
            since=since,
            until=None,
            min_score=-1,
            group_by="identity",
        )
    )
    assert [len(entry.matches) for entry in answer.results] == [3, 3, 3]
    assert answer.results[2].crop_ids == ["blue/c1.png"]
    assert answer.results[0].images[0].file == "a.png"


def test_search_by_crops_alone_needs_no_image(ask, people):
    answer = ask(lambda client: client.search(gallery="people", crop_ids=["red/c1.png"]))
    assert {match.identity for match in answer.results[0].matches} == {"red"}


def test_embed(ask):
    answer = ask(lambda client: client.embed([picture(RED), picture(GREEN)]))
    assert [len(entry.embedding) for entry in answer.results] == [32, 32]
    text = ask(lambda client: client.embed(picture(RED), encoding="base64"))
    assert isinstance(text.results[0].embedding, str)


def test_detect(ask):
    frame = solid((90, 90, 90), 90, 160, kind="PNG")
    answer = ask(lambda client: client.detect([("a.png", frame), ("b.png", b"")], tiles="2x1"))
    first, second = answer.results
    assert (first.width, first.height, first.persons) == (160, 90, [])
    assert (answer.model.name, answer.score) == ("nanodet-person", 0.4)
    assert second.error.code == "invalid_image"
    assert ask(lambda client: client.detect(frame, score=0.7)).score == 0.7


def test_frames_are_added_by_the_detector_or_by_boxes(ask, name, tmp_path):
    ask(lambda client: client.galleries.create(name))
    frame = solid((90, 90, 90), 90, 160, kind="PNG")
    path = tmp_path / "a.png"
    path.write_bytes(frame)
    answer = ask(lambda client: client.crops.add_frames(name, [path, ("b.png", frame)]))
    assert [(one.frame_id, one.persons) for one in answer.results] == [("a.png", []), ("b.png", [])]
    assert answer.detector.name == "nanodet-person"
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    box = Box(x=10, y=5, width=30, height=80)
    answer = ask(
        lambda client: client.crops.add_frames(
            name,
            [NewFrame(image=frame, frame_id="c1/7", timestamp=noon), path],
            camera="c1",
            boxes=[[box, FrameBox(x=60, y=5, width=30, height=80, score=0.5, track="7")], []],
        )
    )
    first, second = answer.results[0].persons
    assert (first.crop_id, first.status, first.box) == ("c1/7/01", "created", box)
    assert (second.crop_id, second.score, second.track) == ("c1/7/02", 0.5, "7")
    (stored,) = ask(lambda client: client.crops.list(name, tracks=["7"])).crops
    assert (stored.crop_id, stored.camera, stored.track) == ("c1/7/02", "c1", "7")
    assert stored.timestamp == noon.timestamp()
    again = ask(lambda client: client.search(gallery=name, query_tracks=["7"], group_by="track"))
    assert (again.results[0].track, again.results[0].crop_ids) == ("7", ["c1/7/02"])
    dry = ask(lambda client: client.crops.add_frames(name, [path], boxes=[[box]], dry_run=True))
    assert (dry.dry_run, dry.results[0].persons[0].crop_id) == (True, None)
    with pytest.raises(InvalidInput, match="bytes needs a frame_id"):
        ask(lambda client: client.crops.add_frames(name, [frame]))


def test_search_for_everyone_on_a_frame(ask, people):
    frame = solid((90, 90, 90), 90, 160, kind="PNG")
    answer = ask(lambda client: client.search(frame, gallery="people", detect=True, tiles="2x1"))
    (entry,) = answer.results
    assert (entry.status, entry.person, entry.matches) == ("nobody", None, [])


def test_vectors_of_embed_are_searched_and_stored(ask, pair, people):
    answer = ask(lambda client: client.embed([picture(RED), picture(GREEN)]))
    red, green = (entry.embedding for entry in answer.results)
    found = ask(
        lambda client: client.search_by_vectors(
            [red, Vector(embedding=green, camera="c1")],
            gallery="people",
            top_k=1,
            model_sha256=answer.model.sha256,
        )
    )
    assert [entry.matches[0].identity for entry in found.results] == ["red", "green"]
    crops = [EmbeddedCrop(crop_id="vector", embedding=red, camera="c9", timestamp=1.7e9)]
    added = ask(lambda client: client.crops.add_embeddings(pair, crops))
    assert [entry.status for entry in added.results] == ["created"]
    stored = ask(lambda client: client.crops.put_embedding(pair, "vector", green, track="8"))
    assert (stored.camera, stored.track) == (None, "8")
    with pytest.raises(ModelMismatch):
        ask(lambda client: client.crops.put_embedding(pair, "x", red, model_sha256="0" * 64))


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "parquet"])
def test_crops_are_exported_to_a_file(ask, pair, tmp_path, suffix):
    path = tmp_path / f"crops.{suffix}"
    assert ask(lambda client: client.crops.export(pair, path, cameras=["c1"])) == path
    data = path.read_bytes()
    assert b"red/1.png" in data
    assert b"green" not in data
    odd = tmp_path / "crops"
    ask(lambda client: client.crops.export(pair, odd, format="csv", embeddings=True))
    assert odd.read_text().splitlines()[0].endswith("embedding")


def test_a_gallery_from_beginning_to_end(ask, name):
    created = ask(lambda client: client.galleries.create(name, keep_for=3600.0))
    assert (created.name, created.keep_for) == (name, 3600.0)
    with pytest.raises(Conflict) as refused:
        ask(lambda client: client.galleries.create(name))
    assert refused.value.problem.code == "conflict"
    kept = ask(lambda client: client.galleries.provide(name, keep_for=7.0))
    assert kept.keep_for == 3600.0
    changed = ask(lambda client: client.galleries.change(name, keep_for=None, join=True))
    assert (changed.keep_for, changed.join) == (None, True)
    forecast = ask(lambda client: client.galleries.forecast(name, keep_for=1.0))
    assert (forecast.dry_run, forecast.deleted) == (True, 0)
    listed = ask(lambda client: client.galleries.list())
    assert name in {gallery.name for gallery in listed.galleries}
    receipt = ask(lambda client: client.galleries.delete(name, snapshots=True))
    assert receipt.deleted == 0
    with pytest.raises(NotFound):
        ask(lambda client: client.galleries.get(name))
    assert ask(lambda client: client.galleries.provide(name)).crops == 0


def test_crops_from_beginning_to_end(ask, pair):
    odd = "green/1 ?#%.png"
    assert ask(lambda client: client.crops.get(pair, odd)).identity == "green"
    assert ask(lambda client: client.crops.picture(pair, odd)) == picture(GREEN)
    stored = ask(
        lambda client: client.crops.put(
            pair, odd, picture(RED), camera="c3", timestamp="2026-11-21T08:30", zone="+01:00"
        )
    )
    assert (stored.camera, stored.timestamp, stored.warnings) == ("c3", 1_795_246_200.0, [])
    listed = ask(lambda client: client.crops.list(pair, cameras=["c3"]))
    assert [crop.crop_id for crop in listed.crops] == [odd]
    counted = ask(lambda client: client.crops.delete_where(pair, id_prefix="red/", dry_run=True))
    assert (counted.deleted, counted.dry_run) == (1, True)
    assert ask(lambda client: client.crops.delete(pair, odd)).deleted == 1
    with pytest.raises(InvalidInput, match="empty filter"):
        ask(lambda client: client.crops.delete_where(pair))
    assert ask(lambda client: client.crops.delete_where(pair, all=True)).deleted == 1


def test_an_iterator_follows_the_cursors(ask, people):
    found = ask(lambda client: client.crops.iterate("people", limit=3))
    page = ask(lambda client: client.crops.list("people", limit=1000))
    assert found == page.crops
    assert len(found) == 11
    identities = ask(lambda client: client.identities.iterate("people", limit=1))
    assert [identity.identity for identity in identities] == ["blue", "green", "red"]


def test_identities_and_a_job(ask, pair):
    corrected = ask(lambda client: client.identities.label(pair, ["red/1.png"], "anna"))
    assert (corrected.identity, corrected.changed) == ("anna", 1)
    ask(lambda client: client.identities.merge(pair, ["anna", "green"], into="anna"))
    split = ask(lambda client: client.identities.split(pair, ["red/1.png"], into="berta"))
    assert split.identity == "berta"
    listed = ask(lambda client: client.identities.list(pair))
    assert [identity.identity for identity in listed.identities] == ["anna", "berta"]
    job = ask(lambda client: client.identities.cluster(pair, min_samples=2))
    seen = []
    done = ask(lambda client: client.jobs.wait(job.job_id, on_progress=seen.append))
    assert (done.kind, done.state, seen[-1]) == ("cluster", "done", done)
    jobs = ask(lambda client: client.jobs.iterate(gallery=pair, kind="cluster", limit=1))
    assert [one.job_id for one in jobs] == [job.job_id]
    assert ask(lambda client: client.jobs.list(gallery=pair)).jobs == jobs
    with pytest.raises(Conflict):
        ask(lambda client: client.jobs.cancel(job.job_id))
    with pytest.raises(Conflict):
        ask(lambda client: client.jobs.resume(job.job_id))


def test_a_snapshot_is_taken_downloaded_restored_and_deleted(ask, pair, tmp_path):
    taken = ask(lambda client: client.snapshots.take(pair))
    file = tmp_path / "backup.sqlite3"
    found = ask(lambda client: client.snapshots.download(pair, taken.snapshot_id, file))
    assert found == file
    assert file.read_bytes().startswith(b"SQLite format 3")
    assert [path.name for path in tmp_path.iterdir()] == ["backup.sqlite3"]
    copy = f"{pair[:50]}-copy"
    restored = ask(lambda client: client.snapshots.restore(pair, taken.snapshot_id, into=copy))
    assert (restored.name, restored.crops) == (copy, 2)
    ask(lambda client: client.galleries.delete(copy))
    assert len(ask(lambda client: client.snapshots.list(pair)).snapshots) == 1
    assert ask(lambda client: client.snapshots.delete(pair, taken.snapshot_id)) is None
    with pytest.raises(NotFound):
        ask(lambda client: client.snapshots.download(pair, taken.snapshot_id, tmp_path / "no"))
    assert not (tmp_path / "no").exists()


def test_models(ask, pair):
    (model,) = ask(lambda client: client.models.list()).models
    versions = ask(lambda client: client.models.versions(pair)).versions
    assert [version.sha256 for version in versions] == [model.sha256]
    with pytest.raises(NotFound):
        ask(lambda client: client.models.change(pair, "other"))
    with pytest.raises(NotFound):
        ask(lambda client: client.models.switch(pair, "other", allow_missing=True))
    with pytest.raises(Conflict):
        ask(lambda client: client.models.drop(pair, model.sha256))


def test_operators(ask):
    assert ask(lambda client: client.ops.livez()).status == "ok"
    assert ask(lambda client: client.ops.readyz()).status == "ok"
    assert ask(lambda client: client.ops.info()).limits.max_images > 0
    assert "reid_requests_total" in ask(lambda client: client.ops.metrics())


def test_keys_and_the_audit_log(asker, start):
    with start() as service:

        def ask(what, key=""):
            return asker(service.url, what, key=key)

        assert ask(lambda client: client.keys.whoami()).anonymous
        made = ask(lambda client: client.keys.create("tests", "admin", requests_per_minute=600))
        with pytest.raises(Unauthorized) as refused:
            ask(lambda client: client.galleries.list())
        assert refused.value.request_id
        mine = made.key
        assert ask(lambda client: client.keys.whoami(), mine).label == "tests"
        ask(lambda client: client.galleries.create("lobby"), mine)
        second = ask(
            lambda client: client.keys.create(
                "page", "search", galleries=["lobby"], expires=datetime(2099, 1, 1, tzinfo=UTC)
            ),
            mine,
        )
        revoked = ask(lambda client: client.keys.revoke(second.key_id), mine)
        assert revoked.revoked is not None
        assert len(ask(lambda client: client.keys.list(), mine).keys) == 2
        entries = ask(lambda client: client.audit.iterate(since=1.6e9, limit=2), mine)
        again = ask(lambda client: client.audit.list(), mine).entries  # reading is logged as well
        assert entries == again[: len(entries)]
        assert "/galleries" in {entry.route for entry in entries}


@pytest.mark.parametrize("gallery", ["..", ".", "g/..", "g?x", "g#x", " g", "", "G", "x" * 65])
def test_a_name_that_means_another_address_is_not_sent(asker, gallery):
    nobody = "http://127.0.0.1:1"
    with pytest.raises(InvalidInput, match="gallery name"):
        asker(nobody, lambda client: client.galleries.provide(gallery))
    with pytest.raises(InvalidInput, match="gallery name"):
        asker(nobody, lambda client: client.crops.iterate(gallery))
    with pytest.raises(InvalidInput, match="segment"):
        asker(nobody, lambda client: client.crops.get("g", "a/../b"))
    with pytest.raises(InvalidInput, match="job_id"):
        asker(nobody, lambda client: client.jobs.get("x/errors"))


def test_nobody_listens(asker):
    with pytest.raises(Unreachable, match=r"is the service running\?"):
        asker("http://127.0.0.1:1", lambda client: client.ops.info(), retry_for=0)


@pytest.mark.parametrize("url", ["", "no url", "ftp://x", "http://", "http://[::1"])
def test_an_address_that_cannot_be_one_is_refused(asker, url):
    with pytest.raises(InvalidInput):
        asker(url, lambda client: client.ops.info())


def test_the_key_comes_from_the_environment_unless_given(asker, start, monkeypatch):
    with start() as service:
        key = asker(service.url, lambda client: client.keys.create("k", "admin")).key
        monkeypatch.setenv("REID_KEY", key)
        assert asker(service.url, lambda client: client.keys.whoami()).scope == "admin"
        with pytest.raises(Unauthorized):
            asker(service.url, lambda client: client.galleries.list(), key="")
        with pytest.raises(InvalidInput, match="key"):
            asker(service.url, lambda client: client.galleries.list(), key="ü\n")


def test_every_exception_is_a_service_error(asker):
    with pytest.raises(ServiceError):
        asker("http://127.0.0.1:1", lambda client: client.jobs.get("x"), retry_for=0)


def test_fields_of_a_newer_service_are_ignored(asker, ask):
    answer = ask(lambda client: client.ops.info()).model_dump(mode="json")
    answer |= {"later": 1}
    answer["model"] |= {"later": 1, "accuracy": [ACCURACY | {"later": {"a": 1}}]}
    newer = httpx.MockTransport(lambda _request: httpx.Response(200, json=answer))
    told = asker("http://newer", lambda client: client.ops.info(), transport=newer)
    assert told.model.accuracy[0].rank1 == ACCURACY["rank1"]
    assert "later" not in told.model_dump_json()
