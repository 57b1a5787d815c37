"""The service ranks like the evaluation: the benchmark, on a few drawn people."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.data.datasets import Dataset, DataSource, Sample
from training.measure.evaluation import Scores
from training.synthetic import SyntheticOptions, synthesize

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "http_accuracy.py"


def test_http_and_offline_accuracy_agree(tiny_model, tmp_path):
    options = SyntheticOptions(identities=12, cameras=3, crops=3, distractors=4, junk=3)
    drawn = synthesize(tmp_path / "people", options)
    command = [sys.executable, str(SCRIPT), "--rerank"]
    command += ["--model", str(tiny_model), "--data", str(drawn.folder)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["agree"]
    assert len(report["lines"]) == 6
    assert report["queries"] == drawn.query
    assert report["largest_map_difference"] <= 0.001
    assert report["largest_score_difference"] < 1e-4
    # Neither perfect nor zero, so a difference would show.
    assert all(0 < line["http"]["map"] < 1 for line in report["lines"])
    plain, reranked = report["lines"][0], report["lines"][3]
    assert plain["http"] != reranked["http"]


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    """The script as a module, which imports others of its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        yield importlib.import_module("http_accuracy")


def scores(*average_precision: float) -> Scores:
    first_hit = np.ones(len(average_precision), dtype=np.intp)
    return Scores("market1501", False, 10, np.array(average_precision), first_hit)


@pytest.mark.parametrize(("http", "agrees"), [(0.5009, True), (0.5011, False), (0.4989, False)])
def test_the_tolerance_is_a_tenth_of_a_point(benchmark, http, agrees):
    line = benchmark.Line(benchmark.WAYS[0], scores(http), scores(0.5), None)
    assert line.agrees is agrees


def test_missing_and_surplus_crops_are_noticed(benchmark):
    query = (Sample(Path("q"), 1, 0),)
    gallery = (Sample(Path("a"), 1, 0), Sample(Path("b"), 1, 1))
    dataset = Dataset(
        source=DataSource(Path()),
        layout="market1501",
        train=(),
        query=query,
        gallery=gallery,
        cameras=("1", "2"),
        identities=(),
        skipped=(),
        left_out={},
    )
    way = benchmark.WAYS[1]
    assert way.asked == "exclude_same_camera"
    benchmark.check_who_took_part(dataset, gallery, np.array([[False, True]]), way)
    with pytest.raises(SystemExit, match="missing or should not"):
        benchmark.check_who_took_part(dataset, gallery, np.array([[True, True]]), way)
    with pytest.raises(SystemExit, match="offline 2"):
        benchmark.check_who_took_part(dataset, gallery[1:], np.array([[True]]), way)
