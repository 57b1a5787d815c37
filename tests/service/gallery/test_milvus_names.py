"""A Milvus collection's name holds what the gallery must remember."""

from __future__ import annotations

import pytest

pytest.importorskip("pymilvus", reason="pymilvus is not installed")

from service.gallery.milvus.collection import CollectionName


@pytest.mark.parametrize("name", ["a", "a-b", "a_b", "a_-b", "a_d-u", "0_u-d_", "x" * 64])
def test_a_name_survives(name):
    header = CollectionName(name, "0a" * 32, 1795252645.023)
    assert str(header).replace("_", "").isalnum()
    assert len(str(header)) <= 255
    assert CollectionName.parse(str(header)) == header


def test_names_do_not_collide():
    names = ["a-b", "a_b", "a_db", "a_ub", "a-_b", "a_-b", "a--b", "a__b"]
    assert len({str(CollectionName(name, "0" * 64, 0.0)) for name in names}) == len(names)


@pytest.mark.parametrize("other", ["reid_a", "someone_else", "reid_a_" + "0" * 63 + "_1"])
def test_other_collections_are_ignored(other):
    assert CollectionName.parse(other) is None
