"""A calibration that was fitted without labels gives a threshold and no probability."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.ingest.joining import JoinRule
from service.testing import TINY_CALIBRATION, TINY_MANIFEST, FakeEmbedder, solid
from service.values.accuracy import Calibration

NOTHING = {"slope": None, "intercept": None, "true_match_rate": None, "genuine_pairs": 0}
UNLABELLED = Calibration(**TINY_CALIBRATION.model_dump() | NOTHING)
RED, GREEN = solid((200, 20, 20), kind="PNG"), solid((20, 200, 20), kind="PNG")


@pytest.mark.parametrize("left", NOTHING)
def test_either_all_of_them_are_known_or_none(left):
    some = {name: value for name, value in NOTHING.items() if name != left}
    with pytest.raises(ValidationError, match="genuine_pairs"):
        Calibration.model_validate(TINY_CALIBRATION.model_dump() | some)


def test_there_is_no_probability_and_no_rule_to_join():
    assert UNLABELLED.probability(0.9) is None
    assert JoinRule.of(UNLABELLED) is None
    assert JoinRule.of(None) is None
    assert JoinRule.of(TINY_CALIBRATION) is not None


def test_a_search_applies_the_threshold_and_nothing_joins(start):
    manifest = TINY_MANIFEST.model_copy(update={"calibration": UNLABELLED})
    with start(FakeEmbedder(manifest)) as service:
        service.http.post("/galleries", json={"name": "new", "join": True})
        assert service.put("new", "a", RED, identity="ann").status_code == 201
        assert service.put("new", "b", RED).status_code == 201
        answer = service.search(("q.png", RED), gallery="new").json()
        assert answer["min_score"] == UNLABELLED.threshold
        matches = answer["results"][0]["matches"]
        assert {match["identity"] for match in matches} == {"ann", None}
        assert all(match["probability"] is None for match in matches)
        told = service.http.get("/info").json()["model"]["calibration"]
        assert (told["slope"], told["genuine_pairs"]) == (None, 0)
