"""Settings come from the environment, and errors name the wrong value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, unknown_variables


def test_every_setting_has_a_default_and_a_description():
    Settings()
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_a_variable_sets_its_field(monkeypatch):
    monkeypatch.setenv("REID_MODEL", "elsewhere/model")
    monkeypatch.setenv("REID_MAX_BATCH", "8")
    settings = Settings()
    assert (settings.model, settings.max_batch) == (Path("elsewhere/model"), 8)
    assert Settings(max_batch=4).max_batch == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 70_000), ("device", "tpu"), ("top_k", 0), ("max_batch", "x"), ("nothing", 1)],
)
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})


def test_the_queue_must_fit_a_full_request():
    with pytest.raises(ValidationError, match="max_queue 10 is below max_images 64"):
        Settings(max_queue=10)


def test_misspelt_variables_are_found():
    environment = {"REID_PORT": "1", "REID_PROT": "1", "reid_data": "x", "PATH": "/bin"}
    assert unknown_variables(environment) == ["REID_PROT"]
