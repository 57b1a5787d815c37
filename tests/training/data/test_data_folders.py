"""Reading users' folders for training, by the service's rules and its layouts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from service.ingest.name_layouts import LAYOUTS
from training.__main__ import app as cli
from training.data.datasets import Dataset, DataSource, read_dataset
from training.data.entries import DataError


def draw(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16), (number * 40 % 256, 90, 30)).save(path)
    return root


def read(path: Path, **options: object) -> Dataset:
    return read_dataset(DataSource(path, **options))  # type: ignore[arg-type]


def people(dataset: Dataset) -> set[tuple[str | None, str]]:
    return {
        (
            dataset.identities[sample.identity] if sample.identity >= 0 else None,
            dataset.cameras[sample.camera],
        )
        for sample in dataset.train + dataset.query + dataset.gallery
    }


# ---- layouts by name


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_training_has_every_layout_of_the_service(tmp_path, layout):
    found = layout.read(layout.example)
    draw(tmp_path, layout.example)
    dataset = read(tmp_path, layout=layout.name)
    assert people(dataset) == {(found.identity, found.camera)}


@pytest.mark.parametrize(
    ("layout", "paths", "expected"),
    [
        ("msmt17", ["0000_000_01_0303morning_0015_0.jpg"], {("0000", "01")}),
        ("viper", ["cam_a/000_45.bmp", "cam_b/000_90.bmp"], {("000", "cam_a"), ("000", "cam_b")}),
        ("dukemtmc", ["0000_c1_f0000001.jpg"], {("0000", "c1")}),
        ("camera-first", ["c1_0_0.png"], {("0", "c1")}),
    ],
)
def test_person_0_keeps_the_name(tmp_path, layout, paths, expected):
    assert people(read(draw(tmp_path, *paths), layout=layout)) == expected


def test_junk_and_distractors_are_left_out_if_the_data_set_marks_them(tmp_path):
    names = ("0001C1T0001F001.jpg", "00-1C1T0001F001.jpg", "0000C2T0001F001.jpg")
    draw(tmp_path, *(f"bbox_test/{name}" for name in names))
    dataset = read(tmp_path, layout="mars")
    assert people(dataset) == {("0001", "C1"), (None, "C2")}
    assert dataset.left_out == {"identity 00-1 marks junk in mars names": 1}


def test_folders_named_after_splits_are_splits(tmp_path):
    draw(
        tmp_path,
        "bbox_train/0001/0001C1T0001F001.jpg",
        "bbox_test/0002/0002C1T0001F001.jpg",
        "0003C1T0001F001.jpg",
    )
    dataset = read(tmp_path, layout="mars")
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (2, 0, 1)


def test_market1501_names_are_read_without_its_folders_if_the_layout_is_given(tmp_path):
    draw(tmp_path, "0002_c1s1_000451_03.jpg", "-1_c1s1_000001_00.jpg", "0000_c2_1.jpg")
    dataset = read(tmp_path, layout="market1501")
    assert people(dataset) == {("0002", "c1"), ("0000", "c2")}


def test_a_file_with_another_name_is_an_error_or_is_listed(tmp_path):
    draw(tmp_path, "0001C1T0001F001.jpg", "holiday.jpg")
    with pytest.raises(
        DataError, match=r"holiday\.jpg: name does not follow mars, such as 0001C1T0001"
    ):
        read(tmp_path, layout="mars")
    assert len(read(tmp_path, layout="mars", skip_bad=True).skipped) == 1


def test_the_error_for_an_unknown_layout_lists_layouts_that_fit(tmp_path):
    draw(tmp_path, "0001C1T0001F001.jpg", "0002C1T0001F001.jpg")
    with pytest.raises(DataError, match="fit the layout mars; choose it with --layout"):
        read(tmp_path)


def test_person_0_without_a_sequence_is_a_person_in_train_too(tmp_path):
    draw(tmp_path, "bounding_box_train/0000_c1_1.jpg", "query/0005_c1_1.jpg")
    draw(tmp_path, "bounding_box_test/0005_c2_1.jpg")
    assert [sample.identity for sample in read(tmp_path).train] == [0]


@pytest.mark.parametrize("command", ["inspect", "train", "adapt", "evaluate", "export"])
def test_every_command_takes_the_layout(command):
    result = CliRunner().invoke(cli, [command, "--layout", "saturn"])
    assert result.exit_code == 2
    assert "saturn" in result.output
    assert "--layout" in CliRunner().invoke(cli, [command, "--help"], env={"COLUMNS": "200"}).output


def test_inspect_reads_a_layout(tmp_path):
    draw(tmp_path, "cam_a/000_45.png", "cam_b/000_90.png", "notes.gif")
    arguments = ["inspect", str(tmp_path), "--layout", "viper", "--format", "json"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    (reason,) = found["left_out"]
    assert ".gif files are not supported" in reason
    assert "notes.gif" in reason


# ---- manifests, wherever they lie


ROWS = '{"path": "a.jpg", "camera": "c1"}\n{"path": "b.jpg", "camera": "c2"}\n'
TABLE = "path,camera\na.jpg,c1\nb.jpg,c2\n"


@pytest.mark.parametrize(
    ("name", "text", "folder"),
    [
        ("manifest.ndjson", ROWS, "."),
        ("manifest.jsonl", ROWS, "."),
        ("manifest.csv", TABLE, "."),
        ("Manifest.CSV", TABLE, "."),
        ("MANIFEST.NDJSON", ROWS, "."),
        ("top/manifest.csv", TABLE, "top"),
        ("x/y/manifest.jsonl", ROWS, "x/y"),
    ],
)
def test_a_manifest_in_a_folder_is_used(tmp_path, name, text, folder):
    draw(tmp_path / folder, "a.jpg", "b.jpg", ".ipynb_checkpoints/a.jpg")
    (tmp_path / name).write_text(text)
    dataset = read(tmp_path)
    assert dataset.layout == "manifest"
    assert people(dataset) == {(None, "c1"), (None, "c2")}


def test_a_manifest_written_on_windows(tmp_path):
    draw(tmp_path, "c1/a.jpg")
    (tmp_path / "manifest.csv").write_text("path,camera\nc1\\a.jpg,c1\n")
    (sample,) = read(tmp_path).train
    assert sample.path == tmp_path / "c1" / "a.jpg"


def test_a_parquet_manifest(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    from pyarrow import parquet

    draw(tmp_path, "a.jpg", "b.jpg")
    table = pyarrow.table({"path": ["a.jpg", "b.jpg"], "camera": ["c1", "c2"]})
    parquet.write_table(table, tmp_path / "manifest.parquet")
    assert people(read(tmp_path)) == {(None, "c1"), (None, "c2")}


@pytest.mark.parametrize(
    ("names", "market"),
    [
        (["manifest.json"], False),
        (["manifest.json"], True),
        (["manifest (1).csv"], False),
        (["manifest.csv", "manifest.jsonl"], False),
        (["manifest.csv", "manifest.jsonl"], True),
        (["sub/manifest.csv"], False),
    ],
)
def test_the_error_names_a_manifest_that_cannot_be_used(tmp_path, names, market):
    draw(tmp_path, "c1_1.jpg", "sub/c1_2.jpg")
    if market:
        draw(tmp_path, "bounding_box_train/0001_c1_1.jpg", "query/0005_c1_1.jpg")
        draw(tmp_path, "bounding_box_test/0005_c2_1.jpg")
    for name in names:
        (tmp_path / name).write_text(TABLE)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert all(name in str(caught.value) for name in names)
    assert len(read(tmp_path, pattern="{name}", skip_bad=True).train) > 0


# ---- what is no data, and what is linked


def test_hidden_and_generated_folders_are_ignored(tmp_path):
    draw(
        tmp_path,
        "c1/a.jpg",
        "c1/.ipynb_checkpoints/a-checkpoint.jpg",
        "c1/@eaDir/a.jpg",
        "__MACOSX/c1/a.jpg",
        "thumbnails/a.jpg",
        "c1/._a.jpg",
    )
    dataset = read(tmp_path, pattern="{camera}/{name}")
    assert [sample.path.name for sample in dataset.train] == ["a.jpg"]
    assert sum(dataset.left_out.values()) == 5
    assert any("such as __MACOSX" in reason for reason in dataset.left_out)


def test_links_are_followed_and_circles_end(tmp_path):
    draw(tmp_path / "other-disk", "a.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "c1").symlink_to(tmp_path / "other-disk")
    (tmp_path / "other-disk" / "up").symlink_to(tmp_path / "data")
    dataset = read(tmp_path / "data", pattern="{camera}/{name}")
    assert [sample.path.name for sample in dataset.train] == ["a.jpg"]
    assert any("a link back to a folder above it" in reason for reason in dataset.left_out)


def test_a_broken_link_and_a_pipe_are_reported(tmp_path):
    draw(tmp_path, "c1/a.jpg")
    (tmp_path / "c1" / "gone.jpg").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "c1" / "pipe.jpg")
    with pytest.raises(DataError, match=r"gone\.jpg"):
        read(tmp_path, pattern="{camera}/{name}")
    dataset = read(tmp_path, pattern="{camera}/{name}", skip_bad=True)
    assert [entry.path.name for entry in dataset.skipped] == ["gone.jpg"]


def test_bmp_and_tiff_are_read(tmp_path):
    draw(tmp_path, "c1/a.bmp", "c1/b.tif", "c1/c.tiff", "c1/d.jfif")
    assert len(read(tmp_path, pattern="{camera}/{name}").train) == 4
