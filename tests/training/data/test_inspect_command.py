"""What an inspection finds in a data set."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("imagehash", reason="imagehash is not installed")

from training.data.datasets import DataSource, read_dataset
from training.data.duplicates import NEAR_BITS, near_keys
from training.data.inspection import Inspection, inspect_dataset
from training.data.inspection_text import describe_inspection
from training.synthetic import SyntheticOptions, synthesize


def inspect(folder: Path) -> Inspection:
    return inspect_dataset(read_dataset(DataSource(folder, skip_bad=True)))


def names(found: Inspection, groups: tuple[tuple[int, ...], ...]) -> list[list[str]]:
    return [[found.files[index].name for index in group] for group in groups]


@pytest.fixture
def people(drawn, tmp_path) -> Path:
    return shutil.copytree(drawn, tmp_path / "people")


def test_counts_of_drawn_people(drawn):
    found = inspect(drawn)
    assert found.layout == "market1501"
    train = found.splits["train"]
    assert (train.crops, train.identities, train.one_camera) == (72, 12, 0)
    assert train.of_camera == {"1": 36, "2": 36}
    assert train.per_identity
    assert (train.per_identity.minimum, train.per_identity.maximum) == (6, 6)
    assert found.splits["query"].crops == 24
    assert found.pictures
    assert found.pictures.heights == {"64 to 128": 144}
    assert found.pictures.ratios == {"2 to 2.5": 144}
    assert not found.skipped
    assert not found.same_bytes.groups


def test_distractors_and_junk_are_distinguished(tmp_path):
    options = SyntheticOptions(
        identities=4, cameras=2, crops=2, seed=1, height=64, width=32, distractors=3, junk=2
    )
    synthesize(tmp_path / "people", options)
    found = inspect(tmp_path / "people")
    gallery = found.splits["gallery"]
    assert (gallery.distractors, gallery.identities) == (3, 2)
    assert found.left_out == {"junk (identity -1)": 2}
    assert "distractors in gallery (identity 0): 3" in describe_inspection(found)


def test_unusable_files_are_listed_and_the_rest_is_read(people):
    train = people / "bounding_box_train"
    torn = min(train.iterdir())
    torn.write_bytes(torn.read_bytes()[:100])
    (train / "holiday.jpg").write_bytes(b"no picture")
    found = inspect(people)
    assert {entry.path.name for entry in found.skipped} == {torn.name, "holiday.jpg"}
    assert len(found.files) == 143
    assert "skipped in total: 2" in describe_inspection(found)


def test_copies_are_found_by_bytes_pixels_and_perceptual_hash(people):
    train, gallery = people / "bounding_box_train", people / "bounding_box_test"
    first, second, third = sorted(train.iterdir())[::12][:3]
    shutil.copy(first, gallery / "0900_c1s1_000001_00.jpg")
    with Image.open(second) as picture:
        picture.save(train / "0901_c1s1_000001_00.png")
    with Image.open(third) as picture:
        picture.save(train / third.name.replace("_00.jpg", "_01.jpg"), quality=60)
    found = inspect(people)
    assert names(found, found.same_bytes.groups) == [[first.name, "0900_c1s1_000001_00.jpg"]]
    assert (found.same_bytes.across_splits, found.same_bytes.spare) == (1, 1)
    assert names(found, found.same_pixels.groups) == [[second.name, "0901_c1s1_000001_00.png"]]
    assert (found.same_pixels.across_splits, found.same_pixels.across_identities) == (0, 1)
    near = [group for group in names(found, found.near.groups) if third.name in group]
    assert near == [[third.name, third.name.replace("_00.jpg", "_01.jpg")]]


def test_near_keys_follow_chains_and_respect_the_limit():
    hashes = np.zeros((4, 64), bool)
    hashes[1, :NEAR_BITS] = True
    hashes[2, : 2 * NEAR_BITS] = True
    hashes[3, 20 : 21 + NEAR_BITS] = True
    keys = near_keys(hashes)
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_the_command_writes_text_and_json(drawn):
    command = [sys.executable, "-W", "error", "-m", "training", "inspect", str(drawn)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert text.startswith("people (market1501)\n")
    assert "same file: none" in text
    answer = subprocess.run(
        [*command, "--format", "json"], capture_output=True, text=True, check=True
    )
    tree = json.loads(answer.stdout)
    assert tree["splits"]["train"]["of_camera"] == {"1": 36, "2": 36}
    assert tree["near"]["across_splits"] == 0


def test_a_folder_that_is_not_a_data_set_is_a_one_line_error(tmp_path):
    command = [sys.executable, "-m", "training", "inspect", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"error: {tmp_path}: no known layout")
