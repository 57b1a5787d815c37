"""Rules of request bodies that belong to the API itself, whatever carries them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.api.filters import CropFilter, SearchFilter
from service.api.identities import ClusterBody
from service.api.imports import ImportBody, zones_of
from service.errors import InvalidInput
from service.gallery.base import Filter
from service.gallery.filter_fields import filter_of, filter_time_warnings
from service.values.cluster_rule import ClusterRule


def test_zones_of_cameras_are_read_from_texts():
    assert zones_of([]) == {}
    given = ["gate=Europe/Berlin", "a=b=+01:00", " pier =Z"]
    assert zones_of(given) == {"gate": "Europe/Berlin", "a=b": "+01:00", "pier": "Z"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["gate"], "write CAMERA=ZONE"),
        (["=Europe/Berlin"], "write CAMERA=ZONE"),
        (["gate=UTC", "gate=Z"], "camera 'gate' has two zones"),
        (["gate=Berlin"], "Europe/Berlin"),
        (["g\u200bate=UTC"], "U\\+200B"),
    ],
)
def test_a_zone_of_a_camera_that_breaks_a_rule_is_named(given, reason):
    with pytest.raises(InvalidInput, match=reason):
        zones_of(given)


def test_an_import_of_a_folder_has_one_way_to_read_names():
    assert ImportBody(folder="a", layout="mars").layout == "mars"
    with pytest.raises(ValidationError, match="give only one of pattern and layout"):
        ImportBody(folder="a", pattern="x", layout="mars")
    with pytest.raises(ValidationError, match="camera 'gate' has two zones"):
        ImportBody(folder="a", zones={"gate": "UTC", " gate": "Z"})


def test_a_filter_means_the_same_in_every_request():
    fields = {"cameras": ["c1"], "not_camera": "c2", "has_identity": True, "since": 1.7e9}
    wanted = Filter(cameras=frozenset({"c1"}), not_camera="c2", has_identity=True, since=1.7e9)
    assert filter_of(CropFilter(**fields)) == wanted
    assert filter_of(SearchFilter(**fields)) == wanted
    assert filter_of(ClusterBody(**fields)) == wanted


def test_only_the_field_of_its_own_request_names_the_crops_that_may_pass():
    only = Filter(crop_ids=frozenset({"a"}))
    assert filter_of(CropFilter(crop_ids=["a"])) == only
    assert filter_of(SearchFilter(among=["a"])) == only
    with pytest.raises(ValidationError):
        SearchFilter(crop_ids=["a"])  # what to search for is another field of the form


def test_a_time_without_a_zone_is_warned_about():
    fields = CropFilter(since="2026-11-21T08:30", until="2026-11-21T09:30Z")
    assert [(one.code, one.field) for one in filter_time_warnings(fields)] == [
        ("assumed_utc", "since")
    ]
    assert not filter_time_warnings(CropFilter(since="2026-11-21T08:30", zone="+01:00"))


def test_a_clustering_defaults_to_the_measured_rule():
    body, rule = ClusterBody(), ClusterRule()
    assert body.eps == rule.eps
    assert body.min_samples == rule.min_samples
    assert body.standardise == rule.standardise
