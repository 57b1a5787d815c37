"""Options of the other method are refused, by new runs only; shipped configs set none."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.core.checkpoint import Checkpoint, save_checkpoint
from training.core.config import TrainConfig, read_config
from training.hhcl import loop as hhcl
from training.run.ignored import refuse_ignored
from training.run.setup import saved_checkpoint
from training.scl import loop as scl

SOFT = {
    "clustering.scheme": "camera-link",
    "clustering.links": "soft",
    "clustering.link_first": 0.0,
    "clustering.link_last": 0.5,
    "memory.proxy_weight": 0.5,
}
CONFIGS = sorted((Path(__file__).resolve().parents[3] / "training/configs").glob("*.toml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_shipped_configs_set_nothing_that_is_ignored(file):
    refuse_ignored(read_config(file, {}))


@pytest.mark.parametrize("method", ["hhcl", "scl"])
def test_defaults_and_options_set_to_them_are_no_options_of_the_other_method(method):
    own = {"selective.batch": 8, "memory.temperature": 0.05, "clustering.eps": 0.45}
    refuse_ignored(read_config(None, {"method": method} | own))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"method": "scl", "memory.temperature": 0.1}, "memory.temperature = 0.1"),
        ({"method": "scl", "clustering.scheme": "infomap"}, "clustering.scheme = 'infomap'"),
        ({"method": "scl", "batch.ghost_group": 32}, "batch.ghost_group = 32"),
        ({"selective.positives": 3}, "selective.positives = 3"),
        (
            {"selective.batch": 16, "selective.warmup_epochs": 0},
            "selective.batch = 16, selective.warmup_epochs = 0",
        ),
    ],
)
def test_a_new_run_names_the_options_that_its_method_ignores(tmp_path, changes, named):
    config = read_config(None, {"data.path": "x", "model.weights": "none"} | changes)
    run = {"hhcl": hhcl.run, "scl": scl.run}[config.method]
    with pytest.raises(InvalidInput) as caught:
        run(config, tmp_path / "run", torch.device("cpu"))
    assert str(caught.value).startswith(f"{named}: method = '{config.method}' has no use for")


def test_an_older_run_with_such_options_goes_on(tmp_path):
    config: TrainConfig = read_config(None, {"selective.positives": 3})
    save_checkpoint(tmp_path, Checkpoint(1, config, {}, {}, {}))
    assert saved_checkpoint(config, tmp_path, resume=True).epoch == 1


def test_hhcl_without_batches_is_refused(tmp_path):
    config = read_config(None, {"data.path": "x", "schedule.iterations": 0})
    with pytest.raises(InvalidInput, match=r"schedule\.iterations = 0"):
        hhcl.run(config, tmp_path / "run", torch.device("cpu"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clustering.left_out": 30}, "clustering.left_out = 30: clustering.links = 'hard'"),
        (
            {"clustering.soft_partners": 3, "clustering.dustbin": 0.2},
            "clustering.soft_partners = 3, clustering.dustbin = 0.2: .* has no use for them",
        ),
        (SOFT | {"clustering.scheme": "dbscan"}, "clustering.scheme = 'dbscan' links no cameras"),
        (SOFT | {"memory.proxy_weight": 0}, "memory.proxy_weight must be above 0"),
    ],
)
def test_options_that_these_links_ignore_are_refused(changes, told):
    with pytest.raises(InvalidInput, match=told):
        refuse_ignored(read_config(None, changes))


def test_soft_links_with_all_that_they_need_are_accepted():
    refuse_ignored(read_config(None, SOFT | {"clustering.soft_partners": 3}))
