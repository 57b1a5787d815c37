"""``/galleries/{gallery}/identities`` and ``/cluster`` against a running service."""

from __future__ import annotations

import hashlib
import json
import threading
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.gallery.base import Crop, Filter, GalleryOptions, Hit
from service.identities import grouping
from service.identities.corrections import Corrections
from service.ingest.joining import JoinRule
from service.testing import TINY_CALIBRATION, FakeEmbedder, encode, solid

PEOPLE, CROPS = 8, 12
MORNING = 1_795_249_800.0  # 2026-11-21 08:30 UTC


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def embeddings(seed: int = 0, people: int = PEOPLE, spread: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 32))
    noise = spread * rng.normal(size=(people * CROPS, 32))
    return units(np.repeat(centres, CROPS, axis=0) + noise)


def crop_id(person: int, shot: int) -> str:
    return f"{person}/{shot:02d}"


def fill(service: Any, name: str, **identities: str) -> str:
    """A gallery of eight people with twelve crops each from two cameras; some have an identity."""
    service.create(name)
    crops = [
        Crop(
            crop_id(person, shot),
            identities.get(f"p{person}_{shot}"),
            f"c{shot % 2}",
            MORNING + 60.0 * shot,
        )
        for person in range(PEOPLE)
        for shot in range(CROPS)
    ]
    service.parts.store.open(name).upsert(crops, embeddings())
    return name


def cluster(service: Any, gallery: str, **body: Any) -> dict[str, Any]:
    answer = service.http.post(f"/galleries/{gallery}/cluster", json=body)
    job: dict[str, Any] = service.ended(answer)
    return job


def grouped(service: Any, gallery: str, **body: Any) -> dict[str, Any]:
    job = cluster(service, gallery, **body)
    assert job["state"] == "done", job
    return job["result"]


def act(service: Any, gallery: str, what: str, **body: Any) -> dict[str, Any]:
    answer = service.http.post(f"/galleries/{gallery}/identities/{what}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refuse(service: Any, gallery: str, what: str, **body: Any) -> tuple[int, str]:
    answer = service.http.post(f"/galleries/{gallery}/identities/{what}", json=body)
    return answer.status_code, answer.json()["detail"]


def names(service: Any, gallery: str) -> dict[str, str | None]:
    crops = service.parts.store.open(gallery).crops(Filter())
    return {crop.crop_id: crop.identity for crop in crops}


def origins(service: Any, gallery: str) -> dict[str, str]:
    crops = service.parts.store.open(gallery).crops(Filter())
    return {crop.crop_id: crop.origin for crop in crops}


def listing(service: Any, gallery: str, **query: Any) -> dict[str, Any]:
    answer = service.http.get(f"/galleries/{gallery}/identities", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_clustering_groups_a_gallery_into_persons(service):
    gallery = fill(service, "grouped")
    job = cluster(service, gallery)
    assert (job["kind"], job["state"], job["gallery"]) == ("cluster", "done", gallery)
    assert job["total"] == job["done"] == PEOPLE * CROPS
    assert job["result"] == {
        "persons": PEOPLE,
        "grouped": PEOPLE * CROPS,
        "outliers": 0,
        "kept": 0,
        "changed": PEOPLE * CROPS,
        "standardised": False,
    }
    who = names(service, gallery)
    for person in range(PEOPLE):
        assert len({who[crop_id(person, shot)] for shot in range(CROPS)}) == 1
    assert set(who.values()) == {f"person-{number:04d}" for number in range(1, PEOPLE + 1)}
    assert set(origins(service, gallery).values()) == {"cluster"}
    again = grouped(service, gallery)
    assert again["changed"] == 0
    assert names(service, gallery) == who


def test_the_listing_counts_crops_cameras_and_times(service):
    gallery = fill(service, "listed", p0_0="anna", p0_3="anna")
    page = listing(service, gallery)
    assert (page["total"], page["unnamed"], page["cursor"]) == (1, PEOPLE * CROPS - 2, None)
    assert page["identities"] == [
        {
            "identity": "anna",
            "crops": 2,
            "cameras": {"c0": 1, "c1": 1},
            "first": MORNING,
            "last": MORNING + 180.0,
            "example": "0/00",
            "origins": {"given": 2},
        }
    ]
    grouped(service, gallery)
    first = listing(service, gallery, limit=3)
    assert [entry["identity"] for entry in first["identities"]] == [
        "anna",
        "person-0001",
        "person-0002",
    ]
    assert first["identities"][0]["origins"] == {"given": 2, "cluster": 10}
    rest = listing(service, gallery, limit=100, cursor=first["cursor"])
    assert len(rest["identities"]) == PEOPLE - 3
    assert rest["cursor"] is None
    there = listing(service, gallery, cameras="c1", since=MORNING + 60, until=MORNING + 120)
    assert there["identities"][0]["crops"] == 1
    assert there["identities"][0]["first"] == there["identities"][0]["last"] == MORNING + 60.0


def test_a_label_names_its_group_at_the_next_clustering_and_stays(service):
    gallery = fill(service, "labelled")
    grouped(service, gallery)
    done = act(service, gallery, "label", crop_ids=["3/00"], identity="anna")
    assert done == {"identity": "anna", "crops": 1, "changed": 1}
    assert grouped(service, gallery)["kept"] == 1
    who = names(service, gallery)
    assert {who[crop_id(3, shot)] for shot in range(CROPS)} == {"anna"}
    assert origins(service, gallery)["3/00"] == "hand"
    assert origins(service, gallery)["3/01"] == "cluster"
    assert act(service, gallery, "label", crop_ids=["3/00"], identity="anna")["changed"] == 0


def test_a_crop_labelled_as_nobody_stays_so(service):
    gallery = fill(service, "nobody")
    act(service, gallery, "label", crop_ids=["3/00"], identity=None)
    assert grouped(service, gallery)["grouped"] == PEOPLE * CROPS - 1
    assert names(service, gallery)["3/00"] is None


def test_merged_persons_stay_one(service):
    gallery = fill(service, "merged")
    grouped(service, gallery)
    before = names(service, gallery)
    one, other = before["0/00"], before["1/00"]
    done = act(service, gallery, "merge", identities=[one, other], into="twins")
    assert done == {"identity": "twins", "crops": 2 * CROPS, "changed": 2 * CROPS}
    grouped(service, gallery)
    after = names(service, gallery)
    for shot in range(CROPS):
        assert after[crop_id(0, shot)] == after[crop_id(1, shot)] == "twins"
    assert {k: v for k, v in after.items() if v != "twins"} == {
        k: v for k, v in before.items() if v not in {one, other}
    }
    again = act(service, gallery, "merge", identities=[before["2/00"]], into="twins")
    assert again["crops"] == 3 * CROPS
    assert names(service, gallery)["2/05"] == "twins"


def test_split_crops_and_those_left_behind_stay_apart(service):
    gallery = fill(service, "split")
    grouped(service, gallery)
    before = names(service, gallery)
    taken = [crop_id(4, shot) for shot in range(0, CROPS, 2)]
    done = act(service, gallery, "split", crop_ids=taken)
    assert done["identity"] == f"person-{PEOPLE + 1:04d}"
    assert done["crops"] == len(taken)
    assert done["changed"] == CROPS
    grouped(service, gallery)
    after = names(service, gallery)
    for shot in range(CROPS):
        name = crop_id(4, shot)
        assert after[name] == (done["identity"] if name in taken else before[name])
    named = act(service, gallery, "split", crop_ids=["5/00"], into="solo")
    assert (named["identity"], names(service, gallery)["5/00"]) == ("solo", "solo")


def test_given_identities_are_anchors_and_never_change(service):
    gallery = fill(service, "given", p2_0="anna", p6_1="ben")
    result = grouped(service, gallery)
    assert (result["persons"], result["kept"]) == (PEOPLE, 2)
    who = names(service, gallery)
    assert {who[crop_id(2, shot)] for shot in range(CROPS)} == {"anna"}
    assert {who[crop_id(6, shot)] for shot in range(CROPS)} == {"ben"}
    assert origins(service, gallery)["2/00"] == "given"


def test_only_crops_that_pass_the_filter_are_grouped(service):
    gallery = fill(service, "part")
    grouped(service, gallery, cameras=["c0"], until=MORNING + 600)
    who = names(service, gallery)
    assert all((identity is not None) == _even(crop) for crop, identity in who.items())
    before = {crop: identity for crop, identity in who.items() if identity is not None}
    grouped(service, gallery)
    after = names(service, gallery)
    assert {crop: after[crop] for crop in before} == before  # groups grew, names stayed


def _even(crop: str) -> bool:
    shot = int(crop.split("/")[1])
    return shot % 2 == 0 and shot < 10


def test_a_clustering_with_min_score_1_groups_nobody(service):
    gallery = fill(service, "strict")
    result = grouped(service, gallery, min_score=1.0)
    assert (result["persons"], result["outliers"]) == (0, PEOPLE * CROPS)
    assert set(names(service, gallery).values()) == {None}


def test_regrouping_removes_outdated_identities(service):
    gallery = fill(service, "taken-back")
    grouped(service, gallery)
    result = grouped(service, gallery, min_score=1.0)
    assert result["changed"] == PEOPLE * CROPS
    assert set(names(service, gallery).values()) == {None}


def test_a_label_made_during_a_clustering_is_not_overwritten(service):
    gallery = service.parts.store.open(fill(service, "race"))
    corrections = Corrections()
    corrections.label(gallery, ["0/00"], "anna")
    labels = {crop_id(0, shot): "person-0001" for shot in range(CROPS)} | {"gone": "person-0001"}
    assert corrections.regroup(gallery, labels) == CROPS - 1
    assert gallery.get("0/00").identity == "anna"


def test_corrections_from_many_threads_are_consistent(service):
    gallery = service.parts.store.open(fill(service, "threads"))
    corrections = Corrections()
    everything = [crop_id(person, shot) for person in range(PEOPLE) for shot in range(CROPS)]
    threads = [
        threading.Thread(target=corrections.label, args=(gallery, everything, f"name-{number}"))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({crop.identity for crop in gallery.crops(Filter())}) == 1


def test_the_error_for_too_many_crops_says_how_to_choose_fewer(service, monkeypatch):
    gallery = fill(service, "crowded")
    monkeypatch.setattr(grouping, "MAX_CROPS", 50)
    job = cluster(service, gallery)
    assert job["state"] == "failed"
    assert "96 crops: at most 50 can be grouped at once; choose cameras" in job["error"]
    assert grouped(service, gallery, cameras=["c0"])["grouped"] == 48


def test_crops_that_are_deleted_during_a_clustering_are_left_out(service):
    name = fill(service, "shrinking")
    gallery = service.parts.store.open(name)
    left = [crop_id(person, shot) for person in range(PEOPLE) for shot in range(0, CROPS, 3)]

    def delete() -> None:
        for one in left:
            gallery.delete(Filter(crop_ids=frozenset({one})))

    deleting = threading.Thread(target=delete)
    deleting.start()
    while deleting.is_alive():
        job = cluster(service, name)
        assert job["state"] == "done" or "being deleted too fast" in job["error"]
    deleting.join()
    last = cluster(service, name)
    assert last["total"] == last["done"] == PEOPLE * CROPS - len(left)


def test_an_empty_gallery_has_no_groups(service):
    service.create("void")
    assert grouped(service, "void")["persons"] == 0
    assert listing(service, "void") == {
        "identities": [],
        "cursor": None,
        "total": 0,
        "unnamed": 0,
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("what", "body", "status", "words"),
    [
        ("label", {"crop_ids": ["0/00", "lost"], "identity": "x"}, 404, "'lost'"),
        ("label", {"crop_ids": [], "identity": "x"}, 422, "at least 1"),
        ("label", {"crop_ids": ["0/00"]}, 422, "identity"),
        ("label", {"crop_ids": ["0/00"], "identity": ""}, 422, "identity"),
        ("label", {"crop_ids": ["0/00"], "identity": "a\nb"}, 422, "U+000A"),
        ("label", {"crop_ids": ["0/00"], "identity": "\ud800"}, 422, ""),
        ("merge", {"identities": ["nobody"], "into": "x"}, 404, "'nobody'"),
        ("merge", {"identities": [], "into": "x"}, 422, "at least 1"),
        ("split", {"crop_ids": ["0/00"]}, 422, "has no identity"),
        ("split", {"crop_ids": ["1/00"], "into": "anna"}, 422, "already has the identity 'anna'"),
        ("split", {"crop_ids": ["lost"]}, 404, "'lost'"),
        ("label", {"crop_ids": ["0/00"], "identity": "x", "who": 1}, 422, "who"),
    ],
)
def test_an_impossible_correction_changes_nothing(service, what, body, status, words):
    gallery = "refused"
    if gallery not in {stats.name for stats in service.parts.store.stats()}:
        fill(service, gallery, p1_0="anna")
    before = names(service, gallery)
    answer = service.http.post(
        f"/galleries/{gallery}/identities/{what}",
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    assert names(service, gallery) == before


@pytest.mark.parametrize(
    "body", [{"eps": 0}, {"eps": 1}, {"min_samples": 0}, {"min_score": 2}, {"k": 3}]
)
def test_a_clustering_out_of_range_is_refused(service, body):
    answer = service.http.post("/galleries/default/cluster", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("path", ["identities", "cluster", "identities/label"])
def test_an_unknown_gallery(service, path):
    url = f"/galleries/nowhere/{path}"
    if path == "identities":
        answer = service.http.get(url)
    else:
        answer = service.http.post(
            url, json={"crop_ids": ["a"], "identity": "b"} if "/" in path else {}
        )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_broken_cursor_is_refused(service):
    answer = service.http.get("/galleries/default/identities", params={"cursor": "made-up"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


STRANGER = solid((230, 30, 230), kind="PNG")


def joining(service: Any, name: str, *, join: bool = True) -> str:
    """A gallery with one red and one green person, grouped by a clustering."""
    service.create(name)
    gallery = service.parts.store.open(name)
    for identity, colour in {"person-0001": RED, "person-0002": GREEN}.items():
        assert service.put(name, identity, solid(colour, kind="PNG")).status_code == 201
        gallery.relabel({identity: identity}, "cluster")
    gallery.configure(GalleryOptions(join=join))
    return name


RED, GREEN = (200, 20, 20), (20, 200, 20)


def test_a_new_crop_joins_the_nearest_group_if_the_gallery_is_set_to_join(service):
    gallery = joining(service, "joining")
    reddish = solid((200, 20, 60), kind="PNG")
    crop = service.put(gallery, "new", reddish).json()
    assert (crop["identity"], crop["origin"]) == ("person-0001", "join")
    assert service.put(gallery, "stranger", STRANGER).json()["identity"] is None
    named = service.put(gallery, "named", reddish, identity="anna").json()
    assert (named["identity"], named["origin"]) == ("anna", "given")
    apart = joining(service, "not-joining", join=False)
    assert service.put(apart, "new", reddish).json()["identity"] is None


def test_a_crop_that_resembles_two_people_joins_neither(service):
    gallery = joining(service, "two-people")
    between = encode(np.vstack([np.full((32, 32, 3), c, np.uint8) for c in (RED, GREEN)]))
    opened = service.parts.store.open(gallery)
    row = FakeEmbedder().embed(np.asarray(Image.open(BytesIO(between)))[None])
    scores = (opened.embeddings(["person-0001", "person-0002"]) @ row.T).ravel()
    assert (scores > TINY_CALIBRATION.threshold).all()  # both are near enough
    assert service.put(gallery, "between", between).json()["identity"] is None


def test_many_crops_of_one_person_do_not_hide_the_next_person():
    rule = JoinRule(threshold=0.5, lead=0.1)
    anna = [Hit(Crop(f"a{i}", "anna"), 0.9 - 0.0001 * i) for i in range(50)]
    ben = Hit(Crop("b", "ben"), 0.85)
    assert rule.choose(anna) == "anna"
    assert rule.is_open(anna)  # so more crops are compared
    assert rule.choose([*anna, ben]) is None
    assert not rule.is_open([*anna, ben])
    far = [*anna, Hit(Crop("z", "anna"), 0.7)]
    assert not rule.is_open(far)
    assert rule.choose([Hit(Crop("x", "anna"), 0.49)]) is None
    assert rule.choose([]) is None


def test_a_crop_is_compared_with_the_next_person_however_many_crops_the_first_has(service):
    gallery = joining(service, "deep-joining")
    opened = service.parts.store.open(gallery)
    (row,) = opened.embeddings(["person-0001"])
    near = units(row + 0.001 * np.random.default_rng(0).normal(size=(101, 32)))
    opened.upsert([Crop(f"many-{i}", "anna") for i in range(100)] + [Crop("rival", "ben")], near)
    opened.delete(Filter(crop_ids=frozenset({"person-0001"})))
    red = solid(RED, kind="PNG")
    assert service.put(gallery, "new", red).json()["identity"] is None
    opened.delete(Filter(crop_ids=frozenset({"rival"})))
    assert service.put(gallery, "new", red).json()["identity"] == "anna"


def test_a_crop_does_not_vouch_for_itself(service):
    gallery = joining(service, "vouching")
    service.put(gallery, "me", STRANGER, identity="me")
    other = solid((228, 30, 228), kind="PNG")
    assert service.put(gallery, "me", other).json()["identity"] is None


def test_a_batch_reports_the_identity_each_crop_joined_like_put(service):
    gallery = joining(service, "batch-told")
    reddish = solid((200, 20, 60), kind="PNG")
    entries = [
        {"crop_id": "joined"},
        {"crop_id": "named", "identity": "anna"},
        {"crop_id": "stranger"},
        {"crop_id": "bad", "identity": "ben"},
    ]
    images = (reddish, reddish, STRANGER, b"no picture")
    results = service.add(gallery, entries, *images).json()["results"]
    told = {entry["crop_id"]: (entry["identity"], entry["origin"]) for entry in results}
    assert told == {
        "joined": ("person-0001", "join"),
        "named": ("anna", "given"),
        "stranger": (None, "given"),
        "bad": (None, None),
    }
    for crop_id, picture in (("joined", reddish), ("stranger", STRANGER)):
        put = service.put(gallery, crop_id, picture).json()
        assert (put["identity"], put["origin"]) == told[crop_id]


def test_each_crop_of_a_batch_joins_its_own_group(service):
    gallery = joining(service, "batch-joining")
    entries = [{"crop_id": "a"}, {"crop_id": "b"}, {"crop_id": "c", "identity": "carl"}]
    pictures = [solid(colour, kind="PNG") for colour in ((20, 200, 50), (210, 20, 20), (9, 9, 9))]
    assert service.add(gallery, entries, *pictures).status_code == 200
    who = names(service, gallery)
    assert (who["a"], who["b"], who["c"]) == ("person-0002", "person-0001", "carl")


def test_a_correction_survives_the_same_picture_but_not_another_one(service):
    gallery = service.create("sent-again")
    picture = solid((10, 20, 30), kind="PNG")
    service.put(gallery, "a", picture, identity="ben")
    act(service, gallery, "label", crop_ids=["a"], identity="anna")
    again = service.put(gallery, "a", picture, identity="ben").json()
    assert (again["identity"], again["origin"]) == ("anna", "hand")
    other = service.put(gallery, "a", STRANGER, identity="ben").json()
    assert (other["identity"], other["origin"]) == ("ben", "given")


def test_a_group_survives_the_same_picture_unless_it_comes_with_an_identity(service):
    gallery = joining(service, "group-again", join=False)
    red = solid(RED, kind="PNG")
    again = service.put(gallery, "person-0001", red, camera="c7").json()
    assert (again["identity"], again["origin"], again["camera"]) == ("person-0001", "cluster", "c7")
    named = service.put(gallery, "person-0001", red, identity="anna").json()
    assert (named["identity"], named["origin"]) == ("anna", "given")


def test_the_audit_log_records_corrections_and_searches(start):
    picture = solid(RED, kind="PNG")
    with start() as own:
        own.put("default", "a", picture)
        own.put("default", "b", STRANGER)
        act(own, "default", "label", crop_ids=["a", "b"], identity="anna")
        own.search(gallery="default", crop_ids=["a", "lost"], min_score=-1)
        listing(own, "default")
        entries = own.http.get("/audit").json()["entries"]
    told = {entry["route"].rpartition("/")[2]: entry for entry in entries}
    assert told["label"]["crops"] == told["identities"]["crops"] == 2
    assert told["search"]["queries"] == [hashlib.sha256(picture).hexdigest()]
