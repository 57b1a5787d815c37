"""Every model in models/ is fit to ship."""

from pathlib import Path

import pytest

from service.model.contract import check_model
from service.model.manifest import MANIFEST_NAME, read_manifest

MODELS = Path(__file__).resolve().parents[2] / "models"
FOLDERS = sorted(folder for folder in MODELS.glob("[!.]*") if folder.is_dir())
LIMIT = 15_000_000  # bytes, because the repository contains it

shipped = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_models_is_not_a_package() -> None:
    # A package of that name would shadow others, such as YOLOv5's.
    assert list(MODELS.rglob("*.py*")) == []


@shipped
def test_a_model_is_three_files(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {MANIFEST_NAME, "model.onnx", "CARD.md"}


@shipped
def test_the_network_matches_the_manifest(folder: Path) -> None:
    manifest = read_manifest(folder)  # verifies the hash
    assert manifest.name == folder.name
    assert (folder / manifest.file).stat().st_size < LIMIT


@shipped
def test_the_service_finds_no_broken_rule(folder: Path) -> None:
    assert check_model(folder) == []


@shipped
def test_the_model_is_measured_calibrated_and_licensed(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.accuracy
    assert manifest.calibration
    assert manifest.training_data
    assert manifest.licence
    assert manifest.recipe


@shipped
def test_the_card_describes_this_network(folder: Path) -> None:
    card, manifest = (folder / "CARD.md").read_text(encoding="utf-8"), read_manifest(folder)
    assert manifest.sha256 in card
    assert "finite sum" in card
    for line in manifest.accuracy:
        assert f"{100 * line.map:.1f}" in card


@shipped
def test_no_path_of_a_machine_is_shipped(folder: Path) -> None:
    recipe = read_manifest(folder).recipe
    for value in (recipe["data"]["path"], recipe["model"]["weights"]):
        assert "/" not in value
        assert "\\" not in value
