"""benchmarks/intra_camera.py: training is told who is in each camera, and nothing more."""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from tiny_run import SMALLEST, as_arguments

pytest.importorskip("torch", reason="the training extra is not installed")

from training.data.datasets import DataSource, read_dataset


@pytest.fixture
def intra_camera(import_benchmark):
    return import_benchmark("intra_camera")


def test_tracks_are_persons_in_one_camera_and_training_identities_are_left_out(
    intra_camera, drawn, tmp_path
):
    truth = read_dataset(DataSource(drawn))
    folder = intra_camera.stand_in(drawn, tmp_path / "people")
    linked = read_dataset(DataSource(folder))
    assert linked.layout == "manifest"
    assert {sample.identity for sample in linked.train} == {-1}
    persons, tracks = defaultdict(set), defaultdict(set)
    for known in truth.train:
        persons[known.identity, known.camera].add(known.path.resolve())
    for sample in linked.train:
        tracks[sample.track].add(sample.path.resolve())
    assert sorted(map(sorted, persons.values())) == sorted(map(sorted, tracks.values()))
    assert len(persons) > len({identity for identity, _ in persons})
    for split in ("query", "gallery"):
        wanted = [(one.path.resolve(), one.camera) for one in getattr(truth, split)]
        found = [(one.path.resolve(), one.camera) for one in getattr(linked, split)]
        assert sorted(found) == sorted(wanted)
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    assert not any(row["identity"] for row in rows)
    assert all(Path(row["path"]).stem.isdigit() for row in rows)  # no identity in the name


def test_each_seed_trains_with_and_without_tracks(
    intra_camera, drawn, tmp_path, monkeypatch, capsys
):
    words = ["--data", drawn, "--threads", 1, "--seed", 1, 2, "--output", tmp_path / "runs"]
    words += ["--epochs", 1, "--iterations", 1, *as_arguments(SMALLEST)]
    monkeypatch.setattr(sys, "argv", ["intra_camera.py", *map(str, words)])
    intra_camera.main()
    printed = capsys.readouterr()
    report = json.loads(printed.out.splitlines()[-1])
    assert report["labels"] == "who is in each camera, for the runs with tracks"
    assert (report["batches"], report["seeds"]) == (1, [1, 2])
    for kind in ("plain", "tracks"):
        assert [set(figures) for figures in report["map"][kind]] == [
            {"cross-camera", "market1501"}
        ] * 2
        for seed in (1, 2):
            assert f"| {kind}, seed {seed} |" in printed.out
    assert (printed.out + printed.err).count("known pairs") == 2  # tracks, for each seed
