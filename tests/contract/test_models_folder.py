"""Every model in models/ is fit to ship."""

from pathlib import Path

import pytest

from service.model.contract import check_model
from service.model.detector_manifest import read_detector_manifest
from service.model.manifest import MANIFEST_NAME, kind_of, read_manifest

MODELS = Path(__file__).resolve().parents[2] / "models"
FOLDERS = sorted(folder for folder in MODELS.glob("[!.]*") if folder.is_dir())
EMBEDDING = [folder for folder in FOLDERS if kind_of(folder) == "embedding"]
DETECTORS = [folder for folder in FOLDERS if kind_of(folder) == "person-detector"]
LIMIT = 15_000_000  # bytes, because the repository contains it
FILES = {MANIFEST_NAME, "model.onnx", "CARD.md"}
NOTICES = {"NOTICE", "LICENSE-nanodet", "LICENSE-human-models"}

shipped = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
embedding = pytest.mark.parametrize("folder", EMBEDDING, ids=lambda folder: folder.name)
detector = pytest.mark.parametrize("folder", DETECTORS, ids=lambda folder: folder.name)


def test_models_is_not_a_package() -> None:
    # A package of that name would shadow others, such as YOLOv5's.
    assert list(MODELS.rglob("*.py*")) == []


def test_both_kinds_are_shipped() -> None:
    assert EMBEDDING
    assert DETECTORS


@embedding
def test_a_model_of_ours_is_three_files(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == FILES


@detector
def test_a_model_of_others_ships_their_notices(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == FILES | NOTICES


@shipped
def test_the_network_matches_the_manifest(folder: Path) -> None:
    read = read_manifest if folder in EMBEDDING else read_detector_manifest
    manifest = read(folder)  # verifies the hash
    assert manifest.name == folder.name
    assert (folder / manifest.file).stat().st_size < LIMIT


@shipped
def test_the_service_finds_no_broken_rule(folder: Path) -> None:
    assert check_model(folder) == []


@embedding
def test_the_model_is_measured_calibrated_and_licensed(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest.accuracy
    assert manifest.calibration
    assert manifest.training_data
    assert manifest.licence
    assert manifest.recipe


@embedding
def test_the_card_describes_this_network(folder: Path) -> None:
    card, manifest = (folder / "CARD.md").read_text(encoding="utf-8"), read_manifest(folder)
    assert manifest.sha256 in card
    assert "finite sum" in card
    for line in manifest.accuracy:
        assert f"{100 * line.map:.1f}" in card


@detector
def test_the_card_describes_this_detector(folder: Path) -> None:
    manifest = read_detector_manifest(folder)
    card = (folder / "CARD.md").read_text(encoding="utf-8")
    assert manifest.sha256 in card
    assert f"score above {manifest.score}" in card
    assert f"IoU of {manifest.iou}" in card
    assert f"{manifest.smallest} pixels of the network's input" in card
    assert manifest.training_data
    assert manifest.source


@embedding
def test_no_path_of_a_machine_is_shipped(folder: Path) -> None:
    recipe = read_manifest(folder).recipe
    for value in (recipe["data"]["path"], recipe["model"]["weights"]):
        assert "/" not in value
        assert "\\" not in value
