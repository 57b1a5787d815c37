"""Every shipped model names its licence and origins, and what it may be used for."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from service.model.detector_manifest import read_detector_manifest
from service.model.manifest import kind_of, read_manifest

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted(folder for folder in (ROOT / "models").iterdir() if folder.is_dir())
MODELS = [folder for folder in SHIPPED if kind_of(folder) == "embedding"]
DETECTOR = ROOT / "models" / "nanodet-person"
PERMISSIVE = {"Apache-2.0", "MIT", "BSD-3-Clause", "CC0-1.0"}
NON_COMMERCIAL = ("smplx", "smpl")


def rows(card):
    return [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in card.partition("## Origins and licences")[2].splitlines()
        if line.startswith("| ") and "---" not in line
    ][1:]


@pytest.mark.parametrize("model", MODELS, ids=lambda folder: folder.name)
def test_a_shipped_model_states_licence_data_and_whose_labels_it_saw(model):
    manifest = read_manifest(model)
    card = (model / "CARD.md").read_text()
    assert manifest.licence
    assert manifest.training_data
    assert f"identity labels: {manifest.identity_labels}" in card
    assert "## Licence" in card
    assert "## Origins" in card


@pytest.mark.parametrize("model", SHIPPED, ids=lambda folder: folder.name)
def test_every_asset_on_a_card_has_a_licence_and_a_place(model):
    assets = rows((model / "CARD.md").read_text())
    assert all(len(asset) == 3 and all(asset) for asset in assets)


def test_the_detector_is_free_and_carries_the_texts_of_its_licences():
    manifest, card = read_detector_manifest(DETECTOR), (DETECTOR / "CARD.md").read_text()
    assert manifest.licence
    assert manifest.licence.startswith("Apache-2.0")
    assert manifest.training_data
    assert "## Licence" in card
    assert {licence for _, licence, _ in rows(card)} == {"Apache-2.0", "MIT"}
    apache, mit = (
        (DETECTOR / f"LICENSE-{name}").read_text() for name in ("nanodet", "human-models")
    )
    assert apache.startswith("Copyright 2020-2021 RangiLyu. All rights reserved.")
    assert "END OF TERMS AND CONDITIONS" in apache
    assert mit.startswith("MIT License\n\nCopyright (c) 2021 Vladimir Mandic")
    assert "Permission is hereby granted" in mit


def test_the_notice_of_the_detector_says_what_was_changed_and_by_whose_licence():
    notice = " ".join((DETECTOR / "NOTICE").read_text().split())
    for part in (
        "model.onnx is a modified copy of the NanoDet-g",
        "Copyright 2020-2021 RangiLyu",
        "Copyright (c) 2021 Vladimir Mandic",
        "(LICENSE-nanodet)",
        "(LICENSE-human-models)",
        "Changes: converted from TensorFlow.js",
    ):
        assert part in notice


def test_the_free_model_has_seen_no_real_persons_label_and_nothing_unfree():
    model = ROOT / "models" / "hhcl-synthetic"
    manifest = read_manifest(model)
    assert manifest.identity_labels == "of synthetic people only"
    assert manifest.recipe["data"]["path"] == ""
    assert manifest.recipe["data"]["also"] == []
    assert manifest.licence
    assert manifest.licence.startswith("Apache-2.0")
    assert manifest.calibration
    assert "pku" not in manifest.calibration.data
    assert "cuhk" not in manifest.calibration.data
    assets = rows((model / "CARD.md").read_text())
    assert len(assets) >= 5
    assert {licence for _, licence, _ in assets} <= PERMISSIVE


def test_packages_still_have_the_licences_that_the_card_names():
    card = rows((ROOT / "models" / "hhcl-synthetic" / "CARD.md").read_text())
    named = {what.split(" ")[0].rstrip(","): licence for what, licence, _ in card}
    for package in ("anny", "warp-lang"):
        try:
            found = distribution(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed: pip install '.[training,people]'")
        texts = [str(found.metadata.get("License") or "")]
        texts += [
            Path(str(found.locate_file(file))).read_text(errors="replace")
            for file in found.files or ()
            if Path(str(file)).name.upper().startswith("LICENSE")
        ]
        assert named[package] == "Apache-2.0"
        assert any("Apache" in text for text in texts)


def test_no_code_asks_for_a_topology_that_is_for_non_commercial_use():
    sources = (ROOT / "training").rglob("*.py")
    asked = re.compile(r"topology=[\"'](\w+)[\"']")
    topologies = {name for source in sources for name in asked.findall(source.read_text())}
    assert topologies == {"anny"}
    assert not topologies & set(NON_COMMERCIAL)
