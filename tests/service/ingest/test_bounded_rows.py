"""Manifests of untrusted size: every length is limited, and one bad row does not end reading."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidInput
from service.imports.items import check_relative
from service.ingest.crop_values import match_columns
from service.ingest.lines import MAX_BLANK, MAX_ROW, MAX_VALUES
from service.ingest.manifest_files import ManifestSearch
from service.ingest.parquet import MAX_COLUMNS
from service.ingest.parquet_values import MAX_CELL, MAX_LIST
from service.ingest.picture_files import LeftOut
from service.ingest.rows import Format, count_rows, lines_and_rows, read_rows
from service.ingest.summary import ImportSummary

BIG = 64 << 20
FEW = 24 << 20  # several times the longest row, and far below the files


def written(folder: Path, name: str, *pieces: bytes, times: int = 1) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.writelines(piece for _ in range(times) for piece in pieces)
    return path


def outcome(path: Path, format_: Format) -> str:
    """The errors of counting and of reading, which must agree and not hold the file in memory."""
    said = []
    tracemalloc.start()
    try:
        for act in (lambda: count_rows(path, format_), lambda: len(list(read_rows(path, format_)))):
            try:
                said.append(str(act()))
            except InvalidInput as error:
                said.append(str(error))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < FEW, f"{peak:,} bytes"
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize(
    ("name", "format_", "start", "piece"),
    [
        ("a.ndjson", "ndjson", b'{"path": "', b"a" * (1 << 20)),
        ("a.csv", "csv", b"path\n", b"a" * (1 << 20)),
        ("quoted.csv", "csv", b'path\n"', b"a" * (1 << 20)),
        ("returns.csv", "csv", b"path\n", b"a" * (1 << 20) + b" "),
        ("many-quoted-lines.csv", "csv", b"path\n", b'"a\nb","c\n\nd",' * 10_000),
        ("header.csv", "csv", b"path,", b"x" * (1 << 20)),
    ],
)
def test_the_length_of_a_row_is_limited(tmp_path, name, format_, start, piece):
    path = written(tmp_path, name, start)
    with path.open("ab") as file:
        file.writelines(piece for _ in range(BIG // len(piece)))
    said = outcome(path, format_)
    assert f"a row of more than {MAX_ROW:,} bytes" in said or f"{MAX_VALUES:,} values" in said


@pytest.mark.parametrize(("name", "format_"), [("a.ndjson", "ndjson"), ("a.csv", "csv")])
def test_the_number_of_blank_lines_is_limited(tmp_path, name, format_):
    path = written(tmp_path, name, b"path\n" if format_ == "csv" else b"")
    with path.open("ab") as file:
        file.write(b"\n" * (MAX_BLANK + 2))
    with pytest.raises(InvalidInput, match="blank"):
        list(read_rows(path, format_))
    with pytest.raises(InvalidInput, match="blank"):
        count_rows(path, format_)


def test_blank_lines_are_not_rows(tmp_path):
    path = written(tmp_path, "a.ndjson", b'\n\n{"path": "a.png"}\r\n \n', times=1000)
    assert count_rows(path, "ndjson") == 1000
    assert len(list(read_rows(path, "ndjson"))) == 1000


def test_counting_stops_at_the_limit(tmp_path):
    path = written(tmp_path, "a.ndjson", b"{}\n", times=1000)
    assert count_rows(path, "ndjson", 10) == 10
    path = written(tmp_path, "a.csv", b"path\n", b"a\n" * 100)
    assert (count_rows(path, "csv", 10), count_rows(path, "csv")) == (10, 100)


@pytest.mark.parametrize(
    "line",
    [
        b"[" + b"[]," * MAX_VALUES + b"1]",
        b'{"path": [' + b"{}," * MAX_VALUES + b"1]}",
        b"{" + b",".join(b'"%d": 1' % number for number in range(MAX_VALUES + 1)) + b"}",
    ],
)
def test_a_row_with_too_many_values_is_not_parsed(tmp_path, line):
    path = written(tmp_path, "a.ndjson", line, b"\n")
    assert f"a row of more than {MAX_VALUES:,} values" in outcome(path, "ndjson")


def test_the_number_of_columns_is_limited(tmp_path):
    names = ",".join(f"c{number}" for number in range(MAX_COLUMNS + 1))
    path = written(tmp_path, "a.csv", f"path,{names}\na\n".encode())
    assert f"at most {MAX_COLUMNS:,}" in outcome(path, "csv")
    row = json.dumps(dict.fromkeys(names.split(","), 1))
    path = written(tmp_path, "a.ndjson", row.encode(), b'\n{"path": "a.png"}\n')
    first, second = read_rows(path, "ndjson")
    assert f"at most {MAX_COLUMNS:,}" in str(first)
    assert second == {"path": "a.png"}


def test_a_duplicate_among_many_columns_is_found_quickly(tmp_path):
    """Comparing every pair of names would take 2.5e9 steps here."""
    names = [f'"n{number}": 1' for number in range(50_000)]
    nested = "{" + ", ".join([*names, '"n49999": 2']) + "}"
    path = written(tmp_path, "a.ndjson", f'{{"path": {nested}}}\n'.encode())
    (row,) = read_rows(path, "ndjson")
    assert "'n49999' occurs twice" in str(row)


def test_line_numbers_are_right_for_any_line_end(tmp_path):
    path = written(tmp_path, "a.csv", b'\xef\xbb\xbfpath,camera\ra,1\r\n\nb,2\n"c\r\nd",3\r\re,4')
    rows = list(lines_and_rows(path, "csv"))
    assert [number for number, _ in rows] == [2, 4, 6, 8]
    assert [row["path"] for _, row in rows] == ["a", "b", "c\r\nd", "e"]


def parquet_file(path: Path, table: Any) -> Path:
    from pyarrow import parquet

    parquet.write_table(table, path, compression="zstd")
    return path


def test_repeated_texts_are_measured_before_conversion(tmp_path):
    """A file of a few hundred bytes that expands to 600 MB of text."""
    pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    count = 600
    text = pa.array(["a" * (MAX_CELL + 1)])
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), text)
    nested = pa.ListArray.from_arrays(pa.array(range(count + 1), pa.int32()), repeated)
    before = pa.total_allocated_bytes()
    for column in (repeated, nested):
        table = pa.table({"path": column, "crop_id": [f"c{number}" for number in range(count)]})
        path = parquet_file(tmp_path / "a.parquet", table)
        assert path.stat().st_size < 50_000
        rows = list(read_rows(path, "parquet"))
        assert len(rows) == count == count_rows(path, "parquet")
    assert f"at most {MAX_CELL:,}" in str(next(read_rows(parquet_of_one(tmp_path, pa), "parquet")))
    assert pa.total_allocated_bytes() - before < BIG


def parquet_of_one(folder: Path, pa: Any) -> Path:
    return parquet_file(folder / "one.parquet", pa.table({"path": ["a" * (MAX_CELL + 1)]}))


def test_parquet_vectors_nested_values_and_columns_are_limited(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    long = pa.array([[0.5] * (MAX_LIST + 1), [0.5]], pa.list_(pa.float32()))
    first, second = read_rows(
        parquet_file(tmp_path / "a.parquet", pa.table({"embedding": long})), "parquet"
    )
    assert f"at most {MAX_LIST:,}" in str(first)
    assert second == {"embedding": [0.5]}
    deep = pa.array([[[[1.0]]]], pa.list_(pa.list_(pa.list_(pa.float32()))))
    (row,) = read_rows(
        parquet_file(tmp_path / "a.parquet", pa.table({"embedding": deep})), "parquet"
    )
    assert "list" in repr(row["embedding"])
    fixed = pa.array([b"x" * 5000], pa.binary(5000))
    with pytest.raises(InvalidInput, match="5,000 bytes"):
        list(read_rows(parquet_file(tmp_path / "a.parquet", pa.table({"path": fixed})), "parquet"))
    wide = pa.table({f"c{number}": [1] for number in range(MAX_COLUMNS + 1)})
    with pytest.raises(InvalidInput, match=f"at most {MAX_COLUMNS:,}"):
        list(read_rows(parquet_file(tmp_path / "a.parquet", wide), "parquet"))


def test_the_size_of_a_parquet_footer_is_limited(tmp_path):
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    path = written(tmp_path, "a.parquet", b"PAR1", (100 << 20).to_bytes(4, "little"), b"PAR1")
    with pytest.raises(InvalidInput, match="not Parquet"):
        count_rows(path, "parquet")


def test_the_summary_of_an_import_is_limited():
    search = ManifestSearch()
    for number in range(1000):
        search.see(f"f{number}/manifest.csv")
        search.see(f"f{number}/my manifest.json")
    assert search.count == 2000
    assert len(search.candidates) == 20
    with pytest.raises(InvalidInput, match="two manifests"):
        search.manifest()
    summary = ImportSummary()
    for number in range(1000):
        summary.leave_out(LeftOut(Path("p" * 100_000), f"{number}" + "r" * 100_000))
        summary.note("n" * 100_000)
    summary.miss_names("m" * 100_000)
    assert len(json.dumps(summary.result())) < 200_000
    ignored: set[str] = set()
    match_columns((f"c{number}" + "x" * 10_000 for number in range(1000)), ignored)
    assert sum(map(len, ignored)) < 10_000
    with pytest.raises(InvalidInput, match="100,000 characters"):
        check_relative("a/" * 50_000)
