"""Optional steps of a run (measuring, logs, the page) never lose an epoch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_run import CLUSTERS, as_arguments

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core.checkpoint import SELECTED_NAME, load_checkpoint
from training.core.config import TrainConfig, read_config
from training.hhcl import loop as hhcl
from training.page import Wanted, write_page
from training.run import measuring
from training.scl import loop as scl

CPU = torch.device("cpu")
LENGTH = {"schedule.iterations": 1, "schedule.epochs": 2, "evaluation.every": 1}
HHCL = CLUSTERS | LENGTH
SCL = LENGTH | {
    "method": "scl",
    "augment.padding": 0,
    "augment.erasing": 0,
    "selective.stripes": 3,
    "selective.global_size": 24,
    "selective.local_size": 8,
    "selective.positives": 2,
    "selective.negatives": 20,
    "schedule.optimiser": "sgd",
    "schedule.learning_rate": 0.001,
}
METHODS = {"hhcl": (HHCL, hhcl.run), "scl": (SCL, scl.run)}
SPLITS = {"bounding_box_train": "train", "bounding_box_test": "gallery", "query": "query"}

Rename = Callable[[str, str], str | None]


def one_camera(split: str, name: str) -> str:
    """All crops come from the first camera."""
    who, rest = name.split("_c", 1)
    return f"{who}_c1{rest[1:-4]}_{rest[0]}.jpg"


def no_match(split: str, name: str) -> str:
    """The gallery shows other people than the queries."""
    return str(int(name[:4]) + 5000) + name[4:] if split == "bounding_box_test" else name


def unknown_queries(split: str, name: str) -> str:
    """No query has an identity, which only a manifest can express."""
    return name.replace(name[:4], "", 1) if split == "query" else name


def no_gallery(split: str, name: str) -> str | None:
    """There are queries, but nothing to search in."""
    return None if split == "bounding_box_test" else name


def people(drawn: Path, folder: Path, rename: Rename) -> Path:
    """The drawn people under other names, as a folder in Market-1501 layout."""
    for split in SPLITS:
        (folder / split).mkdir(parents=True)
        for file in sorted((drawn / split).glob("*.jpg")):
            if name := rename(split, file.name):
                shutil.copy(file, folder / split / name)
    return folder


def listed(drawn: Path, folder: Path, rename: Rename) -> Path:
    """The same as a manifest."""
    folder.mkdir()
    rows = ["path,identity,camera,split"]
    for split, said in SPLITS.items():
        for file in sorted((drawn / split).glob("*.jpg")):
            if name := rename(split, file.name):
                who, rest = name.split("_", 1)
                rows.append(f"{file},{who},{rest[:2]},{said}")
    (folder / "people.csv").write_text("\n".join(rows) + "\n")
    return folder / "people.csv"


@pytest.fixture(scope="module")
def config(quick_network: dict[str, object]) -> Callable[..., TrainConfig]:
    def read(method: str, data: Path, **changes: object) -> TrainConfig:
        settings = quick_network | METHODS[method][0] | {"data.path": str(data)}
        return read_config(None, settings | changes)

    return read


def metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("make", "rename"),
    [(people, one_camera), (people, no_match), (listed, one_camera), (listed, unknown_queries)],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_failed_measurement_is_reported_once_and_training_continues(
    config, method, make, rename, drawn, tmp_path, capsys
):
    data, output = make(drawn, tmp_path / "people", rename), tmp_path / "run"
    METHODS[method][1](config(method, data), output, CPU)
    told = capsys.readouterr().out
    assert load_checkpoint(output).epoch == 2
    lines = metrics(output)
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        assert {"market1501", "cross-camera"} <= set(line["map"]) == set(line["rank1"])
        assert {*line["map"].values(), *line["rank1"].values()} == {None}
        assert (line["agreement"] is None) == (rename is one_camera)
        assert np.isfinite(line["loss"])
    reasons = [text for text in told.splitlines() if "cannot evaluate" in text]
    assert reasons
    assert len(set(reasons)) == len(reasons)
    assert all(" not measured: cannot evaluate: " in text for text in reasons)
    assert told.count("agreement not measured: ") == (rename is one_camera)
    # Resuming works too, and the report shows the rest.
    METHODS[method][1](config(method, data), output, CPU, resume=True)
    page = write_page(Wanted(output, None, False, CPU), tmp_path / "page.html").read_text()
    body = page[page.index("<body>") :]
    assert 'id="figure-loss"' in body
    assert 'id="figure-map"' not in body
    assert "the data does not allow it" in body


def test_the_command_succeeds_and_so_does_resuming_it(training, quick_network, drawn, tmp_path):
    data = people(drawn, tmp_path / "people", one_camera)
    settings = as_arguments(quick_network | HHCL | {"schedule.epochs": 1})
    base = ("--data", data, "--device", "cpu", *settings, "--output", tmp_path / "run")
    for more in ([], ["--resume"]):
        status, out, told = training("train", *base, *more)
        assert status == 0, told
        assert "trained: " in out


def test_the_data_set_that_can_be_measured_still_decides(config, drawn, tmp_path):
    blind = people(drawn, tmp_path / "blind", no_match)
    changes = {"data.also": (str(blind),), "evaluation.select": "test"}
    hhcl.run(config("hhcl", drawn, **changes), tmp_path / "run", CPU)
    lines = metrics(tmp_path / "run")
    for line in lines:
        assert line["map"]["blind market1501"] is None
        assert 0 < line["map"]["people market1501"] <= 1
    scores = [
        line["map"]["people market1501"] + line["map"]["people cross-camera"] for line in lines
    ]
    assert load_checkpoint(tmp_path / "run" / SELECTED_NAME).epoch == scores.index(max(scores)) + 1


@pytest.mark.parametrize("select", ["validation", "test"])
@pytest.mark.parametrize("method", METHODS)
def test_without_any_measurement_the_last_epoch_is_the_result_with_a_message(
    config, method, select, drawn, tmp_path, capsys
):
    data = people(drawn, tmp_path / "people", one_camera)
    changes = {"evaluation.select": select, "schedule.epochs": 1}
    METHODS[method][1](config(method, data, **changes), tmp_path / "run", CPU)
    told = capsys.readouterr().out
    assert f"evaluation.select = '{select}': no epoch was measured by it" in told
    assert not (tmp_path / "run" / SELECTED_NAME).exists()
    assert load_checkpoint(tmp_path / "run").epoch == 1


def test_a_query_without_gallery_is_reported(config, drawn, tmp_path, capsys):
    data = listed(drawn, tmp_path / "people", no_gallery)
    hhcl.run(config("hhcl", data, **{"schedule.epochs": 1}), tmp_path / "run", CPU)
    assert " cannot be measured: it has query crops but no gallery" in capsys.readouterr().out
    assert metrics(tmp_path / "run")[0]["map"] == {}


def test_held_out_crops_that_are_all_unreadable_are_reported_if_such_crops_are_skipped(
    config, drawn, tmp_path, capsys
):
    data = people(drawn, tmp_path / "people", lambda _, name: name)
    for file in (data / "query").iterdir():
        file.write_bytes(b"no picture")
    changes = {"data.skip_bad": True, "schedule.epochs": 1}
    hhcl.run(config("hhcl", data, **changes), tmp_path / "run", CPU)
    assert "people cannot be measured: " in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run").epoch == 1


@pytest.mark.parametrize("method", METHODS)
def test_unwritable_files_beside_the_checkpoint_are_reported(
    config, method, drawn, tmp_path, capsys
):
    output = tmp_path / "run"
    # A folder in place of a file makes writing fail like a full disk, for root as well.
    optional = ("metrics.jsonl", "selected.pt", "last-epoch.npz")
    for name in optional:
        (output / f"{name}.new").mkdir(parents=True)
    (output / "tensorboard").write_text("no folder")
    settings = config(method, drawn, **{"evaluation.select": "validation"})
    METHODS[method][1](settings, output, CPU)
    told = capsys.readouterr().out
    assert load_checkpoint(output).epoch == 2
    named = (*optional, "tensorboard") if method == "hhcl" else (*optional[:2], "tensorboard")
    for name in named:
        assert f"{name} cannot be written: " in told
    assert told.count("metrics.jsonl cannot be written: ") == 1
    assert [f"epoch   {number}/2 | " in told for number in (1, 2)] == [True] * 2
    METHODS[method][1](settings, output, CPU, resume=True)


def test_a_log_that_was_unwritable_for_a_while_is_complete_in_the_end(config, drawn, tmp_path):
    """The obstacle disappears while the second epoch trains."""
    output, obstacle = tmp_path / "run", tmp_path / "run" / "metrics.jsonl.new"
    obstacle.mkdir(parents=True)
    learn = hhcl.train_one_epoch

    def learns_and_clears(*arguments):
        if (output / "checkpoint.pt").exists() and obstacle.exists():
            obstacle.rmdir()
        return learn(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hhcl, "train_one_epoch", learns_and_clears)
        hhcl.run(config("hhcl", drawn), output, CPU)
    assert [line["epoch"] for line in metrics(output)] == [1, 2]


def test_a_checkpoint_that_cannot_be_written_stops_the_run(config, drawn, tmp_path):
    (tmp_path / "run" / "checkpoint.pt.new").mkdir(parents=True)
    with pytest.raises(OSError, match=r"checkpoint\.pt"):
        hhcl.run(config("hhcl", drawn), tmp_path / "run", CPU)


@pytest.mark.parametrize("method", METHODS)
def test_a_bug_in_measuring_is_raised_and_loses_no_epoch(config, method, drawn, tmp_path):
    run, settings = METHODS[method][1], config(method, drawn, **{"schedule.epochs": 3})

    def mistaken(*_: object, **__: object) -> None:
        raise TypeError("a mistake in the program")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "evaluate", mistaken)
        for epoch in (1, 2):  # each try finishes one more epoch
            with pytest.raises(TypeError, match="a mistake"):
                run(settings, tmp_path / "run", CPU, resume=epoch > 1)
            assert load_checkpoint(tmp_path / "run").epoch == epoch
    run(settings, tmp_path / "run", CPU, resume=True)
    assert [bool(line["map"]) for line in metrics(tmp_path / "run")] == [False, False, True]


@pytest.mark.parametrize("method", METHODS)
def test_being_killed_while_measuring_changes_nothing(config, method, drawn, tmp_path):
    run, settings = METHODS[method][1], config(method, drawn, **{"evaluation.select": "validation"})
    run(settings, tmp_path / "whole", CPU)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "evaluate", killed)
        for epoch in (1, 1):  # a second kill while the resumed run catches up
            with pytest.raises(KeyboardInterrupt):
                run(settings, tmp_path / "run", CPU, resume=(tmp_path / "run").exists())
            assert load_checkpoint(tmp_path / "run").epoch == epoch
    run(settings, tmp_path / "run", CPU, resume=True)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    kept = [load_checkpoint(tmp_path / name / SELECTED_NAME) for name in ("run", "whole")]
    assert kept[0].epoch == kept[1].epoch
    for name, tensor in kept[0].network.items():
        torch.testing.assert_close(kept[1].network[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("no room")])
def test_a_measurement_that_does_not_fit_into_memory_is_skipped(
    config, error, drawn, tmp_path, capsys, monkeypatch
):
    def no_room(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(measuring, "evaluate", no_room)
    monkeypatch.setattr(measuring, "cycle_agreement", no_room)
    hhcl.run(config("hhcl", drawn), tmp_path / "run", CPU)
    told = capsys.readouterr().out
    assert told.count("agreement not measured: ") == told.count("people not measured: ") == 1
    assert [line["map"]["market1501"] for line in metrics(tmp_path / "run")] == [None, None]


def test_a_diverged_network_is_reported_as_not_measured(config, drawn, tmp_path, capsys):
    settings = config("scl", drawn, **{"schedule.learning_rate": 1e30})
    scl.run(settings, tmp_path / "run", CPU)
    assert "people not measured: the network's embeddings are not finite" in capsys.readouterr().out
    assert {*metrics(tmp_path / "run")[-1]["map"].values()} == {None}


def test_a_data_set_that_cannot_be_measured_does_not_affect_the_others(
    training, exported, drawn, tmp_path
):
    blind = people(drawn, tmp_path / "blind", one_camera)
    words = ("--model", exported, "--data", blind, "--data", drawn, "--format", "json")
    status, out, told = training("evaluate", *words)
    assert status == 2
    assert {row["data"] for row in json.loads(out)["results"]} == {"people"}
    assert "blind: cannot evaluate: query and gallery come from the same camera" in told
    assert "Traceback" not in told


def test_figures_are_printed_even_if_pictures_cannot_be_drawn(training, exported, drawn, tmp_path):
    (tmp_path / "pictures").write_text("no folder")
    words = ("--model", exported, "--data", drawn, "--pictures", tmp_path / "pictures")
    status, out, told = training("evaluate", *words, "--format", "json")
    assert status == 2
    assert len(json.loads(out)["results"]) == 2
    assert "cannot write ranked lists" in told
