"""HHCL's loop: what a run writes, and that an interruption changes nothing."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_run import TINY, as_arguments
from waiting import wait_until

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.core.checkpoint import load_checkpoint
from training.core.config import read_config
from training.hhcl.loop import run
from training.networks.building import restore_network
from training.synthetic import SyntheticOptions, synthesize

SCHEDULE = {"schedule.iterations": 10, "schedule.epochs": 3, "evaluation.every": 2}
CPU = torch.device("cpu")
# Sums in another order differ in the last bit, so both runs get one thread.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CONFIGS = Path(__file__).resolve().parents[3] / "training/configs"


@pytest.fixture(scope="module")
def config(quick):
    def read(data: Path, **changes):
        return read_config(None, quick | SCHEDULE | {"data.path": str(data)} | changes)

    return read


def metrics(folder: Path) -> list[dict]:
    if not (folder / "metrics.jsonl").exists():
        return []
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def command(quick):
    def words(data: Path, output: Path, *more: str) -> list[str]:
        base = [sys.executable, "-m", "training", "train", "--data", str(data)]
        settings = as_arguments(quick | SCHEDULE)
        return [*base, "--output", str(output), *settings, "--device", "cpu", *more]

    return words


@pytest.fixture(scope="module")
def finished(drawn, command, tmp_path_factory) -> Path:
    """An uninterrupted run from the command line, with as many threads as the interrupted one."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    start = time.monotonic()
    subprocess.run(command(drawn, folder), env=ENVIRONMENT, capture_output=True, check=True)
    (folder / "seconds").write_text(str(time.monotonic() - start))
    return folder


def test_a_run_leaves_metrics_logs_and_a_checkpoint(finished):
    lines = metrics(finished)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [bool(line["map"]) for line in lines] == [False, True, True]
    assert set(lines[1]["map"]) == {"market1501", "cross-camera"}
    for line in lines:
        assert line["clusters"]["clusters"] >= 2
        assert 0 <= line["clusters"]["outliers"] < 1
        assert 0 <= line["clusters"]["nmi"] <= 1
    assert list((finished / "tensorboard").glob("events.out.tfevents.*"))
    checkpoint = load_checkpoint(finished)
    assert checkpoint.epoch == 3
    assert restore_network(checkpoint).dimension == 1280


def test_a_run_killed_at_any_moment_ends_the_same(command, drawn, finished, tmp_path):
    seed = secrets.randbelow(10**6)
    share = np.random.default_rng(seed).random()
    print(f"seed {seed}: killed after {share:.1%} of the time a whole run takes")
    output = tmp_path / "killed"
    with subprocess.Popen(
        command(drawn, output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    ) as victim:
        time.sleep(share * float((finished / "seconds").read_text()))
        victim.send_signal(signal.SIGKILL)
    check_resumed(command(drawn, output, "--resume"), output, finished)


def test_a_run_killed_while_it_learns_ends_the_same(command, drawn, finished, tmp_path):
    output = tmp_path / "killed"
    with subprocess.Popen(
        command(drawn, output), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as victim:
        assert victim.stderr
        # The first line of metrics shows that epoch 2 has begun; its progress bar, that it trains.
        wait_until(lambda: metrics(output) or victim.poll() is not None)
        assert victim.poll() is None, victim.stderr.read().decode()
        while b"epoch 2/3" not in victim.stderr.read1():
            assert victim.poll() is None
        victim.send_signal(signal.SIGKILL)
    assert load_checkpoint(output).epoch == 1
    check_resumed(command(drawn, output, "--resume"), output, finished)


def check_resumed(resume, output, finished):
    resumed = subprocess.run(
        resume,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(output) == metrics(finished)
    whole, again = load_checkpoint(finished), load_checkpoint(output)
    for name, tensor in whole.network.items():
        torch.testing.assert_close(tensor, again.network[name], rtol=0, atol=0)


def test_resuming_a_finished_run_does_nothing(config, drawn, finished):
    before = (finished / "metrics.jsonl").read_bytes()
    run(config(drawn), finished, CPU, resume=True)
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_a_folder_in_use_is_rejected(config, drawn, finished):
    with pytest.raises(InvalidInput, match="--resume continues it"):
        run(config(drawn), finished, CPU)
    with pytest.raises(InvalidInput, match="other options for seed"):
        run(config(drawn, seed=9), finished, CPU, resume=True)


def test_training_works_with_one_camera_and_without_identities(config, drawn, tmp_path, capsys):
    plain = tmp_path / "crops" / "entrance"
    plain.mkdir(parents=True)
    for file in sorted((drawn / "bounding_box_train").iterdir()):
        (plain / file.name).write_bytes(file.read_bytes())
    (plain / "torn.jpg").write_bytes(file.read_bytes()[:200])
    settings = config(
        plain.parent,
        **{
            "data.layout": "folders",
            "data.pattern": "{camera}/{name}",
            "data.skip_bad": True,
            "schedule.epochs": 1,
            "clustering.scheme": "camera-link",
            "memory.negatives": "same-camera",
            "batch.clusters": 30,
        },
    )
    run(settings, tmp_path / "run", CPU)
    told = capsys.readouterr().out
    assert "one camera only" in told
    assert f"skipped: {plain / 'torn.jpg'}: " in told
    assert "skipped in total: 1" in told
    assert "fewer than batch.clusters = 30: every batch contains all" in told
    (line,) = metrics(tmp_path / "run")
    assert line["clusters"]["crossing"] == 0
    assert line["clusters"]["nmi"] is None
    assert line["map"] == {}


def test_two_sites_train_together_and_the_best_epoch_is_kept(config, drawn, tmp_path, capsys):
    """Two sites of one camera each, so no cluster can have crops of two cameras."""
    for name, camera in (("north", "c1s"), ("south", "c2s")):
        (tmp_path / name / camera).mkdir(parents=True)
        for file in sorted((drawn / "bounding_box_train").glob(f"*_{camera}*")):
            shutil.copy(file, tmp_path / name / camera / file.name)
    settings = config(
        tmp_path / "north",
        **{
            "data.also": (str(tmp_path / "south"),),
            "data.layout": "folders",
            "data.pattern": "{camera}/{name}",
            "clustering.scheme": "camera-link",
            "schedule.epochs": 2,
            "schedule.iterations": 2,
        },
    )
    run(settings, tmp_path / "run", CPU)
    told = capsys.readouterr().out
    assert "north (folders): " in told
    assert "south (folders): " in told
    lines = metrics(tmp_path / "run")
    assert [line["clusters"]["crossing"] for line in lines] == [0, 0]
    assert lines[-1]["clusters"]["clusters"] >= 2


@pytest.mark.parametrize("negatives", ["all", "same-camera"])
def test_soft_links_train_and_are_told_in_every_epoch(config, drawn, tmp_path, capsys, negatives):
    changes = {
        "clustering.scheme": "camera-link",
        "clustering.links": "soft",
        "clustering.link_score": "consensus",
        "clustering.link_first": 0.0,
        "clustering.link_last": 0.5,
        "clustering.soft_partners": 2,
        "memory.negatives": negatives,
        "memory.proxy_weight": 0.5,
        "schedule.epochs": 2,
        "schedule.iterations": 3,
        "evaluation.every": 0,
    }
    run(config(drawn, **changes), tmp_path / "run", CPU)
    told = capsys.readouterr()
    assert (told.out + told.err).count("soft links: ") == 2
    assert all(np.isfinite(line["loss"]) for line in metrics(tmp_path / "run"))


def test_the_best_measured_epoch_is_kept(config, drawn, tmp_path, capsys):
    changes = {"evaluation.select": "validation", "evaluation.every": 1, "schedule.epochs": 2}
    settings = config(drawn, **changes, **{"schedule.iterations": 2, "data.keep": "disk"})
    run(settings, tmp_path / "run", CPU)
    scores = [line["agreement"] for line in metrics(tmp_path / "run")]
    best = scores.index(max(scores)) + 1
    selected = load_checkpoint(tmp_path / "run" / "selected.pt")
    assert selected.epoch == best
    told = capsys.readouterr().out
    for row in (
        "first measured: epoch 1 |",
        f"best by validation: epoch {best} |",
        "last: epoch 2",
    ):
        assert row in told
    assert "best by test data" not in told
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.suffix == ".pt") == [
        "checkpoint.pt",
        "selected.pt",
    ]


@pytest.mark.slow
def test_training_improves_on_drawn_people(shared, tmp_path):
    """Five short epochs from ImageNet weights, the first seven stages frozen; mAP rises by 8 %."""
    people = tmp_path / "people"
    drawing = SyntheticOptions(identities=80, cameras=2, crops=4, seed=7, height=96, width=48)
    synthesize(people, drawing)
    weights = shared / "weights/mobilenet_v2-imagenet1k.pth"
    changes = {
        "data.path": str(people),
        "model.weights": str(weights),
        "model.height": 96,
        "model.width": 48,
        "model.frozen_stages": 7,
        "augment.hue": 0.04,
        "augment.padding": 4,
        "batch.clusters": 8,
        "schedule.epochs": 5,
        "schedule.iterations": 20,
        "schedule.step": 5,
        "evaluation.every": 1,
    }
    run(read_config(CONFIGS / "hhcl-hard-links.toml", changes), tmp_path / "run", CPU)
    curve = [line["map"]["cross-camera"] for line in metrics(tmp_path / "run")]
    assert curve[-1] > curve[0] + 0.03


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "nonsense"], "must be KEY=VALUE"),
        (["--set", "schedule.epochs=none"], "schedule.epochs"),
        (["--config", "missing.toml"], "missing.toml"),
    ],
)
def test_user_errors_are_one_line_with_status_2(training, tmp_path, arguments, message):
    run_at = ("--data", tmp_path, "--output", tmp_path / "run", "--device", "cpu")
    status, _, told = training("train", *run_at, *as_arguments(TINY), *arguments)
    assert status == 2
    assert message in told
    assert "Traceback" not in told


def test_a_run_that_never_measures_does_not_read_query_and_gallery(config, drawn, tmp_path):
    people = shutil.copytree(drawn, tmp_path / "people")
    min((people / "query").iterdir()).write_bytes(b"no picture")
    with pytest.raises(InvalidInput, match="query"):
        run(config(people), tmp_path / "measured", CPU)
    settings = config(people, **{"evaluation.every": 0, "schedule.epochs": 1})
    run(settings, tmp_path / "run", CPU)
    assert metrics(tmp_path / "run")[0]["map"] == {}


def test_the_error_names_a_folder_without_crops(config, tmp_path):
    with pytest.raises(InvalidInput, match=str(tmp_path)):
        run(config(tmp_path), tmp_path / "run", CPU)


@pytest.mark.parametrize(
    ("package", "clusters"),
    [
        ("faiss", {"clustering.nearest": "graph"}),
        ("infomap", {"clustering.scheme": "infomap"}),
    ],
)
def test_a_missing_package_is_told_before_any_crop_is_read(
    config, tmp_path, monkeypatch, package, clusters
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidInput, match=f"needs.*{package}|needs FAISS"):
        run(config(tmp_path / "absent", **clusters), tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()
