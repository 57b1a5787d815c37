"""Tracks and frames of manifests, from the file to the crops of a run."""

import json

import numpy as np
import pytest
from PIL import Image

from training.data.datasets import DataSource, read_dataset
from training.data.known_pairs import KnownPairs
from training.data.sites import join_sites

ROWS = [
    {"camera": "gate", "track": 7, "frame": "000120"},
    {"camera": "gate", "track": "7", "frame": 121},
    {"camera": "hall", "track": 7, "frame": "000120"},
    {"camera": "hall", "track": None, "frame": "000120"},
    {"camera": "hall", "track": "", "frame": -1},
]


def manifest(folder, rows, suffix="ndjson"):
    folder.mkdir(exist_ok=True)
    rows = [{"path": f"{number}.png", **row} for number, row in enumerate(rows)]
    for row in rows:
        Image.new("RGB", (8, 16), (90, 40, 20)).save(folder / row["path"])
    if suffix == "ndjson":
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        text = "\n".join([",".join(rows[0]), *(",".join(map(str, r.values())) for r in rows)])
    (folder / f"manifest.{suffix}").write_text(text, encoding="utf-8")
    return folder


def read(folder):
    return read_dataset(DataSource(folder))


def test_tracks_and_frames_are_a_cameras_own(tmp_path):
    dataset = read(manifest(tmp_path / "site", ROWS))
    assert [sample.track for sample in dataset.train] == [0, 0, 1, -1, -1]
    assert [sample.frame for sample in dataset.train] == [0, 1, 2, 2, -1]
    assert dataset.ignored_columns == ()


def test_csv_numbers_that_a_table_program_wrote_are_names(tmp_path):
    rows = [{"camera": "a", "track": text, "frame": "5"} for text in ("3.0", "3", "", "nan", "-1")]
    dataset = read(manifest(tmp_path / "site", rows, "csv"))
    assert [sample.track for sample in dataset.train] == [0, 0, -1, -1, -1]


def test_without_the_columns_nothing_is_known(tmp_path):
    dataset = read(manifest(tmp_path / "site", [{"camera": "a"}, {"camera": "b"}]))
    samples, _ = join_sites([dataset])
    assert not KnownPairs.of(samples, np.zeros(2, dtype=np.int64)).has_more_than_sites


@pytest.mark.parametrize("value", [[1], 1.5, True])
def test_a_track_that_is_no_name_is_named(tmp_path, value):
    folder = manifest(tmp_path / "site", [{"camera": "a", "track": value}])
    with pytest.raises(Exception, match="column track"):
        read(folder)


def test_sites_have_tracks_and_frames_of_their_own(tmp_path):
    sites = [read(manifest(tmp_path / name, ROWS)) for name in ("one", "two")]
    samples, _ = join_sites(sites)
    assert [sample.track for sample in samples] == [0, 0, 1, -1, -1, 2, 2, 3, -1, -1]
    assert [sample.frame for sample in samples] == [0, 1, 2, 2, -1, 3, 4, 5, 5, -1]
    known = KnownPairs.of(samples, np.zeros(10, dtype=np.int64), frames=False)
    assert (known.frames == -1).all()
    assert "2 tracks of several crops, 0 frames" in known.line()
