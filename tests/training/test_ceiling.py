"""benchmarks/ceiling.py: the share that a run without labels reaches of the same run with them."""

from __future__ import annotations

import json
import sys

import pytest
from tiny_run import SMALLEST, as_arguments

pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.core.checkpoint import load_checkpoint
from training.core.config import read_config


@pytest.fixture
def ceiling(import_benchmark):
    return import_benchmark("ceiling")


@pytest.fixture
def benchmark(ceiling, drawn, tmp_path, monkeypatch, capsys):
    """Run the script on drawn people, and return what it prints."""
    words = ["--data", drawn, "--epochs", 2, "--iterations", 1, "--threads", 1]
    words += as_arguments(SMALLEST)

    def call(*more: object) -> str:
        line = ["ceiling.py", *words, "--output", tmp_path / "runs", *more]
        monkeypatch.setattr(sys, "argv", list(map(str, line)))
        ceiling.main()
        return capsys.readouterr().out

    return call


def curve(ceiling, maps, **options):
    return ceiling.Curve(read_config(None, options), maps)


def test_both_runs_are_trained_once_and_compared(benchmark, tmp_path, capsys):
    told = benchmark("--set-labelled", "memory.negatives=all")
    report = json.loads(told.splitlines()[-1])
    runs = {kind: tmp_path / f"runs/{kind}-1" for kind in ("unlabelled", "labelled")}
    labels = {kind: load_checkpoint(run).identity_labels for kind, run in runs.items()}
    assert labels == {"unlabelled": "none", "labelled": "of real people"}
    for name, share in report["share_of_ceiling"].items():
        last = {kind: report["map"][kind][0]["map"]["2"][name] for kind in runs}
        assert share == pytest.approx(last["unlabelled"] / last["labelled"], abs=1e-4)
        assert f"share of its own ceiling, {name}: {100 * share:.1f} %" in told
    assert set(report["share_of_ceiling"]) == {"cross-camera", "market1501"}
    assert report["batches"] == {"unlabelled": 2, "labelled": 2}
    assert "options that differ: memory.negatives" in told

    kept = {kind: (run / "checkpoint.pt").stat().st_mtime_ns for kind, run in runs.items()}
    assert benchmark("--set-labelled", "memory.negatives=all") == told
    of_run = benchmark("--set-labelled", "memory.negatives=all", "--unlabelled", runs["unlabelled"])
    assert of_run == told
    assert kept == {kind: (run / "checkpoint.pt").stat().st_mtime_ns for kind, run in runs.items()}

    with pytest.raises(SystemExit, match="identity labels: of real people"):
        benchmark("--set-labelled", "memory.negatives=all", "--unlabelled", runs["labelled"])


def test_the_rate_drops_after_the_same_share_of_the_run(ceiling, monkeypatch):
    words = ["ceiling.py", "--data", "a", "--data", "b", "--epochs", "18", "--set-labelled"]
    monkeypatch.setattr(sys, "argv", [*words, "memory.negatives=all", "--seed", "4", "5"])
    arguments = ceiling.parse()
    assert arguments.seed == [4, 5]
    one, other = (
        ceiling.configure(arguments, arguments.data, 5, labelled=labelled)
        for labelled in (False, True)
    )
    recipe = read_config(ceiling.RECIPE, {})
    assert one.schedule.step == round(18 * recipe.schedule.step / recipe.schedule.epochs) == 13
    assert (one.data.path, one.data.also, one.seed) == ("a", ("b",), 5)
    assert one.model == recipe.model
    assert ceiling.differences(one, other) == ["memory.negatives"]
    assert (one.memory.negatives, other.memory.negatives) == ("same-camera", "all")


def test_the_share_is_that_of_the_means_and_each_seed_has_its_own(ceiling):
    low = [curve(ceiling, {2: {"p": value}}) for value in (0.3, 0.5)]
    high = [curve(ceiling, {2: {"p": value}}) for value in (0.5, 0.5)]
    found = ceiling.share(low, high, "p")
    assert found.whole == pytest.approx(0.8)
    assert found.each == pytest.approx([0.6, 1.0])
    single = ceiling.share(low[:1], high, "p")
    assert (single.whole, single.each) == (pytest.approx(0.6), pytest.approx([0.6, 0.6]))
    with pytest.raises(InvalidInput, match="no ceiling"):
        ceiling.share(low, [curve(ceiling, {1: {"p": 0.0}})], "p")


def test_epochs_that_only_one_run_measured_stay_empty(ceiling):
    low = [curve(ceiling, {1: {"p": 0.1}, 4: {"p": 0.3}}, **{"model.weights": "a/start.pth"})]
    high = [
        curve(ceiling, {2: {"p": 0.2}, 4: {"p": value}}, **{"model.weights": "b/start.pth"})
        for value in (0.4, 0.6)
    ]
    assert ceiling.describe(low, high).splitlines() == [
        "| epoch | p, no labels | p, labels |",
        "| ---: | ---: | ---: |",
        "| 1 | 10.0 |  |",
        "| 2 |  | 20.0 |",
        "| 4 | 30.0 | 50.0 |",
        "share of its own ceiling, p: 60.0 % (50.0 to 75.0 over the pairs of runs)",
        "options that differ: none",
    ]


def test_runs_on_other_data_cannot_be_compared(ceiling):
    low, high = (curve(ceiling, {1: {name: 0.5}}) for name in ("p", "yard p"))
    with pytest.raises(InvalidInput, match="different protocols or data: p; yard p"):
        ceiling.describe([low], [high])


def test_a_run_that_was_never_measured_is_an_error(ceiling, tmp_path):
    lines = [{"epoch": 1, "map": {}}, {"epoch": 2, "map": {"p": None}}]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(InvalidInput, match="no epoch was measured"):
        ceiling.read_curve(tmp_path, read_config(None, {}))
    with file.open("a") as stream:
        stream.write(json.dumps({"epoch": 3, "map": {"p": 0.5, "q": None}}) + "\n")
    assert ceiling.read_curve(tmp_path, read_config(None, {})).maps == {3: {"p": 0.5}}
