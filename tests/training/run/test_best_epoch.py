"""Which epoch's network is kept, also if a run was interrupted."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core.checkpoint import FILE_NAME, SELECTED_NAME, Checkpoint, load_checkpoint
from training.core.config import read_config
from training.run.best_epoch import best_line, keep_if_best, read_metrics, tell_best_epochs

LINES = [
    {"epoch": 1, "agreement": None, "map": {}},
    {"epoch": 2, "agreement": 0.5, "map": {"market1501": 0.4, "cross-camera": 0.1}},
    {"epoch": 3, "agreement": 0.7, "map": {"market1501": 0.3, "cross-camera": 0.9}},
    {"epoch": 4, "agreement": 0.7, "map": {"market1501": 0.4, "cross-camera": 0.4}},
]


def checkpoint(epoch: int, select: str) -> Checkpoint:
    config = read_config(None, {"evaluation.select": select, "schedule.epochs": 4})
    return Checkpoint(epoch, config, {"weight": torch.tensor(float(epoch))}, {"big": 1}, {})


def write(run, lines):
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(("select", "epoch"), [("last", 4), ("validation", 3), ("test", 2)])
def test_the_earliest_of_equally_good_epochs_is_the_best(select, epoch):
    assert best_line(LINES, select)["epoch"] == epoch
    assert best_line(LINES[:1], select) == (LINES[0] if select == "last" else None)


@pytest.mark.parametrize(("select", "kept"), [("validation", [2, 3, 3]), ("test", [2, 2, 2])])
def test_each_better_epoch_replaces_the_one_before(tmp_path, select, kept):
    found = []
    for epoch in (1, 2, 3, 4):
        write(tmp_path, LINES[:epoch])
        keep_if_best(tmp_path, checkpoint(epoch, select))
        if epoch > 1:
            found.append(load_checkpoint(tmp_path / SELECTED_NAME))
    assert [saved.epoch for saved in found] == kept
    assert [int(saved.network["weight"]) for saved in found] == kept
    assert found[0].optimiser == {}


def test_with_select_last_no_second_network_is_kept(tmp_path):
    write(tmp_path, LINES[:2])
    keep_if_best(tmp_path, checkpoint(2, "last"))
    assert not (tmp_path / SELECTED_NAME).exists()


def test_an_incomplete_line_of_an_interrupted_epoch_is_not_read(tmp_path):
    write(tmp_path, LINES[:2])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "agr')
    assert [line["epoch"] for line in read_metrics(tmp_path, 2)] == [1, 2]
    keep_if_best(tmp_path, checkpoint(2, "validation"))
    assert load_checkpoint(tmp_path / SELECTED_NAME).epoch == 2


def test_the_end_of_a_run_shows_first_best_and_last_epoch(tmp_path):
    for epoch in (1, 2, 3, 4):
        write(tmp_path, LINES[:epoch])
        keep_if_best(tmp_path, checkpoint(epoch, "test"))
    told = []
    tell_best_epochs(tmp_path, checkpoint(4, "test").config, told.append)
    second = "agreement 0.500 | market1501 mAP 40.0 | cross-camera mAP 10.0"
    third = "agreement 0.700 | market1501 mAP 30.0 | cross-camera mAP 90.0"
    fourth = "agreement 0.700 | market1501 mAP 40.0 | cross-camera mAP 40.0"
    assert told == [
        f"first measured: epoch 2 | {second}",
        f"best by validation: epoch 3 | {third}",
        f"last: epoch 4 | {fourth}",
        f"best by test data: epoch 2 | {second}",
        f"selected by test: {tmp_path / SELECTED_NAME}",
    ]
    write(tmp_path, LINES[:1])
    told.clear()
    tell_best_epochs(tmp_path, checkpoint(4, "test").config, told.append)
    (only,) = told
    assert "no epoch was measured by it" in only
    assert str(tmp_path / FILE_NAME) in only


def test_a_best_network_that_could_not_be_written_is_reported(tmp_path):
    write(tmp_path, LINES[:2])
    keep_if_best(tmp_path, checkpoint(2, "validation"))
    write(tmp_path, LINES)  # epoch 3 was better
    told = []
    tell_best_epochs(tmp_path, checkpoint(4, "validation").config, told.append)
    assert "selected by validation: epoch 3" in told[-1]
    assert "holds epoch 2" in told[-1]


def line(epoch: int, **figures: float | None) -> dict:
    """A line of two data sets under both protocols; names are written with underscores."""
    names = {name.replace("_", " ", 1).replace("_", "-"): value for name, value in figures.items()}
    return {"epoch": epoch, "agreement": None, "map": names}


def test_missing_measurements_do_not_count():
    lines = [
        line(1, north_market1501=0.1, south_market1501=None),
        line(2, north_market1501=0.3, south_market1501=None),
        line(3, north_market1501=None, south_market1501=None),
    ]
    assert best_line(lines, "test")["epoch"] == 2
    assert best_line(lines, "validation") is None
    assert best_line(lines[2:], "test") is None
    # A mean over fewer measurements may be easier, so it does not win.
    easier = line(4, north_market1501=0.2, south_market1501=0.2)
    assert best_line([*lines, easier], "test")["epoch"] == 4


def test_other_protocols_and_distances_do_not_count():
    lines = [
        line(1, north_market1501=0.3, north_cross_camera=0.1, south_market1501=0.3),
        line(2, north_market1501=0.2, north_cross_camera=0.9, south_market1501=0.2),
    ]
    lines[1]["map"] |= {"north market1501 parts": 0.9, "north market1501 parts+camera": 0.9}
    assert best_line(lines, "test")["epoch"] == 1
    del lines[0]["map"]["north cross-camera"]
    assert best_line(lines, "test")["epoch"] == 1
    assert best_line([line(1, north_cross_camera=0.9)], "test") is None
