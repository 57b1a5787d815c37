"""The config tree: defaults are the paper's, and errors name the key or value."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import InvalidInput
from training.core.config import TrainConfig, parse_config, read_config

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "training/configs").glob("*.toml"))


def test_defaults_are_the_market_recipe():
    config = TrainConfig()
    assert (config.model.backbone, config.model.pooling, config.model.last_stride) == (
        "resnet50",
        "average",
        1,
    )
    assert (config.model.height, config.model.width) == (256, 128)
    assert (config.clustering.eps, config.clustering.k1, config.clustering.k2) == (0.45, 30, 6)
    assert (config.batch.clusters, config.batch.crops, config.batch.ghost_group) == (16, 16, 64)
    assert (config.memory.temperature, config.memory.momentum) == (0.05, 0.1)
    assert (config.memory.weighting, config.memory.negatives) == ("released", "all")
    assert (config.schedule.epochs, config.schedule.iterations, config.schedule.step) == (
        60,
        200,
        20,
    )
    augment = config.augment
    assert (augment.flip, augment.padding, augment.erasing) == (0.5, 10, 0.5)
    assert augment.brightness == augment.contrast == augment.saturation == augment.hue == 0
    assert augment.greyscale == 0


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_shipped_configs_are_valid(file):
    read_config(file, {})


def test_overrides_are_read_as_values():
    config = read_config(None, {"schedule.epochs": "3", "model.weights": "none", "seed": 7})
    assert (config.schedule.epochs, config.model.weights, config.seed) == (3, "none", 7)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schedule.epoch", "3", r"schedule\.epoch"),
        ("schedule.epochs", "0", "greater than or equal to 1"),
        ("model.backbone", "vgg", "mobilenet_v2"),
        ("clustering.eps", "1.5", "less than 1"),
        ("nonsense", "1", "nonsense"),
        ("seed.x", "1", "seed"),
    ],
)
def test_the_error_names_the_wrong_key_or_value(key, value, message):
    with pytest.raises(InvalidInput, match=message):
        read_config(None, {key: value})


def test_an_unreadable_file_is_a_clear_error(tmp_path):
    with pytest.raises(InvalidInput, match="No such file"):
        read_config(tmp_path / "missing.toml", {})
    broken = tmp_path / "broken.toml"
    broken.write_text("= 1")
    with pytest.raises(InvalidInput, match=r"broken\.toml"):
        read_config(broken, {})


def test_a_config_survives_a_round_trip():
    config = read_config(None, {"clustering.scheme": "camera-link"})
    assert parse_config(config.as_dict(), "checkpoint") == config
