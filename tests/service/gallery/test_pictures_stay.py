"""A stored picture always matches its crop's digest, and is kept if an upsert omits it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from service.errors import NotFound
from service.gallery.base import Crop, Filter, GalleryOptions

MODEL, OTHER = "a" * 64, "b" * 64
EVERYTHING = Filter()


def picture(name):
    return f"picture of {name} ".encode() * 50


def crop(crop_id, shows=None, **known):
    """A crop with the digest of its picture."""
    return Crop(crop_id, digest=hashlib.sha256(picture(shows or crop_id)).hexdigest(), **known)


@pytest.fixture
def gallery(store, draw):
    opened = store.create("g", MODEL, 8, GalleryOptions(store_crops=True))
    opened.upsert([crop("a"), crop("b")], draw(2), [picture("a"), picture("b")])
    return opened


def assert_pictures_are_digests(gallery):
    """Check that every stored picture has its crop's SHA-256, and that the count is right."""
    stored = 0
    for one in gallery.crops(EVERYTHING):
        try:
            found = gallery.picture(one.crop_id)
        except NotFound:
            continue
        assert hashlib.sha256(found).hexdigest() == one.digest
        stored += 1
    assert gallery.stats().pictures == stored
    return stored


def test_an_upsert_without_pictures_keeps_those_of_the_same_file(gallery, reopen, draw):
    gallery.upsert([crop("a", identity="eve"), crop("b", shows="another")], draw(2, seed=1))
    for again in (False, True):
        gallery = reopen().open("g") if again else gallery
        assert gallery.picture("a") == picture("a")
        with pytest.raises(NotFound):
            gallery.picture("b")  # it belonged to another file
        assert assert_pictures_are_digests(gallery) == 1


def test_a_crop_without_a_digest_loses_its_picture(gallery, draw):
    gallery.upsert([Crop("a")], draw(1, seed=1))
    with pytest.raises(NotFound):
        gallery.picture("a")
    assert gallery.stats().pictures == 1


def test_pictures_of_new_and_replaced_crops_are_counted(gallery, reopen, draw):
    names = ["a", "b", "c"]
    gallery.upsert(
        [crop(name, shows=f"{name}2") for name in names],
        draw(3, seed=2),
        [picture(f"{name}2") for name in names],
    )
    assert assert_pictures_are_digests(gallery) == 3
    gallery.upsert([crop("c", shows="c3")], draw(1), None)
    gallery.delete(Filter(crop_ids=frozenset({"a"})))
    assert assert_pictures_are_digests(gallery) == 1
    assert assert_pictures_are_digests(reopen().open("g")) == 1


def test_metadata_changes_keep_pictures(gallery):
    gallery.describe([replace(crop("a"), camera="c7")])
    gallery.relabel({"a": "eve", "b": "adam"}, "cluster")
    assert assert_pictures_are_digests(gallery) == 2


def test_pictures_that_an_older_release_lost_are_restored_at_start(gallery, store, reopen, draw):
    other = store.begin_model("g", OTHER, 8)
    crops, pictures = [crop("a"), crop("b"), crop("c")], [picture(name) for name in "abc"]
    other.upsert(crops, draw(3), pictures)
    gallery.upsert([crop("a"), crop("b", shows="b2")], draw(2))
    with gallery.database._transaction() as writer:  # as labelling and switching used to do
        writer.execute("DELETE FROM pictures")
        writer.execute("UPDATE crops SET picture_key = NULL")
    again = reopen().open("g")
    assert again.picture("a") == picture("a")
    assert assert_pictures_are_digests(again) == 1  # only an older picture of b exists


def test_a_missing_picture_is_added_only_where_it_belongs(gallery, draw):
    gallery.upsert([crop("c"), crop("d"), crop("e")], draw(3, seed=3))
    given = {"a": picture("x"), "c": picture("c"), "d": picture("x"), "gone": picture("gone")}
    assert gallery.add_pictures(given) == 1
    assert gallery.picture("c") == picture("c")
    assert assert_pictures_are_digests(gallery) == 3
    gallery.configure(GalleryOptions())
    assert gallery.add_pictures({"c": picture("c")}) == 0
    assert assert_pictures_are_digests(gallery) == 0
