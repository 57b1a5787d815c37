"""How sure a watch must be, by tracks that are known to show two people."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.alerts.false_alerts import Question, Strangers, estimate, strangers_in
from service.gallery.base import Filter
from service.gallery.tracks import Span

START = 1_795_284_000.0


def question(people: int = 1, rate: float = 0.01, *apart: str) -> Question:
    return Question(people, rate, frozenset(apart), Filter())


def strangers(scores) -> Strangers:
    """All pairs of as many tracks as give these scores."""
    count = math.ceil((1 + math.sqrt(1 + 8 * len(scores))) / 2)
    pairs = np.array([(a, b) for b in range(count) for a in range(b)][: len(scores)])
    tracks = [Span("c1", str(number), START, START + 1) for number in range(count)]
    return Strangers(tracks, pairs, np.asarray(scores))


@pytest.mark.parametrize(("people", "rate"), [(1, 0.2), (1, 0.01), (20, 0.05), (500, 0.001)])
def test_the_score_of_known_tails_is_found(people, rate):
    """Scores above 0.2 are exponential with a mean of 0.03."""
    count = 7 * 2000 + 1
    scores = 0.2 - 0.03 * np.log((np.arange(count) + 0.5) / count)
    found = estimate(strangers(scores), question(people, rate))
    assert found is not None
    share = 1 - (1 - rate) ** (1 / people)
    assert found.score == pytest.approx(min(1.0, 0.2 - 0.03 * math.log(share)), abs=0.01)
    assert found.low <= found.score <= found.high


def test_a_resampled_tail_may_lose_its_pairs():
    """One pair of tracks has all the high scores; many samples leave one of the two out."""
    tracks = [Span("c1", str(number), START, START + 1) for number in range(30)]
    pairs = np.array([(a, b) for b in range(30) for a in range(b)])
    scores = np.where(pairs[:, 0] + pairs[:, 1] == 1, 0.9, 0.1)
    found = estimate(Strangers(tracks, pairs, scores), question(1, 0.01))
    assert found is not None
    assert 0.1 <= found.low <= found.high <= 1.0


def test_too_few_pairs_give_no_score():
    assert estimate(strangers(np.linspace(0, 0.5, 299)), question()) is None
    assert estimate(strangers([]), question()) is None


@pytest.fixture
def hall(service):
    """A gallery with 30 people at one time on each of two cameras, a crop each."""
    name = service.create("hall")
    dimension = service.parts.store.open(name).dimension
    rows = np.random.default_rng(1).normal(size=(60, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    entries = [
        {
            "crop_id": f"{camera}/{number}",
            "camera": camera,
            "track": str(number),
            "timestamp": START + number / 100,
            "embedding": rows[30 * place + number].tolist(),
        }
        for place, camera in enumerate(("c1", "c2"))
        for number in range(30)
    ]
    # Everybody stays for a second, so that all tracks of a camera overlap.
    entries += [
        one | {"crop_id": f"{one['crop_id']}/later", "timestamp": START + 1} for one in entries
    ]
    for part in (entries[:60], entries[60:]):
        answer = service.http.post(f"/galleries/{name}/crops", json={"crops": part})
        assert answer.status_code == 200, answer.text
    yield name
    service.http.delete(f"/galleries/{name}")


def test_people_in_one_view_are_two_and_so_are_those_far_apart(service, hall):
    gallery = service.parts.store.open(hall)
    near, far = (strangers_in(gallery, question(1, 0.1, *apart)) for apart in ((), ("c1", "c2")))
    assert (len(near.tracks), len(near.scores)) == (60, 2 * 30 * 29 // 2)
    assert len(far.scores) == 60 * 59 // 2
    for one, other in near.pairs.tolist():
        assert near.tracks[one].camera == near.tracks[other].camera
    one, other = (near.tracks[place] for place in near.pairs[0])
    ids = [f"{span.camera}/{span.track}" for span in (one, other)]
    left, right = gallery.embeddings(ids)
    assert near.scores[0] == pytest.approx(float(left @ right), abs=1e-6)


def test_the_route_answers_the_score_the_pace_and_what_is_missing(service, hall):
    ask = f"/galleries/{hall}/false-alerts"
    told = service.http.get(ask, params={"people": 5, "per_thousand": 10}).json()
    assert (told["tracks"], told["pairs"], told["detail"]) == (60, 870, None)
    assert told["low"] <= told["min_score"] <= told["high"] <= 1.0
    assert told["alerts_per_day"] == pytest.approx(told["tracks_per_day"] * 0.01)
    far = service.http.get(ask, params={"apart": ["c1", "c2"]}).json()
    assert far["pairs"] == 60 * 59 // 2
    strict = service.http.get(ask, params={"people": 50, "per_thousand": 1}).json()
    assert strict["min_score"] > told["min_score"]
    few = service.http.get(ask, params={"cameras": "c1", "until": "2020-01-01T00:00:00Z"}).json()
    assert (few["tracks"], few["min_score"], few["tracks_per_day"]) == (0, None, None)
    assert "needs 300" in few["detail"]
    for wrong in ({"per_thousand": 0}, {"per_thousand": 1000}, {"people": 0}, {"peple": 1}):
        assert service.http.get(ask, params=wrong).status_code == 422
    assert service.http.get("/galleries/nowhere/false-alerts").status_code == 404
