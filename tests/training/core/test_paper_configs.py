"""The papers' recipes: every published constant, and a short run on the intended layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core import transforms
from training.core.config import TrainConfig, read_config
from training.core.engine import build_optimiser
from training.data.datasets import DataSource, read_dataset
from training.hhcl.loop import run
from training.run.state import RunState

CONFIGS = Path(__file__).resolve().parents[3] / "training/configs"
CPU = torch.device("cpu")
# What makes a run quick: network, size and length. Nothing of the method.
QUICK = {
    "model.backbone": "resnet18",
    "model.weights": "none",
    "model.height": 64,
    "model.width": 32,
    "schedule.epochs": 1,
    "schedule.iterations": 2,
}

HHCL = {
    "method": "hhcl",
    "model.backbone": "resnet50",
    "model.weights": "default",  # torchvision's, ImageNet-1k V1
    "model.last_stride": 1,
    "model.pooling": "average",
    "model.height": 256,
    "model.width": 128,
    "augment.flip": 0.5,
    "augment.padding": 10,
    "augment.erasing": 0.5,
    "augment.brightness": 0.0,
    "augment.contrast": 0.0,
    "augment.saturation": 0.0,
    "augment.hue": 0.0,
    "augment.greyscale": 0.0,
    "augment.style_mixing": 0.0,
    "clustering.scheme": "dbscan",
    "clustering.k1": 30,
    "clustering.k2": 6,
    "clustering.eps": 0.45,
    "clustering.min_samples": 4,
    "clustering.tracks": False,
    "clustering.frames": False,
    "memory.kind": "hybrid",
    "memory.weighting": "released",
    "memory.temperature": 0.05,
    "memory.momentum": 0.1,
    "memory.negatives": "all",
    "memory.smoothing": False,
    "memory.camera_entropy": False,
    "memory.proxy_weight": 0.0,
    "batch.clusters": 16,
    "batch.crops": 16,
    "batch.ghost_group": 64,  # 256 images on four GPUs
    "schedule.optimiser": "adam",
    "schedule.epochs": 60,
    "schedule.iterations": 200,
    "schedule.learning_rate": 3.5e-4,
    "schedule.weight_decay": 5e-4,
    "schedule.step": 20,
    "schedule.decay": 0.1,
    "warmup.epochs": 0,
    "seed": 1,
}
SCL = {
    "method": "scl",
    "model.backbone": "resnet50",
    "model.weights": "default",
    "model.last_stride": 1,
    "model.height": 256,
    "model.width": 128,
    "augment.flip": 0.5,
    "augment.padding": 0,
    "augment.erasing": 0.0,
    "augment.brightness": 0.0,
    "augment.contrast": 0.0,
    "augment.saturation": 0.0,
    "augment.hue": 0.0,
    "augment.greyscale": 0.0,
    "augment.style_mixing": 0.0,
    "selective.stripes": 8,
    "selective.global_size": 2048,
    "selective.local_size": 256,
    "selective.batch": 8,
    "selective.positives": 7,
    "selective.negatives": 500,
    "selective.temperature": 0.1,  # t = 10
    "selective.global_weight": 0.5,
    "selective.camera_weight": 0.05,
    "selective.self_weight": 0.5,
    "selective.positive_weight": 1.75,
    "selective.local_weight": 0.5,
    "selective.warmup_epochs": 3,
    "selective.bank_momentum": 0.5,
    "schedule.optimiser": "sgd",
    "schedule.epochs": 50,
    "schedule.iterations": 0,  # all crops
    "schedule.learning_rate": 1e-3,
    "schedule.weight_decay": 5e-4,
    "warmup.epochs": 0,
}
PUBLISHED = {
    "hhcl-market1501": HHCL,
    "hhcl-msmt17": HHCL | {"clustering.eps": 0.7, "schedule.iterations": 300},
    "scl-market1501": SCL,
}
# Learning rates by epoch, from 0.
HHCL_RATES = {0: 3.5e-4, 19: 3.5e-4, 20: 3.5e-5, 39: 3.5e-5, 40: 3.5e-6, 59: 3.5e-6}
RATES = {
    "hhcl-market1501": HHCL_RATES,
    "hhcl-msmt17": HHCL_RATES,
    "scl-market1501": {0: 1e-3, 49: 1e-3},
}


def parsed(name: str, **changes: Any) -> TrainConfig:
    file = CONFIGS / f"{name}.toml"
    if not file.is_file():
        pytest.skip(f"there is no config {file.name} yet")
    return read_config(file, changes)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= (
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return values


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_constant(name):
    values = flat(parsed(name).as_dict())
    assert {key: values[key] for key in PUBLISHED[name]} == PUBLISHED[name]


def test_the_defaults_are_the_market_recipe():
    given, default = parsed("hhcl-market1501").as_dict(), TrainConfig().as_dict()
    assert given.pop("data") | {"layout": "auto"} == default.pop("data")
    # What a manifest says of tracks and frames is used unless a recipe is a paper's.
    given["clustering"] |= {"tracks": True, "frames": True}
    assert given == default


@pytest.mark.parametrize("name", PUBLISHED)
def test_optimiser_and_learning_rates(name):
    config, network = parsed(name), torch.nn.Linear(2, 2)
    schedule = config.schedule
    optimiser = build_optimiser(network, schedule, CPU)
    kind, momentum = {"adam": (torch.optim.Adam, None), "sgd": (torch.optim.SGD, 0.9)}[
        schedule.optimiser
    ]
    assert type(optimiser) is kind
    assert optimiser.defaults["weight_decay"] == 5e-4
    if momentum:
        assert (optimiser.defaults["momentum"], optimiser.defaults["nesterov"]) == (momentum, True)
    state = RunState.begin(network, optimiser, config, None)
    used = []
    for epoch in range(1, schedule.epochs + 1):
        used.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        assert state.finish_epoch(epoch, 1.0, config).line["learning_rate"] == used[-1]
    assert [used[epoch] for epoch in RATES[name]] == pytest.approx([*RATES[name].values()])


def test_constants_that_are_not_options():
    assert transforms.IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert transforms.IMAGENET_STD == (0.229, 0.224, 0.225)


@pytest.fixture(scope="session")
def msmt17(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn people in the folders and names of MSMT17."""
    root = tmp_path_factory.mktemp("msmt17") / "MSMT17_V1"
    dataset = read_dataset(DataSource(drawn))
    train = sorted({sample.identity for sample in dataset.train})
    held_out = sorted({s.identity for s in (*dataset.query, *dataset.gallery)} - {0})
    parts = {
        "train": ("train", [s for s in dataset.train if s.identity in train[:-3]], train),
        "val": ("train", [s for s in dataset.train if s.identity in train[-3:]], train),
        "query": ("test", dataset.query, held_out),
        "gallery": ("test", dataset.gallery, held_out),
    }
    for part, (folder, samples, people) in parts.items():
        lines = []
        for index, sample in enumerate(samples):
            who, camera = people.index(sample.identity), sample.camera + 1
            file = f"{who:04d}/{who:04d}_{index:03d}_{camera:02d}_0303morning_0020_{part}.jpg"
            (root / folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sample.path, root / folder / file)
            lines.append(f"{file} {who}")
        (root / f"list_{part}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_runs_on_the_layout_it_is_for(name, drawn, msmt17, tmp_path):
    folder = {"market1501": drawn, "msmt17": msmt17}[name.split("-")[1]]
    settings = parsed(name, **QUICK | {"data.path": str(folder)})
    assert settings.data.layout in {"auto", name.split("-")[1]}
    changed = flat(settings.as_dict()).items() - flat(parsed(name).as_dict()).items()
    assert {key for key, _ in changed} <= {*QUICK, "data.path"}
    run(settings, tmp_path / "run", CPU)
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    measured = json.loads(line)
    assert measured["loss"] > 0
    assert measured["learning_rate"] == pytest.approx(PUBLISHED[name]["schedule.learning_rate"])
    assert 0 < measured["map"]["market1501"] <= 1
    if name.startswith("hhcl"):
        assert measured["clusters"]["clusters"] >= 2


def test_the_drawn_msmt17_has_what_the_real_one_has(msmt17, drawn):
    dataset, source = (read_dataset(DataSource(folder)) for folder in (msmt17, drawn))
    assert dataset.layout == "msmt17"
    assert len(dataset.train) == len(source.train)
    assert len(dataset.query) == len(source.query)
    assert dataset.cameras == ("1", "2")
