"""Whole columns and batches are read as their single values are: same values, same errors."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import InvalidInput
from service.gallery.base import Crop
from service.imports.items import Item, Picture
from service.imports.manifests import checked_items
from service.ingest.parquet_values import MAX_CELL, MAX_LIST, Unread, value_of, values_of
from service.ingest.picture_files import LeftOut
from service.ingest.sent_embeddings import (
    EmbeddedCrop,
    check_embedding,
    check_embeddings,
    decode_embedding,
)

DIMENSION = 48


def unit(count: int, dimension: int = DIMENSION) -> Any:
    rows = np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) * np.float32(1.0004)


def sent(number: int, embedding: Any) -> EmbeddedCrop:
    return EmbeddedCrop(Crop(f"{number}"), np.asarray(embedding, np.float32), f"{number}")


def alone(one: EmbeddedCrop) -> Any:
    try:
        return check_embedding(one.embedding, DIMENSION, f"crop {one.name!r}").tobytes()
    except InvalidInput as error:
        return str(error)


def outcome(found: Any) -> Any:
    return found.embedding.tobytes() if isinstance(found, EmbeddedCrop) else str(found)


BAD = {
    "none": lambda row: row,
    "long": lambda row: np.append(row, 0.0),
    "empty": lambda row: row[:0],
    "nested": lambda row: row[None],
    "not a number": lambda row: np.where(np.arange(len(row)) == 3, np.nan, row),
    "infinite": lambda row: np.where(np.arange(len(row)) == 3, np.inf, row),
    "not of unit length": lambda row: row * np.float32(1.01),
    "zero": lambda row: row * np.float32(0),
}


@pytest.mark.parametrize("what", BAD)
def test_a_batch_is_checked_as_its_rows_are(what: str) -> None:
    crops = [sent(number, row) for number, row in enumerate(unit(300))]
    crops[7] = sent(7, BAD[what](crops[7].embedding))
    for some in (crops[:0], crops[7:8], crops[:8], crops):
        found = check_embeddings(some, DIMENSION)
        assert [outcome(one) for one in found] == [alone(one) for one in some]


def test_items_keep_their_order_and_those_before_a_failure_are_kept() -> None:
    rows = unit(600)

    def items() -> Iterator[Item]:
        for number, row in enumerate(rows):
            yield sent(number, row if number != 300 else np.zeros(5))
            if number == 400:
                yield Picture("p", Crop("p"), b"")
                yield LeftOut(Path("left"), "for a reason")
        raise InvalidInput("the file ends here")

    found: list[Item] = []
    with pytest.raises(InvalidInput, match="ends here"):
        found.extend(iter(checked_items(items(), DIMENSION)))
    names = [str(item.path) if isinstance(item, LeftOut) else item.name for item in found]
    assert names == [*map(str, range(401)), "p", "left", *map(str, range(401, 600))]
    assert isinstance(found[300], LeftOut)
    assert "shape (5,)" in found[300].reason


def slow(given: object) -> Any:
    with np.errstate(over="ignore"):
        return np.asarray(given, dtype=np.float32).tobytes()


@pytest.mark.parametrize(
    "given",
    [
        [0.1, -2.5, 1e-320],
        [],
        [1, 2**60 + 1, -(2**53) - 1],
        [True, False],
        [1e300, float("inf"), float("-inf")],
        ["0.5", "1"],
        [0.5, None],
        [[0.5, 1.0]],
        [0.1, "0.2"],
    ],
)
def test_a_list_is_decoded_as_numpy_does(given: list[Any]) -> None:
    assert decode_embedding(given).tobytes() == slow(given)


@pytest.mark.parametrize("given", [[10**400], ["a"], [{}], [0.5, [1.0]]])
def test_what_is_not_a_list_of_numbers_is_refused(given: list[Any]) -> None:
    with pytest.raises(InvalidInput, match="embedding: "):
        decode_embedding(given)


def test_an_array_has_the_limits_of_a_list() -> None:
    for given in ([0.5] * 700, np.full(700, 0.5)):
        with pytest.raises(InvalidInput, match="700 are too many for 10 numbers"):
            decode_embedding(given, 10)
    assert decode_embedding(base64.b64encode(bytes(8)).decode()).tolist() == [0.0, 0.0]


def columns() -> Iterator[tuple[str, str, Any]]:
    """What a column may hold: a title, the column's name, the array."""
    pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    rows = [[0.25, -0.5], None, [], [1.0, 2.0, 3.0], [0.1]]
    for kind in (pa.float32(), pa.float64(), pa.float16()):
        yield f"lists of {kind}", "embedding", pa.array(rows, pa.list_(kind))
        yield f"large {kind}", "embedding", pa.array(rows, pa.large_list(kind))
    yield "lists of whole numbers", "embedding", pa.array([[1, 2], None], pa.list_(pa.int64()))
    fixed = pa.array([[0.1, 0.2], None, [0.3, 0.4], [0.5, 0.6]], pa.list_(pa.float32(), 2))
    yield "fixed", "embedding", fixed
    yield "missing numbers", "embedding", pa.array([[0.1, None], [0.2]], pa.list_(pa.float32()))
    yield "too long", "embedding", pa.array([[0.5], [0.5] * (MAX_LIST + 1)], pa.list_(pa.float32()))
    yield "no embedding", "identity", pa.array(rows, pa.list_(pa.float32()))
    yield "nested", "embedding", pa.array([[[0.5]]], pa.list_(pa.list_(pa.float32())))
    texts = pa.array(["a", None, "ä", "", "a", "b" * 300])
    yield "texts", "crop_id", texts
    yield "repeated texts", "crop_id", texts.dictionary_encode()
    missing = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), pa.array(["a", None]))
    yield "repeated missing texts", "crop_id", missing
    large = pa.array(["a" * (MAX_CELL + 1), "b", None])
    yield "large texts", "path", large
    yield "large repeated texts", "path", large.dictionary_encode()
    damaged = pa.array([b"a", b"\xff", None]).view(pa.string())
    yield "not UTF-8", "crop_id", damaged
    yield (
        "repeated, not UTF-8",
        "crop_id",
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), damaged),
    )
    for kind in (pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.float16()):
        yield f"{kind}", "identity", pa.array([1, 2, 100], kind)
        yield f"{kind} with gaps", "identity", pa.array([1, None, 100], kind)
    yield "not a number", "timestamp", pa.array([float("nan"), 1.7e9])
    yield "bools", "identity", pa.array([True, None, False])
    yield "nothing", "identity", pa.array([None, None])
    yield "bytes", "identity", pa.array([b"a", b"\xff"])
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    yield "times", "timestamp", pa.array([moment, None], pa.timestamp("us", tz="UTC"))


def test_a_column_is_read_as_its_values_are() -> None:
    whole = 0
    for title, name, column in columns():
        for part in (column, column.slice(1), column.slice(0, 1), column.slice(0, 0)):
            value = values_of(name, part)
            whole += part is column and hasattr(value, "__self__")
            for index in range(len(part)):
                one = told(partial(value, index))
                assert one == told(partial(value_of, name, part[index])), title
    assert whole >= 15  # most of these are converted as a whole


def told(read: Any) -> Any:
    try:
        found = read()
    except InvalidInput as error:
        return str(error)
    if isinstance(found, Unread):
        return repr(found)
    if isinstance(found, np.ndarray):
        found = found.tolist()
    return type(found), repr(found)


def test_without_numpy_the_values_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client reads manifests, and need not have NumPy."""
    pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    columns = {
        "path": pa.array(["a.jpg", None, "c.jpg"]),
        "camera": pa.array([1, 2, 3]),
        "embedding": pa.array([[0.5, 0.25], None, [1.0, 2.0]], pa.list_(pa.float32())),
    }
    whole = {name: read_all(name, column) for name, column in columns.items()}
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert {name: read_all(name, column) for name, column in columns.items()} == whole


def read_all(name: str, column: Any) -> list[Any]:
    value = values_of(name, column)
    found = [value(row) for row in range(len(column))]
    return [list(one) if name == "embedding" and one is not None else one for one in found]
