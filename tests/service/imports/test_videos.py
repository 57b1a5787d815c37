"""Imports of videos over HTTP, with the shipped detector; the videos are made here."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from importlib import util
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from films import Pixels, film, plain
from PIL import Image

from service.client import Client

ROOT = Path(__file__).parents[3]
NANODET = ROOT / "models" / "nanodet-person"
DRAWN = ROOT / "docs" / "images" / "drawn-people.png"
MORNING = 1795249800.0  # 2026-11-21T08:30:00Z


@pytest.fixture(scope="module")
def people() -> Pixels:
    """A frame of three drawn people whom the detector finds."""
    with Image.open(DRAWN) as picture:
        return np.asarray(picture.convert("RGB").crop((0, 0, 200, 170)))


@pytest.fixture(scope="module")
def visit(people) -> bytes:
    """Two seconds at 4 frames per second: drawn people, and from the second second on nobody."""
    return film([people] * 4 + [np.full_like(people, 90)] * 4)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def service(launch, tmp_path_factory, root):
    with launch(tmp_path_factory.mktemp("data"), detector=NANODET, import_roots=[root]) as service:
        yield service


def send(
    service, gallery: str, body: bytes, kind: str = "video/mp4", **query: Any
) -> httpx.Response:
    path, headers = f"/galleries/{gallery}/imports", {"Content-Type": kind}
    return service.http.post(path, content=body, headers=headers, params=query)


def errors(service, job: dict[str, Any]) -> dict[str, str]:
    rows = service.http.get(f"/jobs/{job['job_id']}/errors").text.splitlines()
    return {row["item"]: row["reason"] for row in map(json.loads, rows)}


def by_frame(crop_ids: list[str]) -> list[str]:
    return sorted({crop_id.rpartition("/")[0] for crop_id in crop_ids})


def test_the_persons_of_a_video_are_stored_with_the_times_of_their_frames(service, visit):
    service.create("visit")
    told = {"name": "a/gate.mp4", "camera": "c1", "tracks": "false"}
    told |= {"timestamp": "2026-11-21T09:30", "zone": "+01:00"}
    job = service.ended(send(service, "visit", visit, **told))
    crop_ids = service.crop_ids("visit", cameras="c1")
    assert (job["state"], job["errors"]) == ("done", 0)
    assert job["counts"] == {"frames": 4, "created": len(crop_ids)}
    assert job["done"] == job["total"]
    assert by_frame(crop_ids) == ["a/gate.mp4/000000", "a/gate.mp4/000002"]
    assert crop_ids[0] == "a/gate.mp4/000000/01"
    times = {
        service.http.get(f"/galleries/visit/crops/{frame}/01").json()["timestamp"]
        for frame in by_frame(crop_ids)
    }
    assert times == {MORNING, MORNING + 0.5}
    again = service.ended(send(service, "visit", visit, **told))
    assert again["counts"] == {"frames": 4, "unchanged": len(crop_ids)}


def test_a_frame_of_a_video_gives_the_crops_that_it_gives_alone(service, visit, tmp_path):
    service.create("alone")
    (tmp_path / "gate.mp4").write_bytes(visit)
    with Client(service.url) as client:
        job = client.imports.upload(
            "alone", tmp_path / "gate.mp4", fps=1.0, score=0.5, tracks=False
        )
        assert client.jobs.wait(job.job_id).counts["frames"] == 2
    crop_ids = service.crop_ids("alone")
    assert by_frame(crop_ids) == ["gate.mp4/000000"]
    from service.video.decoding import VideoLimits, open_video

    with (tmp_path / "gate.mp4").open("rb") as file, open_video(file, VideoLimits(10**6)) as video:
        frame = next(video.frames()).jpeg()
    files, form = [("images", ("f", frame))], {"score": "0.5", "dry_run": "true"}
    answer = service.http.post("/galleries/alone/frames", files=files, data=form).json()
    assert len(answer["results"][0]["persons"]) == len(crop_ids) == 3


def test_persons_are_followed_and_the_best_pictures_of_each_are_stored(service, people):
    service.create("tracks")
    empty = np.full_like(people, 90)
    walk = [np.roll(people, 2 * step, axis=1) for step in range(14)]
    film_of_walk = film([*walk, *[empty] * 2])
    job = service.ended(send(service, "tracks", film_of_walk, name="gate.mp4", camera="c1"))
    counts = job["counts"]
    page = service.http.get("/galleries/tracks/crops", params={"limit": 1000}).json()["crops"]
    assert counts == {"frames": 8, "created": len(page), "dropped": counts["dropped"]}
    assert job["done"] == job["total"]
    tracks = Counter(crop["track"] for crop in page)
    assert set(tracks) == {"gate.mp4-1", "gate.mp4-2", "gate.mp4-3"}
    assert max(tracks.values()) <= 4
    assert counts["created"] + counts["dropped"] == 21  # three persons on seven frames
    assert all(crop["crop_id"].startswith("gate.mp4/0000") for crop in page)
    again = service.ended(send(service, "tracks", film_of_walk, name="gate.mp4", camera="c1"))
    assert again["counts"] == {
        "frames": 8,
        "unchanged": len(page),
        "dropped": counts["dropped"],
    }


def test_a_folder_of_videos_in_which_a_broken_one_fails_alone(service, visit, root):
    service.create("folder")
    (root / "day" / "gate").mkdir(parents=True)
    for name, data in (
        ("gate/2026-11-21_08-30-00.mp4", visit),
        ("gate/2026-11-21_09-30-00.mp4", visit[: len(visit) // 2]),
        ("gate/2026-11-21_10-30-00.mkv", film(plain(8), kind="matroska")),
        ("gate/.hidden.mp4", b""),
        ("notes.mp4", b"#EXTM3U\n#EXTINF:10,\ngate/2026-11-21_08-30-00.mp4\n"),
    ):
        (root / "day" / name).write_bytes(data)
    pattern = r"(?P<camera>[^/]+)/(?P<date>[^_]+)_(?P<time>[^.]+)\."
    body = {"folder": "day", "pattern": pattern, "camera": "spare", "fps": 4, "zone": "UTC"}
    body |= {"tracks": False}
    job = service.ended(service.http.post("/galleries/folder/imports", json=body))
    assert job["state"] == "done"
    crop_ids = service.crop_ids("folder", cameras="gate")
    assert job["counts"] == {
        "frames": 16,
        "created": len(crop_ids),
        "failed": 1,
        "left_out": 2,  # the hidden one, and the one whose name does not match
    }
    assert job["done"] == job["total"]
    assert by_frame(crop_ids) == [f"gate/2026-11-21_08-30-00.mp4/00000{n}" for n in range(4)]
    (reason,) = errors(service, job).values()
    assert reason.startswith("not a video in a known format")
    crop = service.http.get(f"/galleries/folder/crops/{crop_ids[0]}").json()
    assert crop["timestamp"] == MORNING


def test_a_video_is_recognised_by_its_content(service):
    service.create("kinds")
    for kind, codec in (
        ("mp4", "mpeg4"),
        ("avi", "mpeg4"),
        ("matroska", "mpeg4"),
        ("mpegts", "mpeg2video"),
    ):
        body = film(plain(20), rate=20, kind=kind, codec=codec)
        job = service.ended(send(service, "kinds", body, "application/octet-stream"))
        assert job["counts"] == {"frames": 2}, (kind, job)
    assert service.crop_ids("kinds") == []


def test_a_video_without_a_name_is_called_by_its_digest(service, visit):
    service.create("digest")
    service.ended(send(service, "digest", visit, fps=0.5))
    name = hashlib.sha256(visit).hexdigest()[:16]
    assert by_frame(service.crop_ids("digest")) == [f"{name}/000000"]


def test_a_broken_video_stores_nothing_and_says_why(service, visit):
    service.create("broken")
    for body, reason in (
        (b"", "not a video in a known format"),
        (visit[:300], "not a video in a known format"),
        (film(plain(2, (4, 6))), "frames of 6x4 pixels: each side needs at least 8"),
    ):
        job = service.ended(send(service, "broken", body, name="x.mp4"))
        assert (job["state"], job["counts"]) == ("done", {"failed": 1})
        assert errors(service, job)["x.mp4"].startswith(reason)
    assert service.crop_ids("broken") == []


WRONG = [
    ({"fps": 0}, "greater than or equal"),
    ({"fps": "nan"}, "fps"),
    ({"fps": 1000}, "less than or equal to 60"),
    ({"tiles": "9x9"}, "write COLUMNSxROWS"),
    ({"score": 0.01}, "greater than or equal to 0.05"),
    ({"camera": "a\nb"}, "camera"),
    ({"name": "../x.mp4"}, "'..' is not allowed"),
    ({"name": ""}, "at least 1 character"),
    ({"timestamp": "yesterday"}, "is not a time"),
    ({"tracks": "perhaps"}, "tracks"),
    ({"tracks": "true", "fps": 0.5}, "tracks need fps of at least 1, got 0.5"),
    ({"timestamp": 1e300}, "is not a time"),
    ({"zone": "Mars"}, "Mars"),
    ({"pattern": "(?P<who>x)"}, "unknown group"),
    ({"speed": 2}, "speed"),
]


@pytest.mark.parametrize(("query", "said"), WRONG, ids=lambda value: str(value)[:30])
def test_a_wrong_field_is_rejected(service, query, said):
    answer = send(service, "default", b"", **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text
    assert said in answer.json()["detail"]
    if query.keys() & {"fps", "tiles", "score", "camera", "timestamp", "tracks"}:
        answer = service.http.post("/galleries/default/imports", json={"folder": ".", **query})
        assert answer.status_code == 422, answer.text


def test_fields_of_videos_are_rejected_beside_an_archive(service):
    answer = send(service, "default", bytes(1024), "application/x-tar", fps=1)
    assert answer.status_code == 422
    assert answer.json()["detail"] == "fps is for videos, and this is tar: leave it out"


def test_without_the_extra_or_a_detector_a_video_is_refused(service, start, monkeypatch, root):
    with start(detector=root / "none", import_roots=[root]) as blind:
        answer = send(blind, "default", b"")
        assert (answer.status_code, answer.json()["code"]) == (501, "unsupported")
        assert "REID_DETECTOR" in answer.json()["detail"]
        (root / "blind").mkdir()
        (root / "blind" / "a.mp4").write_bytes(b"")
        job = blind.ended(blind.http.post("/galleries/default/imports", json={"folder": "blind"}))
        assert "REID_DETECTOR" in errors(blind, job)["a.mp4"]
    find = util.find_spec
    monkeypatch.setattr(
        "service.video.needed.find_spec", lambda name: None if name == "av" else find(name)
    )
    answer = send(service, "default", b"")
    assert (answer.status_code, answer.json()["code"]) == (501, "unsupported")
    assert 'pip install "hhcl-reid[server-cpu,video]"' in answer.json()["detail"]
