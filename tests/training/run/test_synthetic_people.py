"""Identities are labels only in folders that our own program made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.core.config import read_config
from training.core.distributed import World
from training.data.datasets import DataSource, read_dataset
from training.run.setup import read_crops
from training.run.synthetic_people import read_synthetic
from training.synthetic import SyntheticOptions, synthesize
from training.synthetic.dataset import NOTE

SMALL = {"model.height": 32, "model.width": 32, "evaluation.every": 0}


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """Other drawn people than those of ``drawn``."""
    folder = tmp_path_factory.mktemp("others") / "others"
    options = SyntheticOptions(identities=8, cameras=2, crops=2, seed=9, height=48, width=24)
    synthesize(folder, options)
    return folder


@pytest.fixture
def without_note(drawn, tmp_path) -> Path:
    folder = shutil.copytree(drawn, tmp_path / "street")
    (folder / NOTE).unlink()
    return folder


def crops(**data):
    tree = SMALL | {f"data.{name}": value for name, value in data.items()}
    return read_crops(read_config(None, tree), Path(), World(torch.device("cpu")))


def test_the_labels_of_synthetic_people_are_their_identities(drawn):
    found = crops(synthetic=(str(drawn),))
    truth = [sample.identity for sample in read_dataset(DataSource(drawn)).train]
    names = sorted(set(truth))
    assert found.identities.tolist() == [names.index(identity) for identity in truth]


def test_two_folders_show_different_people(drawn, others):
    found = crops(synthetic=(str(drawn), str(others)))
    first = found.sites == 0
    assert set(found.identities[first]) == set(range(12))
    assert set(found.identities[~first]) == set(range(12, 16))


def test_crops_of_data_path_have_no_label_even_if_their_names_have(drawn, others):
    found = crops(path=str(drawn), synthetic=(str(others),))
    real = found.sites == 0
    assert (found.identities[real] == -1).all()
    assert set(found.identities[~real]) == set(range(4))
    assert set(found.cameras[real]).isdisjoint(found.cameras[~real])
    shown, sites = found.judged
    assert len(shown.samples) == len(shown.pixels) == len(sites) == real.sum()


def test_synthetic_people_alone_are_judged_themselves(drawn):
    found = crops(synthetic=(str(drawn),))
    assert len(found.judged[0].samples) == len(found.identities)


def test_a_folder_without_our_note_is_refused(without_note):
    with pytest.raises(InvalidInput, match="no folder of synthetic people"):
        read_synthetic([str(without_note)])


@pytest.mark.parametrize("text", ["", "[]", "7", "{}", '{"identities": 3}', "\x00"])
def test_a_note_that_is_not_ours_is_refused(without_note, text):
    (without_note / NOTE).write_text(text)
    with pytest.raises(InvalidInput, match=str(without_note)):
        read_synthetic([str(without_note)])


def test_the_same_people_twice_are_refused(drawn, tmp_path):
    again = shutil.copytree(drawn, tmp_path / "again")
    note = json.loads((again / NOTE).read_text())
    (again / NOTE).write_text(json.dumps(note | {"crops": 2}))
    with pytest.raises(InvalidInput, match="same people"):
        read_synthetic([str(drawn), str(again)])
    (again / NOTE).write_text(json.dumps(note | {"kind": "bodies"}))
    assert len(read_synthetic([str(drawn), str(again)])) == 2


def test_all_people_may_be_trained_on(drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "all")
    for split in ("query", "bounding_box_test"):
        shutil.rmtree(folder / split)
        (folder / split).mkdir()
    tree = SMALL | {"data.synthetic": (str(folder),), "evaluation.every": 1}
    found = read_crops(read_config(None, tree), tmp_path, World(torch.device("cpu")))
    assert len(found.identities) == 72
    assert found.held_out == []
    with pytest.raises(InvalidInput, match="query"):
        read_dataset(DataSource(folder))


def test_a_run_needs_crops():
    with pytest.raises(InvalidInput, match="no crops"):
        crops()
