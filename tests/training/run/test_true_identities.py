"""A run that was given true identities says so, and so does everything that comes from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_run import ONE_STEP, TINY

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from service.model.manifest import read_manifest
from training.core.checkpoint import load_checkpoint
from training.core.config import read_config
from training.core.distributed import World
from training.data.datasets import DataSource, read_dataset
from training.export.card import CARD_NAME
from training.export.model_folder import ExportOptions, export_model
from training.hhcl.loop import run
from training.networks.provenance import identity_labels, labels_behind
from training.run.setup import read_crops
from training.run.true_identities import reveal_identities
from training.synthetic.dataset import NOTE

CPU = torch.device("cpu")
REAL = "of real people"
TRAINING = Path(__file__).resolve().parents[3] / "training"


def config(**changes):
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return read_config(None, TINY | ONE_STEP | changed)


@pytest.fixture(scope="module")
def street(drawn, tmp_path_factory) -> Path:
    """The drawn people as if they were real ones."""
    folder = shutil.copytree(drawn, tmp_path_factory.mktemp("real") / "street")
    (folder / NOTE).unlink()
    return folder


@pytest.fixture(scope="module")
def ceiling(street, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ceiling"
    return run(config(data__path=str(street)), folder, CPU, true_identities=True).parent


def crops_of(*sites: Path, **changes):
    settings = config(data__path=str(sites[0]), data__also=tuple(map(str, sites[1:])), **changes)
    return read_crops(settings, Path(), World(CPU))


def test_every_person_is_a_cluster(street, ceiling):
    (line,) = map(json.loads, (ceiling / "metrics.jsonl").read_text().splitlines())
    people = {sample.identity for sample in read_dataset(DataSource(street)).train}
    assert line["clusters"]["clusters"] == len(people) == 12
    assert line["clusters"]["nmi"] == pytest.approx(1)
    assert line["clusters"]["outliers"] == 0


def test_without_the_argument_identities_are_not_revealed(street):
    assert crops_of(street).revealed is None


def test_people_of_two_sites_are_different_people(street, tmp_path):
    other = shutil.copytree(street, tmp_path / "yard")
    crops = reveal_identities(crops_of(street, other))
    assert crops.revealed.dtype == np.int64
    assert set(crops.revealed) == set(range(24))
    first = crops.sites == 0
    assert set(crops.revealed[first]).isdisjoint(crops.revealed[~first])


def test_synthetic_people_keep_their_place_beside_revealed_ones(street, drawn, tmp_path):
    settings = config(data__path=str(street), data__synthetic=(str(drawn),))
    checkpoint = load_checkpoint(run(settings, tmp_path / "run", CPU, true_identities=True))
    assert checkpoint.identity_labels == REAL
    assert checkpoint.line["clusters"]["clusters"] == 12
    assert checkpoint.line["clusters"]["nmi"] == pytest.approx(1)


def test_every_descendant_says_so_and_cards_say_it_first(ceiling, street, drawn, tmp_path):
    assert load_checkpoint(ceiling).identity_labels == REAL
    plain = config(data__path=str(street), model__weights=str(ceiling))
    second = run(plain, tmp_path / "second", CPU)
    third = config(data__synthetic=(str(drawn),), model__weights=str(second))
    assert identity_labels(third) == REAL  # not "of synthetic people only"

    checkpoint = load_checkpoint(second)
    export_model(checkpoint, [], tmp_path / "model", ExportOptions("model"))
    manifest = read_manifest(tmp_path / "model")
    assert (checkpoint.identity_labels, manifest.identity_labels) == (REAL, REAL)
    assert manifest.training_data == "street: its training crops"
    card = (tmp_path / "model" / CARD_NAME).read_text()
    assert card.startswith("# model\n\n**Identity labels of real people were used")
    assert labels_behind(tmp_path / "model") == REAL  # which adapting asks


def test_labels_cannot_be_slipped_into_a_run_that_has_none(street, tmp_path):
    settings = config(data__path=str(street))
    run(settings, tmp_path / "run", CPU)
    with pytest.raises(InvalidInput, match="holds a run without true identities"):
        run(settings, tmp_path / "run", CPU, resume=True, true_identities=True)
    assert load_checkpoint(tmp_path / "run").identity_labels == "none"


@pytest.mark.parametrize("true_identities", [True, False])
def test_a_resumed_run_still_says_so(ceiling, street, tmp_path, true_identities):
    again = shutil.copytree(ceiling, tmp_path / "again")
    settings = config(data__path=str(street))
    run(settings, again, CPU, resume=True, true_identities=true_identities)
    assert load_checkpoint(again).identity_labels == REAL


def test_every_crop_needs_an_identity(street, drawn, tmp_path):
    nameless = tmp_path / "nameless" / "entrance"
    nameless.mkdir(parents=True)
    for place, file in enumerate(sorted((street / "bounding_box_train").iterdir())):
        shutil.copy(file, nameless / f"{place}.jpg")
    layout = {"data__layout": "folders", "data__pattern": "{camera}/{name}"}
    with pytest.raises(InvalidInput, match=r"72 of 72 training crops have no identity, .*jpg"):
        reveal_identities(crops_of(nameless.parent, **layout))
    alone = read_crops(config(data__synthetic=(str(drawn),)), Path(), World(CPU))
    with pytest.raises(InvalidInput, match="no unlabelled crops"):
        reveal_identities(alone)


def test_no_command_of_the_product_reveals_identities():
    users = [file for file in TRAINING.rglob("*.py") if "true_identities=" in file.read_text()]
    assert users == []
