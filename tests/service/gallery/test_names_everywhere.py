"""Every kind of gallery treats all spellings of a name as one."""

from __future__ import annotations

import pytest

from service.errors import InvalidInput
from service.gallery.base import Crop, Filter

MODEL, DIMENSION = "ab" * 32, 8
COMPOSED, DECOMPOSED = "Jos\u00e9", "Jose\u0301"


@pytest.fixture(params=["local", "milvus"])
def backend(request):
    return request.param


@pytest.fixture
def gallery(reopen):
    return reopen().create("g", MODEL, DIMENSION)


def ids(gallery, **where):
    return [crop.crop_id for crop in gallery.page(Filter(**where), 10).crops]


def test_names_are_stored_in_their_normal_form(gallery, draw):
    crop = Crop(f" {DECOMPOSED}", f"\u00a0{DECOMPOSED}", f"{DECOMPOSED} ")
    gallery.upsert([crop], draw(1))
    kept = gallery.get(COMPOSED)
    assert (kept.crop_id, kept.identity, kept.camera) == (COMPOSED, COMPOSED, COMPOSED)
    assert gallery.upsert([Crop(COMPOSED)], draw(1)) == 0  # replaced


@pytest.mark.parametrize("name", [COMPOSED, DECOMPOSED, f" {DECOMPOSED}\u3000"])
def test_every_filter_accepts_every_spelling(gallery, draw, name):
    gallery.upsert([Crop("a", DECOMPOSED, COMPOSED), Crop(DECOMPOSED, "b", "b")], draw(2))
    one = frozenset({name})
    assert ids(gallery, identities=one) == ids(gallery, cameras=one) == ["a"]
    assert ids(gallery, crop_ids=one) == ids(gallery, not_camera=name) == [COMPOSED]
    assert [crop.crop_id for crop in gallery.crops(Filter(identities=one))] == ["a"]
    hits = gallery.query(draw(1), 5, Filter(cameras=one))
    assert [hit.crop.crop_id for hit in hits[0]] == ["a"]
    assert gallery.delete(Filter(identities=one)).crops == 1


def test_names_with_joiners_and_unusual_blanks_are_filtered(gallery, draw):
    names = ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0dc1\u0dca\u200d\u0dbb\u0dd3"]
    names += ["Jean\u00a0Luc", 'a"b\\c']
    rows = [Crop(str(number), name, name) for number, name in enumerate(names)]
    gallery.upsert(rows, draw(len(names)))
    for number, name in enumerate(names):
        one = frozenset({name})
        assert ids(gallery, identities=one) == ids(gallery, cameras=one) == [str(number)]
        assert str(number) not in ids(gallery, not_camera=name)


def test_a_label_is_stored_in_the_normal_form(gallery, draw):
    gallery.upsert([Crop(COMPOSED)], draw(1))
    assert gallery.relabel({DECOMPOSED: f"{DECOMPOSED} "}, "hand") == 1
    assert gallery.get(COMPOSED).identity == COMPOSED


@pytest.mark.parametrize("crop_id", ["..", "a/..", "a//b", "", " ", "a\u202eb", "x" * 201])
def test_an_id_that_cannot_be_addressed_is_refused(gallery, draw, crop_id):
    with pytest.raises(InvalidInput, match="crop_id"):
        gallery.upsert([Crop("sound"), Crop(crop_id)], draw(2))
    assert ids(gallery) == []
