"""A finished model's threshold and probabilities are fitted on data of one's own."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidInput
from service.model.contract import check_model
from service.model.manifest import read_manifest, write_manifest
from training.data.entries import DataError
from training.data.times import read_times
from training.export.card import CARD_NAME, format_card, update_card
from training.measure.calibration import calibrate_without_labels, count_cosines
from training.measure.cannot_match import Apart, count_apart, parse_apart

CommandLine = Callable[..., tuple[int, str, str]]


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """The exported model without any figure."""
    folder = shutil.copytree(exported, tmp_path / "model")
    manifest = read_manifest(folder)
    bare = manifest.model_copy(update={"accuracy": (), "calibration": None})
    write_manifest(folder, bare)
    (folder / CARD_NAME).write_text(format_card(bare, "## Limits\n\nDrawn only."))
    return folder


def timed(drawn: Path, folder: Path, *, seconds: str = "{}", **more: str) -> Path:
    """A manifest of the drawn people: every crop of a camera has a time, and no identity."""
    crops = sorted((drawn / "bounding_box_test").glob("*.jpg"))
    file = folder / "manifest.csv"
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["path", "camera", "timestamp", *more])
        for number, crop in enumerate(crops):
            camera = "gate" if "c1" in crop.name else "yard"
            rows.writerow(
                [crop, camera, seconds.format(1_700_000_000 + number // 8), *more.values()]
            )
    return file


def test_labelled_pairs_give_what_an_export_gives(
    training: CommandLine, model: Path, exported: Path, drawn: Path
) -> None:
    status, out, err = training("calibrate", "--model", model, "--data", drawn)
    assert status == 0, err
    found, wanted = read_manifest(model), read_manifest(exported)
    assert found.calibration == wanted.calibration
    assert found.accuracy == wanted.accuracy
    assert out.splitlines()[-1] == f"calibrated: {model}"
    assert check_model(model) == []
    assert (model / CARD_NAME).read_text() == format_card(found, "## Limits\n\nDrawn only.")


def test_a_stricter_rate_gives_a_higher_threshold(
    training: CommandLine, model: Path, drawn: Path
) -> None:
    thresholds = []
    for rate in (0.1, 0.001):
        words = ("calibrate", "--model", model, "--data", drawn, "--false-match-rate", rate)
        assert training(*words)[0] == 0
        calibration = read_manifest(model).calibration
        assert calibration
        assert calibration.false_match_rate <= rate
        thresholds.append(calibration.threshold)
    assert thresholds[0] < thresholds[1]


def test_crops_at_one_time_give_a_threshold_and_no_probability(
    training: CommandLine, model: Path, drawn: Path, tmp_path: Path
) -> None:
    manifest = timed(drawn, tmp_path)
    words = ("calibrate", "--model", model, "--unlabelled", manifest, "--apart", "gate,yard")
    status, out, err = training(*words, "--false-match-rate", 0.05)
    assert status == 0, err
    found = read_manifest(model).calibration
    assert found
    assert (found.slope, found.intercept, found.true_match_rate) == (None, None, None)
    assert found.genuine_pairs == 0
    assert found.impostor_pairs > 20
    assert 0 < found.false_match_rate <= 0.05
    assert found.probability(0.5) is None
    assert "gate and yard" in found.data
    assert "without labels" in found.data
    assert '"slope": null' in out
    card = " ".join((model / CARD_NAME).read_text().split())
    assert "No labels were used." in card
    assert "Drawn only." in card
    assert "P(same identity)" not in card
    assert check_model(model) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "give either --data, or --unlabelled with --apart"),
        (("--data", "DRAWN", "--unlabelled", "M"), "give either --data"),
        (("--data", "DRAWN", "--apart", "all"), "give either --data"),
        (("--unlabelled", "M"), "--unlabelled needs --apart"),
        (("--unlabelled", "M", "--apart", "gate"), "must be two cameras with a comma, or all"),
        (("--unlabelled", "M", "--apart", "gate,gate"), "must be two cameras"),
        (("--unlabelled", "M", "--apart", "gate,hall"), "the cameras are gate, yard"),
        (("--unlabelled", "M", "--apart", "all", "--within", "-1"), "within -1: must be 0"),
        (
            ("--unlabelled", "M", "--apart", "all", "--false-match-rate", "0.0001"),
            "needs at least 10,000",
        ),
    ],
)
def test_what_allows_no_calibration_is_refused(
    training: CommandLine,
    model: Path,
    drawn: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    reason: str,
) -> None:
    places = {"DRAWN": drawn, "M": timed(drawn, tmp_path)}
    before = (model / "manifest.json").read_bytes()
    status, out, err = training(
        "calibrate", "--model", model, *(places.get(word, word) for word in words)
    )
    assert (status, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1
    assert (model / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("seconds", "more", "reason"),
    [
        ("noon", {}, "line 2: column timestamp: 'noon' is not a time"),
        ("{}", {"zone": "Europe/Berlin"}, "line 2: column zone is not read here"),
    ],
)
def test_times_that_cannot_be_read_are_named(
    drawn: Path, tmp_path: Path, seconds: str, more: dict[str, str], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        read_times(timed(drawn, tmp_path, seconds=seconds, **more))


def test_a_manifest_without_times_is_refused(
    training: CommandLine, model: Path, drawn: Path, tmp_path: Path
) -> None:
    words = ("calibrate", "--model", model, "--apart", "all", "--unlabelled")
    status, _, err = training(*words, timed(drawn, tmp_path, seconds=""))
    assert status == 2
    assert "no crop has a time in the column timestamp" in err
    (tmp_path / "manifest.csv").write_text("path,camera\na.jpg,gate\n")
    (tmp_path / "a.jpg").write_bytes(b"")
    status, _, err = training(*words, tmp_path / "manifest.csv")
    assert status == 2
    assert "the header lacks timestamp" in err


def test_only_pairs_at_one_time_by_cameras_apart_are_counted() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(60, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cameras = rng.integers(0, 3, 60)
    times = rng.integers(0, 20, 60).astype(float)
    apart = Apart(frozenset({(0, 2)}), 2.0)
    cosines = [
        rows[i] @ rows[j]
        for i in range(60)
        for j in range(i)
        if {cameras[i], cameras[j]} == {0, 2} and abs(times[i] - times[j]) <= 2
    ]
    found = count_apart(rows, cameras, times, apart)
    np.testing.assert_array_equal(found, count_cosines(np.array(cosines, np.float32)))
    assert found.sum() > 50


def test_all_means_every_pair_of_two_cameras() -> None:
    assert parse_apart(["all"], "abc", 1.0).cameras == {(0, 1), (0, 2), (1, 2)}
    assert parse_apart(["c,a", "a, b"], "abc", 1.0).cameras == {(0, 2), (0, 1)}


def test_a_threshold_without_labels_meets_its_rate() -> None:
    cosines = np.linspace(-0.5, 0.5, 2000, dtype=np.float32)
    found = calibrate_without_labels(count_cosines(cosines), "x", false_match_rate=0.05)
    assert found.false_match_rate == np.mean(cosines >= found.threshold - 1e-6) <= 0.05
    assert found.threshold == pytest.approx(0.45, abs=1e-3)
    with pytest.raises(
        InvalidInput, match="2,000 pairs that cannot match; a false match rate of 0"
    ):
        calibrate_without_labels(count_cosines(cosines), "x", false_match_rate=0.0)


def test_a_card_gets_new_figures_and_keeps_its_words(exported: Path, tmp_path: Path) -> None:
    manifest = read_manifest(exported)
    bare = manifest.model_copy(update={"accuracy": (), "calibration": None})
    card = tmp_path / CARD_NAME
    card.write_text(format_card(bare, "## Limits\n\nDrawn only."))
    update_card(tmp_path, manifest)
    assert card.read_text() == format_card(manifest, "## Limits\n\nDrawn only.")
    card.write_text("# Mine\n\nA card of my own.\n")
    update_card(tmp_path, manifest)
    text = card.read_text()
    assert text.startswith("# Mine\n\nA card of my own.\n\n## Accuracy\n")
    assert text.count("## Scores") == 1
    card.unlink()
    update_card(tmp_path, manifest)
    assert card.read_text() == format_card(manifest)
