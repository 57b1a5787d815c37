"""Collections of older releases: when they are opened, their names and times are migrated."""

from __future__ import annotations

import numpy as np
import pytest

from service.errors import Unsupported
from service.gallery.base import Crop, Filter

pytest.importorskip("pymilvus", reason="pymilvus is not installed")

from pymilvus import MilvusException

from service.gallery.milvus.migration import RULES, TODAY

MODEL = "a" * 64
COMPOSED, DECOMPOSED = "Jos\u00e9", "Jose\u0301"
ADDED = 1_784_898_000.0

pytestmark = pytest.mark.slow


@pytest.fixture
def backend():
    """Milvus alone."""
    return "milvus"


def as_stored(crop_id, identity="", camera="", timestamp=None):
    return {
        "crop_id": crop_id,
        "identity": identity,
        "camera": camera,
        "timed": timestamp is not None,
        "timestamp": timestamp or 0.0,
        "digest": "d",
        "origin": "given",
        "added": ADDED,
        "track": "",
    }


@pytest.fixture
def old(store, draw):
    """Makes a collection of the previous release with these rows; returns its embeddings."""

    def make(*rows):
        gallery = store.create("g", MODEL, 8)
        vectors = draw(len(rows))
        client, (collection,) = store._client, store._client.list_collections()
        stored = [{**row, "embedding": vector} for row, vector in zip(rows, vectors, strict=True)]
        client.upsert(collection, stored)
        client.alter_collection_properties(collection, {RULES: "2"})
        del gallery
        return vectors

    return make


def properties(store):
    (collection,) = store._client.list_collections()
    return store._client.describe_collection(collection)["properties"]


def test_a_person_in_two_spellings_becomes_one(old, reopen):
    old(
        as_stored("1", COMPOSED, DECOMPOSED),
        as_stored("2", DECOMPOSED, COMPOSED),
        as_stored("3", "a\u202eb", "", 20261121.0),
        as_stored("4", "", "", 1_795_249_800_000.0),
        as_stored("5", "Ann", "c1", ADDED),
    )
    gallery = reopen().open("g")
    jose = Filter(identities=frozenset({COMPOSED}), cameras=frozenset({COMPOSED}))
    assert [crop.crop_id for crop in gallery.crops(jose)] == ["1", "2"]
    times = [crop.timestamp for crop in gallery.crops(Filter())]
    assert times == [None, None, 1_795_219_200.0, 1_795_249_800.0, ADDED]
    assert gallery.get("3").identity.endswith("-a_b")
    assert gallery.delete(jose).crops == 2


def test_every_crop_remains_addressable_with_its_embedding(old, reopen):
    ids = [DECOMPOSED, COMPOSED, f" {COMPOSED}", "..", "a/../b", "a//b", 'q"\\..', "plain"]
    vectors = old(*[as_stored(crop_id, f"p{place}") for place, crop_id in enumerate(ids)])
    gallery = reopen().open("g")
    crops = gallery.crops(Filter())
    assert sorted(crop.identity for crop in crops) == [f"p{place}" for place in range(len(ids))]
    for crop in crops:
        assert gallery.get(crop.crop_id) == crop
        (embedding,) = gallery.embeddings([crop.crop_id])
        np.testing.assert_allclose(embedding, vectors[int(crop.identity[1:])], atol=1e-6)
    names = {crop.identity: crop.crop_id for crop in crops}
    assert (names["p1"], names["p7"]) == (COMPOSED, "plain")
    assert gallery.delete(Filter(crop_ids=frozenset(names.values()))).crops == len(ids)


def test_it_happens_once(old, reopen, caplog):
    old(as_stored("1", DECOMPOSED))
    caplog.set_level("INFO")
    for _ in range(2):
        store = reopen()
        assert store.open("g").get("1").identity == COMPOSED
        assert properties(store)[RULES] == TODAY
    assert caplog.text.count("names or times of 1 crops were migrated") == 1


def test_a_new_gallery_needs_no_migration(store, draw):
    store.create("g", MODEL, 8).upsert([Crop("a")], draw(1))
    assert properties(store)[RULES] == TODAY


def test_a_collection_without_tracks_refuses_them_by_name(store, reopen, draw):
    store.create("new", MODEL, 8)
    (new,) = store._client.list_collections()
    fields = store._client.describe_collection(new)["fields"]
    schema = store._client.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in fields:
        if field["name"] != "track":
            keys = {"max_length", "dim"} & field["params"].keys()
            given = {key: int(field["params"][key]) for key in keys}
            primary = field["name"] == "crop_id"
            schema.add_field(field["name"], field["type"], is_primary=primary, **given)
    index = store._client.prepare_index_params()
    index.add_index("embedding", index_type="FLAT", metric_type="IP")
    old = new.replace("reid_new", "reid_old")
    store._client.create_collection(
        old, schema=schema, index_params=index, consistency_level="Strong"
    )
    gallery = reopen().open("old")
    assert gallery.upsert([Crop("a", camera="c1")], draw(1)) == 1
    with pytest.raises(Unsupported, match="crop 'b': track: its gallery was created in Milvus by"):
        gallery.upsert([Crop("b", track="7")], draw(1))
    seven = Filter(tracks=frozenset({"7"}))
    assert (gallery.count(seven), gallery.absent(seven).tracks) == (0, ("7",))
    assert gallery.get("a").track is None


def test_a_refusal_is_logged_and_leaves_the_gallery_usable(old, reopen, monkeypatch, caplog):
    old(as_stored("1", DECOMPOSED))
    store = reopen()

    def refuse(*_args, **_options):
        raise MilvusException(message="not today")

    monkeypatch.setattr(store._client, "upsert", refuse)
    assert store.open("g").get("1").identity == DECOMPOSED
    assert "names and times were not migrated: not today" in caplog.text
    assert reopen().open("g").get("1").identity == COMPOSED
