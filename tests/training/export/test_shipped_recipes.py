"""A shipped model came from the recipe that its config file states."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

from service.model.manifest import read_manifest
from training.core.config import parse_config, read_config

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("hhcl-mobilenetv2", "hhcl-mobilenetv2.toml"),
        ("hhcl-synthetic", "pretrain-mobilenetv2.toml"),
    ],
)
def test_the_manifest_repeats_the_config(model, config):
    recipe = parse_config(read_manifest(ROOT / "models" / model).recipe, model)
    weights = {"model.weights": recipe.model.weights}
    stated = read_config(ROOT / "training/configs" / config, weights)
    named = {"data", "seed"}  # given on the command line, as the weights are
    differing = {
        section: (value, getattr(stated, section))
        for section, value in vars(recipe).items()
        if section not in named and value != getattr(stated, section)
    }
    assert differing == {}
