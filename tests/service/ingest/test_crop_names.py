"""Crops from file names, patterns and manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import InvalidInput
from service.gallery.base import Crop
from service.ingest.crop_names import (
    CropFile,
    LeftOut,
    crop_id_of,
    list_manifest,
    list_market1501,
    list_pattern,
)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def crops(listing) -> list[Crop]:
    return [entry.crop for entry in listing if isinstance(entry, CropFile)]


def test_market1501_names(tmp_path):
    touch(
        tmp_path,
        "b/0002_c1s1_000451_03.jpg",
        "b/0000_c6s3_000001_01.jpg",
        "b/-1_c1s1_000001_01.jpg",
        "a/1501_c2.PNG",
        "a/holiday.webp",
        "a/Thumbs.db",
    )
    listing = list(list_market1501(tmp_path))
    assert crops(listing) == [
        Crop("a/1501_c2.PNG", "1501", "c2"),
        Crop("a/holiday.webp"),
        Crop("b/0000_c6s3_000001_01.jpg", None, "c6"),
        Crop("b/0002_c1s1_000451_03.jpg", "0002", "c1"),
    ]
    thumbnails, junk = [entry for entry in listing if isinstance(entry, LeftOut)]
    assert (junk.path.name, junk.is_error) == ("-1_c1s1_000001_01.jpg", False)
    assert (thumbnails.path.name, thumbnails.is_other) == ("Thumbs.db", True)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="no such folder"):
        list(list_market1501(tmp_path / "nothing"))


def test_a_pattern_reads_its_groups(tmp_path):
    touch(tmp_path, "door/7_1700000000_t3.jpg", "door/misc.jpg")
    pattern = r"(?P<camera>[^/]+)/(?P<identity>\d+)_(?P<timestamp>\d+)_t(?P<track>\d+)"
    fits, left_out = list_pattern(tmp_path, pattern)
    named = Crop("door/7_1700000000_t3.jpg", "7", "door", 1_700_000_000.0, track="3")
    assert fits.crop == named
    assert left_out.path.name == "misc.jpg"
    assert not left_out.is_error


@pytest.mark.parametrize(("pattern", "complaint"), [("(", "pattern"), ("(?P<pid>.)", "'pid'")])
def test_a_bad_pattern_is_refused(tmp_path, pattern, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        list(list_pattern(tmp_path, pattern))


def test_a_csv_manifest(tmp_path):
    manifest = tmp_path / "crops.csv"
    manifest.write_text(
        "path,crop_id,identity,camera,timestamp,note\n"
        "a.jpg,first,7,c1,2024-01-01T00:00:00Z,x\n"
        "sub/b.jpg,,,,,\n"
        "c.jpg,,,,soon,\n"
        f"d.jpg,{'x' * 201},,,,\n"
    )
    entries = list(list_manifest(tmp_path, manifest))
    assert crops(entries) == [Crop("first", "7", "c1", 1_704_067_200.0), Crop("sub/b.jpg")]
    assert entries[0].path == tmp_path / "a.jpg"
    assert [(entry.path.name, entry.is_error) for entry in entries[2:]] == [
        ("c.jpg", True),
        ("d.jpg", True),
    ]


def test_a_jsonl_manifest(tmp_path):
    manifest = tmp_path / "crops.jsonl"
    manifest.write_text('{"path": "a.jpg", "identity": 7, "timestamp": 1700000000.5}\n\n')
    assert crops(list_manifest(tmp_path, manifest)) == [Crop("a.jpg", "7", None, 1_700_000_000.5)]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("m.csv", "identity\n7\n", "including path or embedding"),
        ("m.jsonl", "{", "m.jsonl"),
        ("m.jsonl", "[]", "row 1"),
        ("m.txt", "path\n", "the suffix must be one of .ndjson, .jsonl, .csv"),
        ("m.csv", b"path\n\xff\xfe", "m.csv"),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path, name, text, complaint):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput, match=complaint):
        list(list_manifest(tmp_path, path))
    with pytest.raises(InvalidInput, match="No such file"):
        list(list_manifest(tmp_path, tmp_path / "nothing.csv"))


def test_ids_are_relative_paths_made_valid():
    root = Path("/data")
    assert crop_id_of(root / "a" / "b.jpg", root) == "a/b.jpg"
    long = crop_id_of(root / ("x" * 150) / ("y" * 150), root)
    assert len(long) == 200
    assert long.endswith("y" * 150)
    assert long != crop_id_of(root / ("z" * 150) / ("y" * 150), root)
    odd = crop_id_of(root / "line\nbreak\udcff.jpg", root)
    assert odd.isprintable()
    assert odd.endswith("line_break_.jpg")
    assert odd != crop_id_of(root / "line\tbreak\udcff.jpg", root)
