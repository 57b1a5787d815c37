"""A gallery changes its model during writes: nothing is lost, and nothing erased comes back."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from contextlib import suppress

import pytest
from waiting import PATIENCE, always_set, wait_until

from service.errors import Conflict, NotFound
from service.gallery.base import Filter
from service.jobs.bridge import Bridge
from service.testing import FakeEmbedder, solid

EVERYTHING = Filter()
RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)
CROPS = {
    f"{name}-{camera}": solid(tuple(min(value + step, 255) for value in colour), kind="PNG")
    for name, colour in {"red": RED, "green": GREEN, "blue": BLUE}.items()
    for step, camera in enumerate(("c1", "c2"))
}
GREY = solid((90, 90, 90), kind="PNG")


@pytest.fixture
def station(start, models):
    """A service whose gallery `station` belongs to the running model, with six pictures."""
    with start(models=models) as service:
        body = {"name": "station", "store_crops": True}
        assert service.http.post("/galleries", json=body).status_code == 201
        for crop_id, picture in CROPS.items():
            put(service, crop_id, picture, identity=crop_id.split("-")[0], camera=crop_id[-2:])
        yield service


def put(service, crop_id, picture=GREY, **fields):
    answer = service.put("station", crop_id, picture, **fields)
    assert answer.status_code in {200, 201}, answer.text


def delete(service, crop_id):
    assert service.http.delete(f"/galleries/station/crops/{crop_id}").status_code == 200


def label(service, crop_ids, identity):
    body = {"crop_ids": crop_ids, "identity": identity}
    answer = service.http.post("/galleries/station/identities/label", json=body)
    assert answer.status_code == 200, answer.text


def begin(service, model="new"):
    return service.ended(service.http.post("/galleries/station/model", json={"model": model}))


def switch(service, model="new", **body):
    return service.http.post("/galleries/station/model/switch", json={"model": model, **body})


def versions_of(service):
    store = service.parts.store
    return [store.open("station"), *store.kept_models("station")]


def pictures_of(gallery):
    """All stored pictures; each must match its crop's digest."""
    found = {}
    for crop in gallery.crops(EVERYTHING):
        with suppress(NotFound):
            found[crop.crop_id] = gallery.picture(crop.crop_id)
            assert hashlib.sha256(found[crop.crop_id]).hexdigest() == crop.digest
    assert gallery.stats().pictures == len(found)
    return found


def known(gallery):
    """A version's metadata, including the fields that are ignored when crops are compared."""
    return {crop.crop_id: (crop, crop.origin, crop.added) for crop in gallery.crops(EVERYTHING)}


def assert_versions_agree(service, pictures):
    versions = versions_of(service)
    assert len(versions) > 1
    for version in versions:
        assert pictures_of(version) == pictures
        assert known(version) == known(versions[0])
    for crop_id, picture in pictures.items():
        assert service.http.get(f"/galleries/station/pictures/{crop_id}").content == picture


def during_embedding(monkeypatch, happens, times=1):
    """Do something while pictures are being embedded, the first few times."""
    embed, left = Bridge.embed, [times]

    def embed_meanwhile(self, uploads, *args, **kwargs):
        if left[0]:
            left[0] -= 1
            happens()
        return embed(self, uploads, *args, **kwargs)

    monkeypatch.setattr(Bridge, "embed", embed_meanwhile)


def merge(service):
    names = {crop.identity for crop in versions_of(service)[0].crops(EVERYTHING)}
    body = {"identities": sorted(names)[:2], "into": f"one of {len(names)}"}
    assert service.http.post("/galleries/station/identities/merge", json=body).status_code == 200


def split(service):
    body = {"crop_ids": ["red-c1"]}
    assert service.http.post("/galleries/station/identities/split", json=body).status_code == 200


def cluster(service):
    label(service, list(CROPS)[:2], None)
    put(service, "red-c1", CROPS["red-c1"])
    job = service.ended(service.http.post("/galleries/station/cluster"))
    assert job["state"] == "done", job


def import_with_other_cameras(service):
    manifest = "".join(
        f'{{"path": "{crop_id}.png", "crop_id": "{crop_id}", "camera": "elsewhere"}}\n'
        for crop_id in CROPS
    )
    files = {"manifest.ndjson": manifest.encode()}
    files |= {f"{crop_id}.png": picture for crop_id, picture in CROPS.items()}
    job = service.ended(bring_in(service, files))
    assert job["counts"] in ({"replaced": 6}, {"unchanged": 6}), job


def bring_in(service, files):
    """Begin an import."""
    return service.http.post(
        "/galleries/station/imports",
        content=archive(files),
        headers={"Content-Type": "application/x-tar"},
    )


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda service: label(service, ["red-c1"], "eve"),
        merge,
        split,
        cluster,
        lambda service: put(service, "red-c1", CROPS["red-c1"], camera="c9"),
        import_with_other_cameras,
    ],
    ids=["label", "merge", "split", "cluster", "put", "import"],
)
def test_a_switch_keeps_every_picture(station, change):
    begin(station)
    change(station)
    for model in ("new", "fake", "new"):
        assert switch(station, model).status_code == 200
        assert_versions_agree(station, CROPS)
        change(station)


def test_a_picture_that_an_older_release_lost_is_restored_by_the_switch(station):
    begin(station)
    (copy,) = station.parts.store.kept_models("station")
    lost = copy.get("red-c1")
    copy.delete(Filter(crop_ids=frozenset({"red-c1"})))
    copy.upsert([lost], copy.embeddings(["red-c2"]))  # stored without its picture
    assert station.http.get("/galleries/station/model").json()["versions"][1]["behind"] == 1
    assert switch(station).status_code == 200
    assert_versions_agree(station, CROPS)


def test_switching_store_crops_off_erases_pictures_in_every_version(station):
    begin(station)
    station.http.patch("/galleries/station", json={"store_crops": False})
    label(station, ["red-c1"], "eve")
    assert switch(station).status_code == 200
    assert_versions_agree(station, {})


def test_a_crop_left_out_is_not_served_with_its_old_picture(station):
    begin(station)
    served = versions_of(station)[0]
    row = served.embeddings(["green-c1"])
    replaced = served.get("red-c1")
    served.upsert([type(replaced)("red-c1", "red", digest="0" * 64)], row)  # without a picture
    assert switch(station).status_code == 409
    assert switch(station, allow_missing=True).status_code == 200
    assert "red-c1" not in station.crop_ids("station")


def test_writes_continue_while_a_switch_embeds(station, monkeypatch):
    begin(station)
    put(station, "late")
    during_embedding(monkeypatch, lambda: label(station, ["late", "red-c1"], "eve"))
    assert switch(station).status_code == 200
    assert known(versions_of(station)[0])["late"][0].identity == "eve"
    assert_versions_agree_on(station, "red-c1", "late")


def assert_versions_agree_on(service, *crop_ids):
    served = versions_of(service)[0]
    for crop_id in crop_ids:
        assert pictures_of(served)[crop_id] == {**CROPS, "late": GREY}[crop_id]


def test_other_galleries_continue_while_a_switch_embeds(station, monkeypatch):
    begin(station)
    put(station, "late")

    def elsewhere():
        assert station.http.post("/galleries", json={"name": "other"}).status_code == 201
        assert station.put("other", "a", GREY).status_code == 201
        assert station.http.delete("/galleries/other").status_code == 200

    during_embedding(monkeypatch, elsewhere)
    assert switch(station).status_code == 200


def test_a_switch_that_cannot_catch_up_reports_it_and_changes_nothing(station, monkeypatch):
    begin(station)
    put(station, "late")
    numbers = iter(range(1000))
    during_embedding(monkeypatch, lambda: put(station, f"later-{next(numbers)}"), times=1000)
    answer = switch(station)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "faster" in answer.json()["detail"]
    assert versions_of(station)[0].model_sha256 == station.parts.manifest.sha256


def test_a_switch_and_an_import_do_not_wait_for_each_other(start, models, monkeypatch):
    """Two batches of an import occupy both turns to embed when the switch needs one."""
    go_on, asked, answers = threading.Event(), threading.Event(), []
    holding = False
    network = FakeEmbedder(fault=lambda _: not holding or go_on.wait(PATIENCE))
    pictures = {f"{n:02d}.png": solid((n, 100, 100), kind="PNG") for n in range(40)}
    with start(network, models=models) as service, always_set(go_on):
        service.http.post("/galleries", json={"name": "station", "store_crops": True})
        put(service, "first")
        begin(service)
        put(service, "late")
        holding = True
        importing = bring_in(service, pictures)
        turns = service.parts.model_change._bridge._turns
        # The first batch is in the network. The second takes its turn some time later, and the
        # network does not embed it before the first is done.
        wait_until(lambda: turns._value == 0)
        during_embedding(monkeypatch, asked.set)
        switching = threading.Thread(target=lambda: answers.append(switch(service)))
        switching.start()
        assert asked.wait(PATIENCE)
        go_on.set()
        switching.join(PATIENCE)
        assert not switching.is_alive()
        assert answers[0].status_code == 200, answers[0].text
        job = service.ended(importing)
        assert job["counts"] == {"created": 40}, job
        served = versions_of(service)[0]
        assert served.model_sha256 != service.parts.manifest.sha256
        assert pictures_of(served).keys() == {"first", "late", *pictures}


def drop(service):
    sha256 = service.parts.store.kept_models("station")[0].model_sha256
    assert service.http.delete(f"/galleries/station/model/{sha256}").status_code == 200


class TestWhileAJobEmbeds:
    def test_a_deleted_crop_does_not_come_back(self, station, monkeypatch):
        during_embedding(monkeypatch, lambda: delete(station, "red-c1"))
        job = begin(station)
        assert (job["state"], job["counts"]) == ("done", {"embedded": 5, "overtaken": 1})
        for version in versions_of(station):
            assert "red-c1" not in known(version)
        left = {crop_id: data for crop_id, data in CROPS.items() if crop_id != "red-c1"}
        assert_versions_agree(station, left)

    def test_a_replaced_crop_is_embedded_with_its_new_picture(self, station, monkeypatch):
        during_embedding(monkeypatch, lambda: put(station, "red-c1", GREY, identity="red"))
        assert begin(station)["counts"] == {"embedded": 5, "overtaken": 1}
        assert begin(station)["result"]["behind"] == 0
        assert_versions_agree(station, {**CROPS, "red-c1": GREY})

    def test_a_label_set_meanwhile_is_kept(self, station, monkeypatch):
        during_embedding(monkeypatch, lambda: label(station, ["red-c1"], "eve"))
        assert begin(station)["result"]["behind"] == 0
        assert_versions_agree(station, CROPS)
        assert known(versions_of(station)[1])["red-c1"][0].identity == "eve"

    def test_a_dropped_version_does_not_come_back(self, station, monkeypatch, tmp_path):
        during_embedding(monkeypatch, lambda: drop(station))
        job = begin(station)
        assert job["state"] == "failed"
        assert "has no version for model" in job["error"]
        assert station.parts.store.kept_models("station") == []
        folder = tmp_path / "data" / "galleries" / "station"
        assert len(list(folder.glob("*.sqlite3"))) == 1

    def test_a_gallery_deleted_and_created_again_stays_empty(self, station, monkeypatch):
        def make_again():
            assert station.http.delete("/galleries/station").status_code == 200
            body = {"name": "station", "store_crops": True}
            assert station.http.post("/galleries", json=body).status_code == 201

        during_embedding(monkeypatch, make_again)
        begun = station.http.post("/galleries/station/model", json={"model": "new"})
        assert begun.status_code == 202, begun.text
        # A gallery's jobs are deleted with it; this one runs until it notices.
        look = station.http.get
        wait_until(lambda: look(begun.headers["Location"]).status_code == 404)
        wait_until(lambda: not station.parts.board.running)
        assert [len(known(version)) for version in versions_of(station)] == [0]

    def test_a_version_that_is_served_by_then_is_not_changed(self, station, monkeypatch):
        begin(station)
        put(station, "late")

        def switch_and_delete():
            assert switch(station).status_code == 200
            delete(station, "late")

        during_embedding(monkeypatch, switch_and_delete)
        job = begin(station)
        assert job["state"] == "failed"
        assert "by now" in job["error"]
        assert "late" not in station.crop_ids("station")


def test_a_crop_is_embedded_again_if_its_gallery_was_switched_meanwhile(station, monkeypatch):
    begin(station)
    intake = station.parts.shelf.running.intake
    embed, switched = intake.embed, []

    async def embed_then_switch(*args):
        rows = await embed(*args)
        if not switched:
            switched.append(await station.parts.executors.background.run(switch, station))
        return rows

    monkeypatch.setattr(intake, "embed", embed_then_switch)
    put(station, "meanwhile")
    assert switched[0].status_code == 200
    served = versions_of(station)[0]
    assert served.model_sha256 != station.parts.manifest.sha256
    other = solid((91, 90, 90), kind="PNG")
    put(station, "twin", other)
    near, twin = served.embeddings(["meanwhile", "twin"])
    assert near @ twin > 0.99  # of one model; embeddings of two models have nothing in common


def test_a_damaged_row_of_one_version_is_not_deleted_from_the_other(station):
    begin(station)
    served = versions_of(station)[0]
    served.memory.rows().rows.remove(["red-c1"])
    served.memory.rows().damaged.add("red-c1")  # as after a start
    assert switch(station).status_code == 200
    assert "red-c1" in station.crop_ids("station")
    assert station.http.get("/galleries/station/pictures/red-c1").content == CROPS["red-c1"]


def test_two_switches_at_once_leave_one_version_served(station):
    begin(station)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(switch(station).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) in ([200, 404], [200, 409])
    assert_versions_agree(station, CROPS)


def test_a_missing_version_is_a_conflict_or_not_found(station):
    change = station.parts.model_change
    with pytest.raises(NotFound):
        change.switch("station", "new", allow_missing=False)
    with pytest.raises(Conflict):
        change.switch("station", "fake", allow_missing=False)
