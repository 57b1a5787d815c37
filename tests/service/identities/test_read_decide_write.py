"""A thread that decides by a gallery's content holds its lock until the decision is written."""

from __future__ import annotations

import io
import tarfile
import threading

import pytest
from waiting import PATIENCE

from service.errors import Replaced
from service.gallery.base import Filter
from service.gallery.disk.gallery import DiskGallery
from service.identities import grouping
from service.identities.corrections import Basis, Corrections
from service.ingest import storing
from service.jobs.context import JobContext
from service.testing import solid

EVERYTHING = Filter()
RED, REDDISH = solid((200, 20, 20), kind="PNG"), solid((200, 20, 60), kind="PNG")
GREEN = solid((20, 200, 20), kind="PNG")
_CHANCE = 0.5  # seconds for the other thread; if a lock makes it wait, the test waits this long


@pytest.fixture
def gallery(start):
    """A service with an empty gallery."""
    with start() as service:
        service.create("g")
        yield service


def opened(service) -> DiskGallery:
    return service.parts.store.open("g")


def who(service):
    return {
        crop.crop_id: (crop.identity, crop.origin) for crop in opened(service).crops(EVERYTHING)
    }


def ask(service, what, **body):
    answer = service.http.post(f"/galleries/g/identities/{what}", json=body)
    assert answer.status_code == 200, answer.text


class Meanwhile:
    """Work for another thread, done when a function returns for the first time."""

    def __init__(self, does):
        self._thread = threading.Thread(target=does)
        self._begun = threading.Lock()

    def after(self, function):
        def wrapped(*args, **kwargs):
            answer = function(*args, **kwargs)
            if self._begun.acquire(blocking=False):
                self._thread.start()
                self._thread.join(_CHANCE)
            return answer

        return wrapped

    def ended(self):
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def test_a_label_set_while_the_crop_is_sent_again_stays(gallery, monkeypatch):
    assert gallery.put("g", "a", RED, camera="c1").status_code == 201
    meanwhile = Meanwhile(lambda: ask(gallery, "label", crop_ids=["a"], identity="ann"))
    monkeypatch.setattr(storing, "identified", meanwhile.after(storing.identified))
    assert gallery.put("g", "a", RED, camera="c2").status_code == 200
    meanwhile.ended()
    assert who(gallery) == {"a": ("ann", "hand")}
    assert opened(gallery).get("a").camera == "c2"


def test_two_concurrent_changes_of_options_both_take_effect(gallery, monkeypatch):
    def patch(**changes):
        assert gallery.http.patch("/galleries/g", json=changes).status_code == 200

    meanwhile = Meanwhile(lambda: patch(keep_for=1e9))
    before = DiskGallery.configure

    def configure(self, options):
        meanwhile.after(lambda: None)()  # the other thread reads and writes before this one writes
        before(self, options)

    monkeypatch.setattr(DiskGallery, "configure", configure)
    patch(join=True)
    meanwhile.ended()
    found = gallery.http.get("/galleries/g").json()
    assert (found["join"], found["keep_for"]) == (True, 1e9)


def test_joining_during_a_merge_does_not_revive_the_name(gallery, monkeypatch):
    gallery.http.patch("/galleries/g", json={"join": True})
    gallery.put("g", "red", RED, identity="old")
    gallery.put("g", "green", GREEN, identity="other")
    meanwhile = Meanwhile(lambda: ask(gallery, "merge", identities=["old"], into="new"))
    monkeypatch.setattr(storing, "join_groups", meanwhile.after(storing.join_groups))
    assert gallery.put("g", "late", REDDISH).status_code == 201
    meanwhile.ended()
    assert {identity for identity, _ in who(gallery).values()} == {"new", "other"}


def test_corrections_of_different_galleries_do_not_wait_for_each_other(gallery):
    gallery.create("h")
    gallery.put("h", "b", GREEN)
    gallery.put("g", "a", RED)
    with opened(gallery).changing():
        answer = gallery.http.post(
            "/galleries/h/identities/label", json={"crop_ids": ["b"], "identity": "ben"}
        )
        assert answer.status_code == 200
    assert gallery.http.delete("/galleries/h").status_code == 200


@pytest.mark.parametrize("what", ["create", "delete", "open", "snapshot"])
def test_no_gallery_waits_for_another_gallerys_lock(gallery, what):
    gallery.create("h")
    store = gallery.parts.store
    act = {
        "create": lambda: gallery.create("new"),
        "delete": lambda: store.delete("h"),
        "open": lambda: store.open("h").stats(),
        "snapshot": lambda: store.take_snapshot("h"),
    }[what]
    done = threading.Event()
    with store.changing("g"):
        thread = threading.Thread(target=lambda: (act(), done.set()))
        thread.start()
        assert done.wait(PATIENCE)
    thread.join()


def imported(service, pictures):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in pictures.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    answer = service.http.post(
        "/galleries/g/imports",
        params={"pattern": r"(?P<camera>c\d)/.*"},
        content=buffer.getvalue(),
        headers={"Content-Type": "application/x-tar"},
    )
    job = service.ended(answer)
    assert job["state"] == "done", job


def test_an_import_does_not_restore_an_outdated_grouping(gallery, monkeypatch):
    assert gallery.put("g", "c1/a.png", RED).status_code == 201
    opened(gallery).relabel({"c1/a.png": "person-0001"}, "cluster")
    enrol = JobContext.enrol

    def enrol_late(self, *args):
        Corrections().regroup(opened(gallery), {"c1/a.png": "person-0002"})
        return enrol(self, *args)

    monkeypatch.setattr(JobContext, "enrol", enrol_late)
    imported(gallery, {"c1/a.png": RED})
    assert who(gallery) == {"c1/a.png": ("person-0002", "cluster")}
    assert opened(gallery).get("c1/a.png").camera == "c1"


def test_an_import_stores_pictures_once_store_crops_is_set(gallery):
    assert gallery.put("g", "c1/a.png", RED, camera="c1").status_code == 201
    gallery.http.patch("/galleries/g", json={"store_crops": True})
    imported(gallery, {"c1/a.png": RED})
    assert gallery.http.get("/galleries/g/pictures/c1/a.png").content == RED


class TestChangesDuringAGrouping:
    """Changes made after the crops were read take precedence over the grouping."""

    @pytest.fixture
    def three(self, gallery):
        for name, picture in {"a": RED, "b": REDDISH, "c": GREEN}.items():
            gallery.put("g", name, picture)
        opened(gallery).relabel({"a": "person-0001", "b": "person-0001"}, "cluster")
        return gallery

    def group(self, service, labels, meanwhile):
        crops = opened(service).crops(EVERYTHING)
        basis = Basis.of(crops, {crop.identity for crop in crops if crop.identity is not None})
        meanwhile()
        Corrections().regroup(opened(service), labels, basis)

    def test_a_merged_name_does_not_come_back(self, three):
        labels = dict.fromkeys("abc", "person-0001")
        self.group(
            three, labels, lambda: ask(three, "merge", identities=["person-0001"], into="ann")
        )
        assert who(three) == {"a": ("ann", "hand"), "b": ("ann", "hand"), "c": (None, "given")}

    def test_an_erased_person_does_not_come_back(self, three):
        labels = dict.fromkeys("abc", "person-0001")
        erased = Filter(identities=frozenset({"person-0001"}))
        self.group(three, labels, lambda: opened(three).delete(erased))
        assert who(three) == {"c": (None, "given")}

    def test_a_name_that_was_taken_meanwhile_is_not_shared(self, three):
        labels = {"a": "person-0001", "b": "person-0001", "c": "person-0002"}
        self.group(three, labels, lambda: ask(three, "split", crop_ids=["b"]))
        found = who(three)
        assert found["b"] == ("person-0002", "hand")
        assert found["c"] == ("person-0003", "cluster")

    def test_a_replaced_picture_is_not_labelled(self, three):
        self.group(
            three, {"c": "person-0001"}, lambda: three.put("g", "c", solid((9, 9, 9), kind="PNG"))
        )
        assert who(three)["c"] == (None, "given")


def test_a_clustering_does_not_revive_a_name_merged_while_it_ran(gallery, monkeypatch):
    for number in range(6):
        gallery.put("g", f"r{number}", solid((200, 20, 20 + number), kind="PNG"), camera="c1")
    gallery.ended(gallery.http.post("/galleries/g/cluster"))
    (old,) = {identity for identity, _ in who(gallery).values()}
    gallery.put("g", "late", solid((200, 20, 27), kind="PNG"), camera="c1")
    meanwhile = Meanwhile(lambda: ask(gallery, "merge", identities=[old], into="ann"))
    monkeypatch.setattr(grouping, "group_crops", meanwhile.after(grouping.group_crops))
    gallery.ended(gallery.http.post("/galleries/g/cluster"))
    meanwhile.ended()
    assert old not in {identity for identity, _ in who(gallery).values()}


def test_a_crop_is_stored_even_if_its_gallery_was_restored_meanwhile(gallery, monkeypatch):
    gallery.put("g", "a", RED)
    snapshot = gallery.parts.store.take_snapshot("g").snapshot_id
    intake = gallery.parts.shelf.running.intake
    embed, restored = intake.embed, []

    async def embed_then_restore(*args):
        rows = await embed(*args)
        if not restored:
            restored.append(
                await gallery.parts.executors.background.run(
                    gallery.parts.store.restore, "g", snapshot, None
                )
            )
        return rows

    monkeypatch.setattr(intake, "embed", embed_then_restore)
    assert gallery.put("g", "b", GREEN).status_code == 201
    assert set(who(gallery)) == {"a", "b"}


def test_writing_to_a_replaced_gallery_asks_for_a_retry(gallery):
    older = opened(gallery)
    snapshot = gallery.parts.store.take_snapshot("g").snapshot_id
    gallery.parts.store.restore("g", snapshot, None)
    with pytest.raises(Replaced, match="send the request again"), older.changing():
        pass
    with gallery.parts.store.changing("g") as now:
        assert now is opened(gallery)
