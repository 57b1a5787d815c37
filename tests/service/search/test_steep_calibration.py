"""A search works with any slope of the calibration that a number can express."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from service.gallery.base import Crop, Hit
from service.ingest.joining import JoinRule
from service.testing import TINY_CALIBRATION, TINY_MANIFEST, FakeEmbedder, solid

HUGE = sys.float_info.max
RED, GREEN = solid((200, 20, 20), kind="PNG"), solid((20, 200, 20), kind="PNG")


def calibrated(slope, intercept):
    return TINY_CALIBRATION.model_copy(update={"slope": slope, "intercept": intercept})


@pytest.mark.parametrize("slope", [5e-324, 1e-3, 12.0, 1e4, 1e308, HUGE])
@pytest.mark.parametrize("intercept", [-HUGE, -1e308, -1e4, -6.0, 0.0, 1e4, HUGE])
@pytest.mark.parametrize("kind", [float, np.float32])
def test_every_score_has_a_probability(slope, intercept, kind):
    calibration = calibrated(slope, intercept)
    scores = [-1.0000001, -1.0, -0.5, 0.0, 1e-30, 0.5, 1.0, 1.0000001]
    found = [calibration.probability(kind(score)) for score in scores]
    assert all(0.0 <= one <= 1.0 for one in found)
    assert found == sorted(found)


def test_ordinary_probabilities_are_what_the_formula_says():
    for score in np.linspace(-1.0, 1.0, 41):
        expected = 1.0 / (1.0 + math.exp(-(12.0 * score - 6.0)))
        assert TINY_CALIBRATION.probability(score) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("slope", [5e-324, 1e308, HUGE])
def test_the_join_rule_works_with_any_slope(slope):
    rule = JoinRule.of(calibrated(slope, 0.0))
    hits = [Hit(Crop("a", "ann"), 0.9), Hit(Crop("b", "ben"), 0.6)]
    assert rule.choose(hits) == ("ann" if slope > 1 else None)
    assert rule.is_open(hits[:1]) in {True, False}


@pytest.mark.parametrize(("slope", "intercept"), [(1e308, -HUGE), (HUGE, HUGE), (2000.0, -1000.0)])
def test_a_search_and_a_joining_gallery_answer(start, slope, intercept):
    manifest = TINY_MANIFEST.model_copy(update={"calibration": calibrated(slope, intercept)})
    with start(FakeEmbedder(manifest)) as service:
        service.http.post("/galleries", json={"name": "steep", "join": True})
        assert service.put("steep", "a", RED, identity="ann").status_code == 201
        assert service.put("steep", "b", GREEN).status_code == 201
        answer = service.search(("q.png", GREEN), gallery="steep", min_score=-1)
        assert answer.status_code == 200, answer.text
        matches = answer.json()["results"][0]["matches"]
        assert len(matches) == 2
        assert all(0.0 <= match["probability"] <= 1.0 for match in matches)
