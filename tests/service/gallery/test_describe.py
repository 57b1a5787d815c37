"""A crop's metadata can change while its embedding and its picture stay."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from service.errors import InvalidInput, NotFound
from service.gallery.base import Crop, Filter

MODEL = "a" * 64
EVERYTHING = Filter()


@pytest.fixture(params=["local", "milvus"])
def backend(request):
    """These tests run with every kind of gallery."""
    return request.param


def picture(name):
    return f"picture of {name} ".encode() * 50


def digest(name):
    return hashlib.sha256(picture(name)).hexdigest()


def crops_of(names):
    return [Crop(name, f"p-{name}", "c1", 10.0, digest(name), added=5.0) for name in names]


def listed(gallery):
    return {crop.crop_id: crop for crop in gallery.crops(EVERYTHING)}


def known(crop):
    """All fields, including those that are ignored when crops are compared."""
    return crop, crop.origin, crop.added


def test_every_field_changes_and_the_embedding_stays(store, reopen, draw):
    gallery = store.create("g", MODEL, 8)
    gallery.upsert(crops_of("abc"), draw(3))
    before = gallery.embeddings(["a", "b", "c"])
    changed = Crop("a", "eve", "c9", 99.0, digest("a"), "hand", added=7.0)
    bare = Crop("b", digest=digest("b"), added=6.0)
    assert gallery.describe([changed, bare, *crops_of("c")]) == 2
    for again in (False, True):
        gallery = reopen().open("g") if again else gallery
        crops = listed(gallery)
        assert known(crops["a"]) == known(changed)
        assert known(crops["b"]) == known(bare)
        assert known(crops["c"]) == known(crops_of("c")[0])
        assert known(gallery.get("a")) == known(changed)
        np.testing.assert_array_equal(gallery.embeddings(["a", "b", "c"]), before)
        for where, expected in (
            (Filter(cameras=frozenset({"c9"})), ["a"]),
            (Filter(identities=frozenset({"eve"})), ["a"]),
            (Filter(since=50.0), ["a"]),
            (Filter(has_identity=False), ["b"]),
            (Filter(expired_before=6.5), ["b"]),
        ):
            assert [crop.crop_id for crop in gallery.crops(where)] == expected
            hits = gallery.query(before[:1], 9, where)[0]
            assert [hit.crop.crop_id for hit in hits] == expected
    assert gallery.describe([changed]) == 0


def test_fields_not_given_stay_and_another_picture_is_ignored(store, draw):
    gallery = store.create("g", MODEL, 8)
    gallery.upsert(crops_of("ab"), draw(2))
    assert gallery.describe([Crop("a", "eve"), Crop("gone", "eve")]) == 1
    assert known(gallery.get("a")) == known(Crop("a", "eve", digest=digest("a"), added=5.0))
    assert gallery.describe([Crop("b", "eve", digest=digest("other"))]) == 0
    assert gallery.get("b").identity == "p-b"
    assert gallery.describe([Crop("b", "one"), Crop("b", "two")]) == 1
    assert gallery.get("b").identity == "two"
    assert gallery.describe([]) == 0


def test_a_bad_field_changes_nothing(store, draw):
    gallery = store.create("g", MODEL, 8)
    gallery.upsert(crops_of("ab"), draw(2))
    before = listed(gallery)
    with pytest.raises(InvalidInput, match="identity"):
        gallery.describe([Crop("a", "fine"), Crop("b", "")])
    assert listed(gallery) == before


def test_many_crops_are_described_at_once(store, draw):
    gallery = store.create("g", MODEL, 8)
    names = [f"{number:05d}" for number in range(3000)]
    gallery.upsert(crops_of(names), draw(3000))
    assert gallery.describe([replace(crop, camera="c2") for crop in crops_of(names)]) == 3000
    assert gallery.stats().cameras == {"c2": 3000}


def test_describing_takes_the_gallerys_lock(store, draw):
    """A thread that reads, decides and writes inside the lock is alone with the gallery."""
    gallery = store.create("g", MODEL, 8)
    gallery.upsert(crops_of("a"), draw(1))
    with store.changing("g") as held, held.changing():
        assert held.describe([Crop("a", "eve")]) == 1
    with pytest.raises(NotFound), store.changing("nowhere"):
        pass
