"""Stored crops as queries, tracklets, identity scores: compared with NumPy over a whole gallery."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gallery.base import Crop
from service.search.kreciprocal import rerank
from service.search.multi_shot import identity_score
from service.testing import TINY_CALIBRATION, solid

PICTURE = ("query.png", solid((200, 20, 30), kind="PNG"))
CROPS = 300

MORNING = 1_795_249_800.0  # 2026-11-21 08:30 UTC


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


class Crowd:
    """A gallery of 300 crops in which identities overlap, so that every rule ranks differently."""

    def __init__(self, service: Any) -> None:
        rng = np.random.default_rng(4)
        who = rng.integers(0, 40, CROPS)  # 0..29 are named, the others are not
        self.rows = unit(rng.normal(size=(40, 32))[who] + 1.2 * rng.normal(size=(CROPS, 32)))
        self.identity = [f"p{one:02d}" if one < 30 else None for one in who]
        self.camera = [f"c{one}" for one in rng.integers(0, 4, CROPS)]
        self.ids = [f"crop-{index:03d}" for index in range(CROPS)]
        self.service = service
        service.create("overlapping")
        self.gallery = service.parts.store.open("overlapping")
        self.gallery.upsert(
            [
                Crop(*fields, MORNING + index)
                for index, fields in enumerate(
                    zip(self.ids, self.identity, self.camera, strict=True)
                )
            ],
            self.rows,
        )

    def ask(self, *images: Any, **fields: Any) -> list[dict[str, Any]]:
        answer = self.service.search(*images, gallery="overlapping", **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    def scores(self, query: np.ndarray) -> np.ndarray:
        return self.rows.astype(np.float64) @ query.astype(np.float64)


@pytest.fixture(scope="module")
def crowd(service) -> Crowd:
    return Crowd(service)


def expected_crops(crowd: Crowd, query: np.ndarray, take: np.ndarray, least: float) -> list[str]:
    scores = crowd.scores(query)
    kept = [i for i in np.flatnonzero(take) if scores[i] >= least]
    return [crowd.ids[i] for i in sorted(kept, key=lambda i: (-scores[i], crowd.ids[i]))]


def expected_identities(
    crowd: Crowd, query: np.ndarray, take: np.ndarray, least: float, rule: str
) -> list[tuple[str, float, int]]:
    """Best crop, score and size of every identity whose best crop reaches the threshold."""
    scores = crowd.scores(query)
    groups: dict[str, list[int]] = {}
    for i in np.flatnonzero(take):
        groups.setdefault(crowd.identity[i] or crowd.ids[i], []).append(i)
    found = []
    for members in groups.values():
        ranked = sorted(members, key=lambda i: -scores[i])
        if scores[ranked[0]] < least:
            continue
        part = {"best": ranked[:1], "mean": ranked, "top3": ranked[:3]}[rule]
        size = sum(scores[i] >= least for i in members) if rule == "best" else len(members)
        found.append((crowd.ids[ranked[0]], float(np.mean(scores[part])), int(size)))
    return sorted(found, key=lambda entry: -entry[1])


def identities(entry: dict[str, Any]) -> list[tuple[str, float, int]]:
    return [
        (match["crop_id"], match["identity_score"], match["group_size"])
        for match in entry["matches"]
    ]


@pytest.mark.parametrize("rule", ["best", "mean", "top3"])
@pytest.mark.parametrize("least", [-1.0, 0.0, 0.35])
@pytest.mark.parametrize("top_k", [3, 1000])
def test_identities_are_ranked_by_all_of_their_crops(crowd, rule, least, top_k):
    take = np.ones(CROPS, bool)
    for index in (0, 17, 101):
        take[index] = False
        (entry,) = crowd.ask(
            crop_ids=crowd.ids[index],
            group_by="identity",
            identity_score=rule,
            min_score=least,
            top_k=top_k,
        )
        expected = expected_identities(crowd, crowd.rows[index], take, least, rule)[:top_k]
        found = identities(entry)
        assert [crop for crop, _, _ in found] == [crop for crop, _, _ in expected]
        if rule != "best" or top_k == 1000:  # best counts the crops found until top_k was reached
            assert [size for _, _, size in found] == [size for _, _, size in expected]
        assert [score for _, score, _ in found] == pytest.approx(
            [score for _, score, _ in expected], abs=1e-6
        )
        take[index] = True


@pytest.mark.parametrize("rule", ["mean", "top3"])
def test_only_crops_that_pass_the_filter_make_the_score(crowd, rule):
    index = 42
    take = np.array(
        [
            camera in {"c0", "c1", "c3"} and camera != crowd.camera[index] and i < 200
            for i, camera in enumerate(crowd.camera)
        ]
    )
    take[index] = False
    (entry,) = crowd.ask(
        crop_ids=crowd.ids[index],
        group_by="identity",
        identity_score=rule,
        min_score=-1,
        top_k=5,
        cameras=["c0", "c1", "c3"],
        until=MORNING + 200,
        exclude_same_camera=True,
    )
    expected = expected_identities(crowd, crowd.rows[index], take, -1.0, rule)[:5]
    assert [match["crop_id"] for match in entry["matches"]] == [crop for crop, _, _ in expected]
    assert [match["group_size"] for match in entry["matches"]] == [size for *_, size in expected]


def test_a_stored_crop_is_left_out_of_its_own_results(crowd):
    take = np.ones(CROPS, bool)
    take[7] = False
    (entry,) = crowd.ask(crop_ids=crowd.ids[7], top_k=1000, min_score=-1)
    assert (entry["images"], entry["crop_ids"]) == ([], [crowd.ids[7]])
    expected = expected_crops(crowd, crowd.rows[7], take, -1.0)
    assert [match["crop_id"] for match in entry["matches"]] == expected
    (short,) = crowd.ask(crop_ids=crowd.ids[7], top_k=4, min_score=-1)
    assert [match["crop_id"] for match in short["matches"]] == expected[:4]
    assert short["nearest"]["score"] == short["matches"][0]["score"]


def test_a_tracklet_of_stored_crops_is_one_query_and_finds_none_of_them(crowd):
    part = [3, 50, 120, 260]
    take = np.ones(CROPS, bool)
    take[part] = False
    ids = [crowd.ids[index] for index in part]
    (entry,) = crowd.ask(crop_ids=ids, combine=True, top_k=1000, min_score=-1)
    query = unit(crowd.rows[part].mean(axis=0))
    assert entry["crop_ids"] == ids
    assert [match["crop_id"] for match in entry["matches"]] == expected_crops(
        crowd, query, take, -1.0
    )


def test_a_tracklet_scores_identities_without_its_own_crops(crowd):
    part = [i for i, identity in enumerate(crowd.identity) if identity == "p03"][:3]
    take = np.ones(CROPS, bool)
    take[part] = False
    (entry,) = crowd.ask(
        crop_ids=[crowd.ids[i] for i in part],
        combine=True,
        group_by="identity",
        identity_score="mean",
        min_score=-1,
        top_k=4,
    )
    query = unit(crowd.rows[part].mean(axis=0))
    expected = expected_identities(crowd, query, take, -1.0, "mean")[:4]
    assert [crop for crop, _, _ in identities(entry)] == [crop for crop, _, _ in expected]


def test_re_ranking_excludes_the_query_and_orders_like_numpy(crowd):
    take = np.ones(CROPS, bool)
    take[11] = False
    near = expected_crops(crowd, crowd.rows[11], take, -1.0)
    (entry,) = crowd.ask(
        crop_ids=crowd.ids[11], rerank=True, rerank_top=60, top_k=1000, min_score=-1
    )
    head = [crowd.ids.index(crop) for crop in near[:60]]
    distances = rerank(crowd.rows[11:12], crowd.rows[head])[0]
    order = [near[i] for i in np.argsort(distances, kind="stable")]
    assert [match["crop_id"] for match in entry["matches"]] == order + near[60:]


@pytest.mark.parametrize("rule", ["best", "mean", "top3"])
def test_re_ranked_identities_are_ordered_by_the_same_rule_over_distances(crowd, rule):
    take = np.ones(CROPS, bool)
    take[11] = False
    near = expected_crops(crowd, crowd.rows[11], take, -1.0)
    head = [crowd.ids.index(crop) for crop in near[:60]]
    distances = dict(zip(head, rerank(crowd.rows[11:12], crowd.rows[head])[0], strict=True))
    scores = {
        crowd.identity[crowd.ids.index(crop)] or crop: score
        for crop, score, _ in expected_identities(crowd, crowd.rows[11], take, -1.0, rule)
    }
    groups: dict[str, list[float]] = {name: [] for name in scores}
    for i, distance in distances.items():
        groups[crowd.identity[i] or crowd.ids[i]].append(distance)
    part = {"best": 1, "mean": None, "top3": 3}[rule]
    reach = {name: np.mean(sorted(own)[:part]) if own else np.inf for name, own in groups.items()}
    expected = sorted(scores, key=lambda name: (reach[name], -scores[name]))
    (entry,) = crowd.ask(
        crop_ids=crowd.ids[11],
        rerank=True,
        rerank_top=60,
        group_by="identity",
        identity_score=rule,
        top_k=1000,
        min_score=-1,
    )
    assert [match["identity"] or match["crop_id"] for match in entry["matches"]] == expected
    found = [match["identity_score"] for match in entry["matches"]]
    assert found == pytest.approx([scores[name] for name in expected], abs=1e-6)


def test_the_probability_is_that_of_the_best_crop(crowd):
    (entry,) = crowd.ask(
        crop_ids=crowd.ids[5], group_by="identity", identity_score="mean", min_score=-1
    )
    for match in entry["matches"]:
        assert match["probability"] == pytest.approx(TINY_CALIBRATION.probability(match["score"]))
        assert match["identity_score"] <= match["score"]


def test_a_tracklet_has_no_probability(crowd):
    (entry,) = crowd.ask(crop_ids=crowd.ids[5:8], combine=True)
    assert entry["status"] == "matched"  # the threshold still applies
    assert {match["probability"] for match in entry["matches"]} == {None}
    assert entry["nearest"]["probability"] is None
    (alone,) = crowd.ask(crop_ids=crowd.ids[5], combine=True, min_score=-1)
    assert None not in {match["probability"] for match in alone["matches"]}


def test_images_and_crops_are_answered_in_their_order(crowd):
    first, second = crowd.ids[20], crowd.ids[21]
    results = crowd.ask(PICTURE, crop_ids=[second, "lost", first], top_k=1, min_score=-1)
    assert [entry["status"] for entry in results] == ["matched", "matched", "error", "matched"]
    assert [entry["crop_ids"] for entry in results] == [[], [second], ["lost"], [first]]
    assert results[2]["error"]["code"] == "not_found"
    alone = crowd.ask(crop_ids=first, top_k=1, min_score=-1)
    assert alone[0]["matches"] == results[3]["matches"]


def test_images_and_crops_make_one_tracklet(crowd):
    (embedded,) = crowd.service.http.post("/embed", files=[("images", PICTURE)]).json()["results"]
    row = np.array(embedded["embedding"], np.float32)
    (entry,) = crowd.ask(PICTURE, crop_ids=crowd.ids[30], combine=True, top_k=1000, min_score=-1)
    query = unit((row + crowd.rows[30]) / 2)
    take = np.ones(CROPS, bool)
    take[30] = False
    found = [match["score"] for match in entry["matches"]]
    assert found == pytest.approx(sorted(crowd.scores(query)[take], reverse=True), abs=1e-5)


def test_each_stored_crop_excludes_its_own_camera(crowd):
    results = crowd.ask(crop_ids=crowd.ids[:6], exclude_same_camera=True, top_k=1000, min_score=-1)
    for index, entry in enumerate(results):
        there = {match["camera"] for match in entry["matches"]}
        assert there == {"c0", "c1", "c2", "c3"} - {crowd.camera[index]}


def test_a_tracklet_of_two_cameras_cannot_exclude_its_camera(crowd):
    two = [0, next(i for i in range(CROPS) if crowd.camera[i] != crowd.camera[0])]
    answer = crowd.service.search(
        gallery="overlapping",
        crop_ids=[crowd.ids[i] for i in two],
        combine=True,
        exclude_same_camera=True,
    )
    assert answer.status_code == 422
    assert "of one camera" in answer.json()["detail"]


def test_a_stored_crop_without_camera_excludes_none(service, people):
    answer = service.search(gallery=people, crop_ids="nobody", exclude_same_camera=True)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert "has no camera" in answer.json()["detail"]
    told = service.search(
        gallery=people, crop_ids="nobody", exclude_same_camera=True, camera="c1", min_score=-1
    ).json()["results"][0]
    assert "c1" not in {match["camera"] for match in told["matches"]}


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({}, 422, "send images or crop_ids"),
        ({"crop_ids": "lost"}, 404, "'lost'"),
        ({"crop_ids": ["lost", "gone"]}, 422, "none of the 2 images and crops is usable"),
        ({"crop_ids": "a\nb"}, 422, "U+000A"),
        ({"crop_ids": [f"crop-{i:03d}" for i in range(65)]}, 413, "at most 64"),
        ({"crop_ids": "crop-001", "identity_score": "mean"}, 422, "needs group_by=identity"),
        (
            {"crop_ids": "crop-001", "group_by": "identity", "identity_score": "worst"},
            422,
            "'best', 'mean' or 'top3'",
        ),
    ],
)
def test_unusable_queries_are_rejected(crowd, fields, status, words):
    answer = crowd.service.search(gallery="overlapping", **fields)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


def test_the_same_crop_twice_is_two_queries(crowd):
    one, other = crowd.ask(crop_ids=[crowd.ids[9]] * 2, top_k=3, min_score=-1)
    assert one == other


@given(scores=st.lists(st.floats(-1, 1), min_size=1, max_size=9))
def test_rules_agree_with_their_definition(scores):
    assert identity_score(scores, "best") == max(scores)
    assert identity_score(scores, "mean") == pytest.approx(np.mean(scores), abs=1e-12)
    top3 = np.mean(sorted(scores)[-3:])
    assert identity_score(scores, "top3") == pytest.approx(top3, abs=1e-12)
    assert identity_score(scores, "mean") <= identity_score(scores, "top3") + 1e-12
