"""No clustering undoes corrections by people, in whatever order they are made."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput, NotFound
from service.gallery.base import Crop, Filter
from service.gallery.disk.store import DiskGalleryStore
from service.identities.clustering import ClusterRule, group_crops
from service.identities.corrections import Corrections, known_identities

PEOPLE, CROPS = 6, 6
EVERYTHING = Filter()
NUMBERS = itertools.count()


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = DiskGalleryStore(tmp_path_factory.mktemp("corrections"), device="cpu")
    yield opened
    opened.close()


def filled(store, identities: dict[int, str] | None = None):
    """Six people who are hard to tell apart, so that clusterings make mistakes."""
    rng = np.random.default_rng(2)
    gallery = store.create(f"g{next(NUMBERS)}", "0" * 64, 16)
    rows = np.repeat(rng.normal(size=(PEOPLE, 16)), CROPS, axis=0)
    rows = units(rows + 0.9 * rng.normal(size=rows.shape))
    given = identities or {}
    crops = [Crop(f"{i:02d}", given.get(i), f"c{i % 2}") for i in range(len(rows))]
    gallery.upsert(crops, rows)
    return gallery


def cluster(gallery, corrections: Corrections, eps: float = 0.6) -> int:
    crops = gallery.crops(EVERYTHING)
    rows = gallery.embeddings([crop.crop_id for crop in crops])
    rule = ClusterRule(eps=eps, k1=6, k2=2)
    grouped = group_crops(crops, rows, rule, known_identities(gallery))
    return corrections.regroup(gallery, grouped.labels)


def who(gallery) -> dict[str, str | None]:
    return {crop.crop_id: crop.identity for crop in gallery.crops(EVERYTHING)}


picks = st.lists(st.integers(0, PEOPLE * CROPS - 1), min_size=1, max_size=5, unique=True)
steps = st.one_of(
    st.tuples(st.just("label"), picks, st.sampled_from(["anna", "ben", "person-0001", None])),
    st.tuples(st.just("merge"), picks, st.sampled_from(["anna", "carl", "person-0002"])),
    st.tuples(st.just("split"), picks, st.sampled_from([None, "dora"])),
    st.tuples(st.just("cluster"), st.sampled_from([0.3, 0.5, 0.7, 0.9]), st.none()),
)


def correct(gallery, corrections: Corrections, step) -> set[str]:
    """Do one step; return the crops that it settled."""
    what, part, name = step
    before = who(gallery)
    if what == "cluster":
        cluster(gallery, corrections, part)
        return set()
    ids = [f"{i:02d}" for i in part]
    named = sorted({before[crop_id] for crop_id in ids} - {None})
    match what:
        case "label":
            corrections.label(gallery, ids, name)
            return set(ids)
        case "merge" if named:
            corrections.merge(gallery, named, name)
            return {crop for crop, identity in before.items() if identity in {*named, name}}
        case "split" if None not in {before[i] for i in ids} and name not in named:
            corrections.split(gallery, ids, name)
            return {crop for crop, identity in before.items() if identity in named}
    return set()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=st.lists(steps, min_size=1, max_size=8))
def test_no_clustering_undoes_corrections(store, plan):
    gallery, corrections = filled(store, {0: "anna", 7: "ben"}), Corrections()
    decided = {"00", "07"}
    for step in plan:
        before = who(gallery)
        decided |= correct(gallery, corrections, step)
        after = who(gallery)
        if step[0] == "cluster":
            assert {crop: after[crop] for crop in decided} == {
                crop: before[crop] for crop in decided
            }
        origins = {crop.crop_id: crop.origin for crop in gallery.crops(EVERYTHING)}
        assert {crop for crop, origin in origins.items() if origin == "hand"} <= decided
    said = {crop: after[crop] for crop in decided}
    for eps in (0.3, 0.6, 0.95):
        cluster(gallery, corrections, eps)
        assert {crop: who(gallery)[crop] for crop in decided} == said
    assert cluster(gallery, corrections, 0.95) == 0  # settled crops do not change


def test_corrections_are_on_disk(tmp_path: Path):
    store = DiskGalleryStore(tmp_path, device="cpu")
    gallery, corrections = filled(store), Corrections()
    cluster(gallery, corrections)
    corrections.label(gallery, ["00"], "anna")
    name, before = gallery.name, gallery.crops(EVERYTHING)
    store.close()
    again = DiskGalleryStore(tmp_path, device="cpu")
    after = again.open(name).crops(EVERYTHING)
    again.close()
    assert [(crop, crop.origin) for crop in after] == [(crop, crop.origin) for crop in before]


def test_a_refused_split_changes_nothing(store):
    gallery, corrections = filled(store, {0: "anna", 1: "anna"}), Corrections()
    before = who(gallery)
    with pytest.raises(InvalidInput, match="no identity"):
        corrections.split(gallery, ["00", "02"], "dora")
    with pytest.raises(NotFound, match="'lost'"):
        corrections.split(gallery, ["00", "lost"], "dora")
    assert who(gallery) == before
