"""A row of a manifest means the same person on the same camera to the service and to training."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from service.errors import InvalidInput
from service.ingest.crop_names import CropFile, LeftOut, list_manifest
from training.data.datasets import DataSource, read_dataset
from training.data.entries import DataError

REFUSED = "refused"

# As the value stands in the file, and the name that it means; None where nobody knows.
JSON_VALUES = [
    ('"ada"', "ada"),
    ('" ada "', "ada"),
    ("12", "12"),
    ("12.0", "12"),
    ("1.2e1", "12"),
    ("0", "0"),
    ('"0"', "0"),
    ('"0000"', "0000"),
    ('"0012"', "0012"),
    ('"Doe, Jane"', "Doe, Jane"),
    ('"Null"', "Null"),
    (f'"{unicodedata.normalize("NFD", "José")}"', "José"),
    ("12345678901234567890", "12345678901234567890"),
    ("null", None),
    ("NaN", None),
    ('""', None),
    ('"   "', None),
    ("-1", None),
    ("-1.0", None),
    ('"-1"', None),
    ("true", REFUSED),
    ("false", REFUSED),
    ("12.5", REFUSED),
    ("1.2345678901234567e+19", REFUSED),
    ("Infinity", REFUSED),
    ("1e999", REFUSED),
    ('["a", "b"]', REFUSED),
    ("[]", REFUSED),
    ('{"name": "ada"}', REFUSED),
    ('"nan"', "nan"),
    ('"NaN"', "NaN"),
    ('"None"', "None"),
    ('"null"', "null"),
    ('"NA"', "NA"),
    ('"a\\u0000b"', REFUSED),
    ('"a\\u202eb"', REFUSED),
    (f'"{"x" * 201}"', REFUSED),
]
CSV_VALUES = [
    ("ada", "ada"),
    ("  ada ", "ada"),
    ('"Doe, Jane"', "Doe, Jane"),
    (' "Doe, Jane"', "Doe, Jane"),
    ("12", "12"),
    ("12.0", "12"),
    ("0012", "0012"),
    ("0", "0"),
    ("1.20", "1.20"),
    ("", None),
    (" ", None),
    ("-1", None),
    ("-1.0", None),
    ("nan", None),
    ("NaN", None),
    ("None", REFUSED),
    ("null", REFUSED),
    ("NULL", REFUSED),
    ("<NA>", REFUSED),
    ("NaT", REFUSED),
]


def to_service(manifest: Path) -> tuple[str | None, str | None] | str:
    try:
        (entry,) = list_manifest(manifest.parent, manifest)
    except InvalidInput as error:
        return f"{REFUSED}: {error}"
    if isinstance(entry, LeftOut):
        return f"{REFUSED}: {entry.reason}"
    assert isinstance(entry, CropFile)
    return entry.crop.identity, entry.crop.camera


def to_training(manifest: Path) -> tuple[str | None, str | None] | str:
    try:
        dataset = read_dataset(DataSource(manifest))
    except DataError as error:
        return f"{REFUSED}: {error}"
    (sample,) = dataset.train
    identity = None if sample.identity == -1 else dataset.identities[sample.identity]
    return identity, dataset.cameras[sample.camera]


def both(folder: Path, name: str, text: str) -> tuple[object, object]:
    (folder / "a.jpg").write_bytes(b"")
    manifest = folder / name
    manifest.write_text(text, encoding="utf-8")
    return to_service(manifest), to_training(manifest)


def check(found: tuple[object, object], wanted: tuple[str | None, str] | str, column: str) -> None:
    for read in found:
        if wanted == REFUSED:
            assert isinstance(read, str), read
            assert read.startswith(REFUSED)
            assert "row 1" in read
            assert f"column {column}" in read
        else:
            assert read == wanted


@pytest.mark.parametrize(("value", "name"), JSON_VALUES)
@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_json_values_mean_the_same_to_both(
    tmp_path: Path, suffix: str, value: str, name: str | None
) -> None:
    row = f'{{"path": "a.jpg", "camera": "c1", "identity": {value}}}\n'
    wanted = REFUSED if name == REFUSED else (name, "c1")
    check(both(tmp_path, f"m.{suffix}", row), wanted, "identity")
    if name is not None:  # training needs a camera
        row = f'{{"path": "a.jpg", "camera": {value}, "identity": "ada"}}\n'
        wanted = REFUSED if name == REFUSED else ("ada", name)
        check(both(tmp_path, f"m.{suffix}", row), wanted, "camera")


@pytest.mark.parametrize(("value", "name"), CSV_VALUES)
def test_csv_values_mean_the_same_to_both(tmp_path: Path, value: str, name: str | None) -> None:
    found = both(tmp_path, "m.csv", f"path,camera,identity\na.jpg,c1,{value}\n")
    check(found, REFUSED if name == REFUSED else (name, "c1"), "identity")


@pytest.mark.parametrize(
    "header",
    [
        "path, identity, camera",
        " path ,identity\t,camera",
        "\ufeffpath,identity,camera",
        "Path,IDENTITY,Camera",
        "path,identity,camera,note",
        "path,identity,camera,",
    ],
)
def test_blanks_and_capitals_in_a_header_lose_no_column(tmp_path: Path, header: str) -> None:
    assert both(tmp_path, "m.csv", f"{header}\na.jpg, ada, c1\n") == (("ada", "c1"), ("ada", "c1"))


def test_blanks_and_capitals_in_json_names_lose_no_value(tmp_path: Path) -> None:
    row = '{"path": "a.jpg", " Identity": "ada", "camera ": "c1"}\n'
    assert both(tmp_path, "m.jsonl", row) == (("ada", "c1"), ("ada", "c1"))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("m.csv", "path,camera,camera\na.jpg,c1,c2\n", "'camera' and 'camera' have the same name"),
        ("m.csv", "path,camera, Camera\na.jpg,c1,c2\n", "have the same name"),
        ("m.csv", "path,identity,camera\na.jpg,Doe, Jane,c1\n", "4 cells for 3 columns"),
        ("m.jsonl", '{"path": "a.jpg", "camera": "c1", "camera": "c2"}', "'camera' occurs twice"),
        ("m.jsonl", '{"path": "a.jpg", "camera": "c1", "Camera": "c2"}', "have the same name"),
        ("m.jsonl", '{"path": "a.jpg", "camera": "c1", "x": {"y": 1, "y": 2}}', "occurs twice"),
        ("m.jsonl", '["a.jpg", "c1"]', "must be a JSON object"),
        ("m.jsonl", '{"path": 1, "camera": "c1"}', "column path"),
        ("m.csv", "path,camera,identity\na.jpg,c1,\udcff\n", "not UTF-8"),
    ],
)
def test_rows_that_would_lose_or_mix_values_are_rejected(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    for read in (to_service, to_training):
        found = read(tmp_path / name)
        assert isinstance(found, str), found
        assert reason in found
