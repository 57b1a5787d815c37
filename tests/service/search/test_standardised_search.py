"""``standardise`` of ``POST /search``: its ranking, and what it leaves unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from service.gallery.base import Crop
from service.gallery.standardising.running import MIN_CROPS
from service.search.kreciprocal import rerank
from service.testing import TINY_CALIBRATION, FakeEmbedder, encode

TINT = {"red": (70, 0, -50), "blue": (-60, -10, 60), "green": (-40, 60, -40)}
LONELY = "lonely"  # a crop without a camera


def picture(person, camera, shot=0):
    """A crop of certain colours; each camera adds its own tint."""
    clothes = np.random.default_rng(person).integers(75, 181, (4, 2, 3))
    noise = np.random.default_rng((person, shot, len(camera))).normal(0, 12, (4, 2, 3))
    cells = np.clip(clothes + noise + TINT[camera], 0, 255).astype(np.uint8)
    return encode(np.kron(cells, np.ones((16, 16, 1), np.uint8)))


def embed(data):
    from service.embedding.imaging import decode

    manifest = FakeEmbedder().manifest
    pixels = decode(data, manifest.input_height, manifest.input_width)
    return FakeEmbedder().embed(pixels[None])[0]


class Gallery:
    """The content of the service, and every answer computed directly."""

    def __init__(self, service):
        self.service = service
        self.crops = [
            Crop(f"{camera}/{person:03d}", f"p{person}", camera)
            for camera in ("red", "blue")
            for person in range(MIN_CROPS)
        ]
        self.crops += [Crop(f"green/{person:03d}", f"p{person}", "green") for person in range(9)]
        self.crops.append(Crop(LONELY, "p0"))
        pictures = [picture(int(c.identity[1:]), c.camera or "red", 1) for c in self.crops]
        entries = [
            {"crop_id": c.crop_id, "identity": c.identity, "camera": c.camera} for c in self.crops
        ]
        for start in range(0, len(entries), 64):
            part = slice(start, start + 64)
            assert service.add("default", entries[part], *pictures[part]).status_code == 200
        opened = service.parts.store.open("default")
        self.vectors = opened.embeddings([crop.crop_id for crop in self.crops])
        self.cameras = [crop.camera for crop in self.crops]
        # The last ten crops were too few to update the statistics of all crops.
        self.taken_from = 2 * MIN_CROPS

    @property
    def rows(self):
        pairs = zip(self.vectors, self.cameras, strict=True)
        return np.stack([self.standardise(*pair) for pair in pairs])

    def standardise(self, row, camera):
        """Statistics of the camera if it has enough crops, otherwise of all crops."""
        own = [other == camera for other in self.cameras]
        taken = self.vectors[own] if sum(own) >= MIN_CROPS else self.vectors[: self.taken_from]
        spread = (row - taken.mean(axis=0)) / taken.std(axis=0)
        return (spread / np.linalg.norm(spread)).astype(np.float32)

    def ranking(self, data, camera, among=lambda crop: True):
        """Crop ids by standardised cosine, and every plain cosine."""
        row = embed(data)
        scores = self.rows @ self.standardise(row, camera)
        order = [i for i in np.argsort(-scores, kind="stable") if among(self.crops[i])]
        names = [crop.crop_id for crop in self.crops]
        plain = dict(zip(names, self.vectors @ row, strict=True))
        return [self.crops[i].crop_id for i in order], plain

    def search(self, *images, **fields):
        fields = {"top_k": 20, "min_score": -1} | fields
        answer = self.service.search(*(("q.png", data) for data in images), **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]


@pytest.fixture(scope="module")
def gallery(launch, tmp_path_factory):
    """Two cameras with just enough crops, one with too few, and a crop without a camera."""
    with launch(tmp_path_factory.mktemp("data")) as service:
        yield Gallery(service)


def ids(entry):
    return [match["crop_id"] for match in entry["matches"]]


@pytest.mark.parametrize("camera", ["red", "blue", "green", None])
def test_matches_are_ranked_by_standardised_embeddings(gallery, camera):
    """A query without a camera, or from one with too few crops, uses the gallery's statistics."""
    query = picture(3, camera or "red")
    fields = {} if camera is None else {"camera": camera}
    (entry,) = gallery.search(query, **fields)
    expected, plain = gallery.ranking(query, camera)
    assert ids(entry) == expected[:20]
    for match in entry["matches"]:
        assert match["score"] == pytest.approx(plain[match["crop_id"]], abs=1e-5)
        assert match["probability"] == TINY_CALIBRATION.probability(match["score"])
    scores = [match["standardised_score"] for match in entry["matches"]]
    assert scores == sorted(scores, reverse=True)
    assert entry["nearest"]["score"] == pytest.approx(max(plain.values()), abs=1e-5)


def test_standardising_finds_a_person_on_the_other_camera_more_often(gallery):
    """Its purpose: the tint of a camera no longer decides who a person is."""
    images = [picture(person, "red") for person in range(40)]
    fields = {"camera": "red", "cameras": "blue", "top_k": 1}
    found = {}
    for standardise in (False, True):
        entries = gallery.search(*images, **fields, standardise=standardise)
        found[standardise] = sum(
            entry["matches"][0]["identity"] == f"p{person}" for person, entry in enumerate(entries)
        )
    assert found[True] > found[False] + 5


def test_standardising_can_be_disabled(gallery):
    query = picture(3, "red")
    (entry,) = gallery.search(query, camera="red", standardise=False)
    _, plain = gallery.ranking(query, "red")
    assert ids(entry) == sorted(plain, key=lambda crop_id: (-plain[crop_id], crop_id))[:20]
    assert all(match["standardised_score"] is None for match in entry["matches"])
    default = gallery.search(query, camera="red")
    assert default == gallery.search(query, camera="red", standardise=True)
    assert default != [entry]


@pytest.mark.parametrize("line", [0.3, 0.6, 0.9])
def test_the_threshold_applies_to_plain_cosines(gallery, line):
    """A crop that reaches the threshold is found, at any rank of the standardised ranking."""
    query = picture(3, "red")
    (entry,) = gallery.search(query, camera="red", min_score=line, top_k=1000)
    expected, plain = gallery.ranking(query, "red")
    assert ids(entry) == [crop_id for crop_id in expected if plain[crop_id] >= line]
    assert 0 < len(entry["matches"]) < len(expected)
    (few,) = gallery.search(query, camera="red", min_score=line, top_k=5)
    assert ids(few) == ids(entry)[:5]


def test_filters_do_not_change_the_statistics(gallery):
    query = picture(3, "red")
    (entry,) = gallery.search(query, camera="red", exclude_same_camera=True)
    expected, _ = gallery.ranking(query, "red", among=lambda crop: crop.camera != "red")
    assert ids(entry) == expected[:20]
    (entry,) = gallery.search(query, camera="red", cameras="green")
    expected, _ = gallery.ranking(query, "red", among=lambda crop: crop.camera == "green")
    assert ids(entry) == expected


def test_re_ranking_works_on_standardised_embeddings(gallery):
    query, line = picture(3, "red"), 0.5
    fields = {"camera": "red", "rerank": True, "rerank_top": 30, "top_k": 1000}
    (entry,) = gallery.search(query, **fields)
    expected, plain = gallery.ranking(query, "red")
    place = {crop.crop_id: index for index, crop in enumerate(gallery.crops)}
    head = gallery.rows[[place[crop_id] for crop_id in expected[:30]]]
    distances = rerank(gallery.standardise(embed(query), "red")[None], head)[0]
    order = [expected[index] for index in np.argsort(distances, kind="stable")]
    assert ids(entry) == order + expected[30:]
    (above,) = gallery.search(query, **fields, min_score=line)
    assert ids(above) == [crop_id for crop_id in ids(entry) if plain[crop_id] >= line]


def test_a_stored_crop_uses_its_own_camera_and_does_not_find_itself(gallery):
    (entry,) = gallery.search(crop_ids="blue/007", top_k=10)
    (other,) = gallery.search(picture(7, "blue", 1), camera="blue", top_k=11)
    assert ids(entry) == [crop_id for crop_id in ids(other) if crop_id != "blue/007"][:10]
    assert entry["nearest"]["score"] < 0.99999
    (reranked,) = gallery.search(crop_ids="blue/007", top_k=10, rerank=True)
    assert "blue/007" not in ids(reranked)


@pytest.mark.parametrize("rule", ["best", "mean", "top3"])
def test_identities_are_ranked_by_standardised_scores(gallery, rule):
    query = picture(3, "red")
    fields = {"camera": "red", "group_by": "identity", "identity_score": rule, "top_k": 8}
    (entry,) = gallery.search(query, **fields)
    scores = gallery.rows @ gallery.standardise(embed(query), "red")
    own = {}
    for crop, score in zip(gallery.crops, scores, strict=True):
        own.setdefault(crop.identity, []).append(score)
    width = {"best": 1, "mean": 1000, "top3": 3}[rule]
    order = sorted(own, key=lambda name: -np.mean(sorted(own[name], reverse=True)[:width]))
    assert [match["identity"] for match in entry["matches"]] == order[:8]


def test_images_get_the_same_answers_together_and_alone(gallery):
    images = [picture(person, "blue") for person in range(6)]
    together = gallery.search(*images, camera="blue")
    alone = [gallery.search(image, camera="blue")[0] for image in images]
    assert [entry["matches"] for entry in together] == [entry["matches"] for entry in alone]


def test_standardising_does_not_change_small_galleries(service, people):
    """None of its cameras has enough crops, so requesting it changes nothing."""
    image = ("q.png", picture(1, "red"))
    plain, asked, default = (
        service.search(image, gallery=people, camera="c1", min_score=-1, **fields).json()["results"]
        for fields in ({"standardise": False}, {"standardise": True}, {})
    )
    assert plain == asked == default
    assert plain[0]["matches"][0]["standardised_score"] is None


def test_a_restart_renews_the_statistics(start):
    query = picture(3, "red")
    with start() as service:
        gallery = Gallery(service)
        (before,) = gallery.search(query, camera="red", top_k=300)
        assert ids(before) == gallery.ranking(query, "red")[0]
    with start() as service:
        gallery.service, gallery.taken_from = service, len(gallery.crops)
        (after,) = gallery.search(query, camera="red", top_k=300)
        assert ids(after) == gallery.ranking(query, "red")[0]
