"""``/galleries/{gallery}/snapshots`` against a running service."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from service.testing import solid

RED, GREEN = solid((200, 20, 20)), solid((20, 200, 20))


@pytest.fixture
def lobby(start):
    """A service with a gallery of two crops, whose pictures are stored."""
    with start() as service:
        service.http.post("/galleries", json={"name": "lobby", "store_crops": True})
        service.put("lobby", "a", RED, identity="ann")
        service.put("lobby", "b", GREEN)
        yield service


def take(service, gallery="lobby"):
    answer = service.http.post(f"/galleries/{gallery}/snapshots")
    assert answer.status_code == 201, answer.text
    snapshot = answer.json()
    assert answer.headers["Location"].endswith(snapshot["snapshot_id"])
    return snapshot


def restore(service, snapshot, **body):
    url = f"/galleries/lobby/snapshots/{snapshot['snapshot_id']}/restore"
    return service.http.post(url, json=body)


def test_a_gallery_is_restored_as_it_was(lobby):
    snapshot = take(lobby)
    assert (snapshot["gallery"], snapshot["crops"]) == ("lobby", 2)
    lobby.put("lobby", "c", RED)
    lobby.put("lobby", "a", GREEN, identity="eve")
    lobby.http.patch("/galleries/lobby", json={"keep_for": 1e9})
    answer = restore(lobby, snapshot)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["crops"], answer.json()["keep_for"]) == (2, 1e9)
    assert lobby.crop_ids("lobby") == ["a", "b"]
    assert lobby.http.get("/galleries/lobby/crops/a").json()["identity"] == "ann"
    assert lobby.http.get("/galleries/lobby/pictures/a").content == RED
    matches = lobby.search(("q.jpg", RED), gallery="lobby").json()["results"][0]["matches"]
    assert matches[0]["crop_id"] == "a"
    lobby.put("lobby", "d", RED)
    assert lobby.crop_ids("lobby") == ["a", "b", "d"]


def test_it_can_become_a_new_gallery(lobby):
    snapshot = take(lobby)
    lobby.http.delete("/galleries/lobby/crops/a")
    assert restore(lobby, snapshot, into="copy").json()["name"] == "copy"
    assert lobby.crop_ids("copy") == ["a", "b"]
    assert lobby.crop_ids("lobby") == ["b"]
    again = restore(lobby, snapshot, into="copy")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert restore(lobby, snapshot, into="../x").status_code == 422


def test_snapshots_are_listed_downloaded_and_deleted(lobby, tmp_path):
    first, second = take(lobby), take(lobby)
    url = "/galleries/lobby/snapshots"
    assert lobby.http.get(url).json() == {"snapshots": [first, second]}
    download = lobby.http.get(f"{url}/{first['snapshot_id']}")
    assert download.headers["Content-Type"] == "application/vnd.sqlite3"
    assert len(download.content) == first["bytes"]
    (tmp_path / "copy.sqlite3").write_bytes(download.content)
    with closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as copy:
        assert copy.execute("SELECT crop_id FROM crops ORDER BY 1").fetchall() == [("a",), ("b",)]
    assert lobby.http.delete(f"{url}/{first['snapshot_id']}").status_code == 204
    assert lobby.http.get(url).json() == {"snapshots": [second]}
    assert lobby.http.delete(f"{url}/{first['snapshot_id']}").status_code == 404


def test_a_receipt_names_the_snapshots_that_still_hold_a_crop(lobby):
    with_both = take(lobby)["snapshot_id"]
    assert lobby.http.delete("/galleries/lobby/crops/a").json()["snapshots"] == [with_both]
    with_one = take(lobby)["snapshot_id"]
    body = {"crop_ids": ["b"], "dry_run": True}
    answer = lobby.http.post("/galleries/lobby/crops/delete", json=body)
    assert answer.json()["snapshots"] == [with_both, with_one]
    lobby.http.delete(f"/galleries/lobby/snapshots/{with_both}")
    assert lobby.http.delete("/galleries/lobby/crops/b").json()["snapshots"] == [with_one]


def test_deleting_a_gallery_keeps_its_snapshots_unless_requested(lobby):
    snapshot = take(lobby)
    answer = lobby.http.delete("/galleries/lobby").json()
    assert (answer["deleted"], answer["snapshots"]) == (2, [snapshot["snapshot_id"]])
    assert lobby.http.get("/galleries/lobby/snapshots").json() == {"snapshots": [snapshot]}
    assert restore(lobby, snapshot).json()["crops"] == 2
    answer = lobby.http.delete("/galleries/lobby", params={"snapshots": True}).json()
    assert (answer["deleted"], answer["snapshots"]) == (2, [])
    assert lobby.http.get("/galleries/lobby/snapshots").status_code == 404


@pytest.mark.parametrize("gallery", ["lobby", "nowhere", "..", "%2e%2e"])
@pytest.mark.parametrize("snapshot_id", ["nothing", "20260101T000000000-abcd", "..%2f..%2flock"])
def test_unknown_snapshots_are_not_found(lobby, gallery, snapshot_id):
    url = f"/galleries/{gallery}/snapshots/{snapshot_id}"
    for answer in (
        lobby.http.get(url),
        lobby.http.delete(url),
        lobby.http.post(f"{url}/restore", json={}),
    ):
        assert answer.status_code in {404, 405}


def test_an_unknown_gallery_has_no_snapshots(lobby):
    assert lobby.http.get("/galleries/nowhere/snapshots").status_code == 404
    assert lobby.http.post("/galleries/nowhere/snapshots").status_code == 404


def test_a_damaged_snapshot_replaces_nothing(lobby, tmp_path):
    snapshot = take(lobby)
    lobby.put("lobby", "c", RED)
    (path,) = (tmp_path / "data" / "snapshots" / "lobby").glob("*.sqlite3")
    sound = path.read_bytes()
    row = lobby.parts.store.open("lobby").embeddings(["a"])[0].tobytes()
    flipped = bytearray(sound)
    flipped[sound.index(row) + 3] ^= 4
    for content, reason in (
        (bytes(flipped), "the embedding of crop 'a'"),
        (sound[:5000], "damaged"),
        (b"anything else" * 1000, "not a snapshot"),
        (b"", "not a snapshot"),
        (sound.replace(b"lobby", b"hobby"), "of gallery 'hobby'"),
    ):
        path.write_bytes(content)
        for into in (None, "copy"):
            answer = restore(lobby, snapshot, into=into)
            assert answer.status_code == 409, reason
            assert reason in answer.json()["detail"]
    assert lobby.crop_ids("lobby") == ["a", "b", "c"]
    names = [entry["name"] for entry in lobby.http.get("/galleries").json()["galleries"]]
    assert names == ["default", "lobby"]
    path.write_bytes(sound)
    assert restore(lobby, snapshot).json()["crops"] == 2
