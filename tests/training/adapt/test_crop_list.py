"""The list of crops that an adaptation trains on: what it tells, and what it must not."""

import csv

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the train extra is not installed")

from training.adapt.adaptation import _list_crops
from training.data.datasets import DataSource, Sample, read_dataset
from training.data.images import Images

PLACES = [(0, 4, 2), (0, 4, 3), (1, -1, -1), (1, 9, 3), (1, 8, -1)]


@pytest.fixture
def crops(tmp_path):
    samples = []
    for number, place in enumerate(PLACES):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 16)).save(path)
        samples.append(Sample(path, 100 + number, *place))
    return Images(np.zeros((len(samples), 16, 8, 3), np.uint8), tuple(samples), ())


def test_tracks_and_frames_reach_the_rounds_and_identities_do_not(crops, tmp_path):
    output = tmp_path / "run"
    output.mkdir()
    held_out = np.array([False, False, False, False, True])
    _list_crops(output, crops, held_out)
    listed = read_dataset(DataSource(output / "crops.csv", layout="manifest")).train
    assert [sample.path for sample in listed] == [sample.path for sample in crops.samples[:4]]
    assert {sample.identity for sample in listed} == {-1}
    one, two, unknown, other = listed
    assert one.track == two.track != other.track
    assert len({one.frame, two.frame, other.frame}) == 3
    assert (unknown.track, unknown.frame) == (-1, -1)


def test_the_list_has_no_column_for_an_identity(crops, tmp_path):
    _list_crops(tmp_path, crops, np.zeros(len(PLACES), bool))
    with (tmp_path / "crops.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["path", "camera", "track", "frame"]
