"""What the report page shows and what it leaves out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("plotly", reason="plotly, which draws the page, is not installed")

from service.errors import InvalidInput
from training.data.datasets import DataSource, read_dataset
from training.page import Wanted, write_page
from training.page.curves import draw_curves
from training.page.figure import Missing
from training.page.history import choose_epochs, read_history
from training.run.epoch_record import save_epoch

CPU = torch.device("cpu")
OLD = {
    "epoch": 1,
    "loss": 3.9,
    "learning_rate": 0.00035,
    "clusters": {"clusters": 14, "outliers": 0.3, "crossing": 0.06, "nmi": 0.86, "ari": 0.28},
    "map": {},
    "rank1": {},
}


def line(epoch: int, **changes: object) -> dict[str, object]:
    return OLD | {"agreement": None, "epoch": epoch} | changes


def write_metrics(run: Path, *lines: dict[str, object], end: str = "\n") -> Path:
    run.mkdir(exist_ok=True)
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + end)
    return run


def page(run: Path, *, data: list[Path] | None = None, show_crops: bool = False) -> str:
    return write_page(Wanted(run, data, show_crops, CPU), run / "out.html").read_text()


def shown(html: str) -> str:
    """The page without plotly's own script, which is megabytes."""
    return html[html.index("<body>") :]


@pytest.fixture
def run(run_folder, drawn, tmp_path) -> Path:
    """A finished run with metrics and the record of its last epoch."""
    folder = shutil.copytree(run_folder, tmp_path / "run")
    across = {"precision": 0.5, "recall": 0.25, "partner": None}
    measured = {
        "map": {"market1501": 0.25},
        "rank1": {"market1501": 0.5},
        "clusters": OLD["clusters"] | {"across": across},
    }
    lines = [line(1), line(2, agreement=0.6, **measured), line(3, agreement=0.4, **measured)]
    write_metrics(folder, *lines)
    train = read_dataset(DataSource(drawn)).train
    labels = np.arange(len(train)) // 6
    labels[:5] = -1
    rows = np.random.default_rng(0).normal(size=(len(train), 16)).astype(np.float32)
    save_epoch(folder, rows, labels, train, seed=1)
    return folder


def test_the_best_epoch_is_the_one_whose_cameras_agree_most(tmp_path):
    lines = [line(1), line(2, agreement=0.6), line(3, agreement=0.7), line(4, agreement=0.5)]
    chosen = choose_epochs(read_history(write_metrics(tmp_path, *lines)))
    assert [(c.title, c.epoch.number) for c in chosen] == [
        ("first", 1),
        ("best by agreement", 3),
        ("last", 4),
    ]


def test_verification_has_a_row_where_it_was_measured(tmp_path):
    assert "verification" not in shown(page(write_metrics(tmp_path / "without", line(1))))
    run = write_metrics(tmp_path / "with", line(1, verification=0.9), line(2, verification=0.97))
    assert "verification by tracks and frames" in shown(page(run))


def test_an_incomplete_line_is_not_read(tmp_path):
    run = write_metrics(tmp_path, line(1), end='\n{"epoch": 2, "lo')
    assert [epoch.number for epoch in read_history(run)] == [1]


def test_the_page_of_an_older_run_says_what_was_not_measured(tmp_path):
    html = shown(page(write_metrics(tmp_path / "old", OLD)))
    assert "not measured in any epoch" in html
    assert "the run has no checkpoint.pt" in html
    assert 'id="figure-clusters"' in html
    assert 'id="figure-agreement"' not in html


def test_without_identities_there_is_no_nmi_and_ari(tmp_path):
    clusters = {"clusters": 3, "outliers": 0.1, "crossing": 0.0, "nmi": None, "ari": None}
    history = read_history(write_metrics(tmp_path, line(1, clusters=clusters)))
    missing = [part.title for part in draw_curves(history) if isinstance(part, Missing)]
    assert {"Clusters against known identities (NMI, ARI)", "Across cameras"} <= set(missing)


def test_what_is_right_across_cameras_has_a_figure_and_rows(tmp_path):
    across = {"precision": None, "recall": 0.25, "partner": {"1": 0.4, "5": 0.6}}
    clusters = {"clusters": 3, "outliers": 0.1, "crossing": 0.0, "nmi": 0.5, "ari": 0.5}
    history = read_history(
        write_metrics(tmp_path, line(1), line(2, clusters=clusters | {"across": across}))
    )
    assert [epoch.across for epoch in history] == [
        {},
        {"recall": 0.25, "partner@1": 0.4, "partner@5": 0.6},
    ]
    figures = {part.title: part for part in draw_curves(history) if not isinstance(part, Missing)}
    assert "partner@5 60.0%" in figures["Across cameras"].text
    assert "recall across cameras" in shown(page(tmp_path))


@pytest.mark.parametrize("text", ["", "{}\n", "[]\n", "nothing\n", '{"epoch": "x"}\n'])
def test_a_folder_without_a_run_is_an_error_that_names_the_file(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(InvalidInput, match=r"metrics\.jsonl"):
        read_history(tmp_path)
    with pytest.raises(InvalidInput, match="holds no run"):
        read_history(tmp_path / "absent")


def test_a_drawn_run_shows_everything(run):
    html = shown(page(run))
    for name in ("cluster-sizes", "camera-mix", "map-camera", "map-label", "agreement", "map"):
        assert f'id="figure-{name}"' in html
    assert html.count("<img ") == 6
    assert "Not shown" not in html
    assert "schedule.epochs" in html


def test_real_people_are_shown_only_on_request(run, drawn, tmp_path):
    people = shutil.copytree(drawn, tmp_path / "people")
    (people / "synthetic.json").unlink()
    html = shown(page(run, data=[people]))
    assert "<img " not in html
    assert "--show-crops shows them" in html
    assert "<img " in shown(page(run, data=[people], show_crops=True))


def test_without_a_record_the_clusters_are_computed_again(run):
    (run / "last-epoch.npz").unlink()
    assert "these clusters come from its final network" in shown(page(run))


def test_without_record_and_crops_the_page_says_so(run, drawn, tmp_path):
    (run / "last-epoch.npz").unlink()
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    checkpoint["config"]["data"]["path"] = str(tmp_path / "moved")
    torch.save(checkpoint, run / "checkpoint.pt")
    html = shown(page(run))
    assert "kept no record of its last epoch" in html
    assert "give them with --data" in html
    with pytest.raises(InvalidInput, match="nowhere"):
        page(run, data=[tmp_path / "nowhere"])
