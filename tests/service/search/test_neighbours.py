"""The nearest rows of every row, block by block, against a slow oracle."""

from __future__ import annotations

import numpy as np
import pytest

from service.search import neighbours
from service.search.neighbours import nearest_of_all


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks that end in the middle of everything."""
    monkeypatch.setattr(neighbours, "_ROWS", 7)
    monkeypatch.setattr(neighbours, "_COLUMNS", 19)


def drawn(count, dimension=16):
    """Unit rows whose products are exact, whatever the order of a sum; many distances are equal."""
    signs = np.random.default_rng(count).integers(2, size=(count, dimension))
    return np.float32(dimension**-0.5) * np.where(signs, 1, -1).astype(np.float32)


def slow(rows, length):
    """The same by sorting all distances: the row itself first, then ties in the order of rows."""
    distance = 2.0 - 2.0 * (rows @ rows.T)
    farthest = distance.max(axis=1)
    np.fill_diagonal(distance, -1.0)
    return np.argsort(distance, axis=1, kind="stable")[:, :length], farthest


@pytest.mark.parametrize("enough", [neighbours._STEP, 1 << 30], ids=["a part", "all"])
@pytest.mark.parametrize(
    ("count", "length"),
    [(1, 1), (2, 1), (7, 7), (8, 3), (20, 20), (60, 1), (95, 2), (95, 4), (95, 40)],
)
def test_lists_are_those_of_sorting_everything(monkeypatch, count, length, enough):
    monkeypatch.setattr(neighbours, "_ENOUGH", enough)
    rows = drawn(count)
    found = nearest_of_all(rows, length)
    rank, farthest = slow(rows, length)
    np.testing.assert_array_equal(found.rank, rank)
    np.testing.assert_array_equal(found.farthest, farthest)


@pytest.mark.parametrize("enough", [neighbours._STEP, 1 << 30], ids=["a part", "all"])
@pytest.mark.parametrize("people", [1, 2, 9])
def test_a_row_comes_before_its_copies_and_ties_are_in_the_order_of_rows(
    monkeypatch, people, enough
):
    monkeypatch.setattr(neighbours, "_ENOUGH", enough)
    rows = drawn(people)[np.random.default_rng(0).integers(people, size=90)]
    for length in (1, 4, 5, 30, 90):
        np.testing.assert_array_equal(nearest_of_all(rows, length).rank, slow(rows, length)[0])
