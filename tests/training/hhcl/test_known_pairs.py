"""Clusters that tracks and frames correct: must-links, cannot-links, and what neither may break."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from tiny_run import ONE_STEP

from training.core.config import read_config
from training.core.method_options import ClusterOptions
from training.data.datasets import DataSource, Sample, read_dataset
from training.data.known_pairs import KnownPairs
from training.hhcl.clustering import cluster
from training.hhcl.known_pairs import correct_clusters
from training.hhcl.loop import run
from training.run.epoch_record import load_epoch

NOBODY = -1


def ints(*values):
    return np.array(values, dtype=np.int64)


def known(tracks=None, frames=None, count=None):
    count = len(tracks if tracks is not None else frames) if count is None else count
    unknown = np.full(count, -1, dtype=np.int64)
    return KnownPairs(
        np.zeros(count, dtype=np.int64),
        unknown if tracks is None else ints(*tracks),
        unknown if frames is None else ints(*frames),
    )


def towards(*degrees):
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def corrected(labels, pairs, embeddings=None, min_samples=1):
    embeddings = towards(*range(len(labels))) if embeddings is None else embeddings
    return correct_clusters(ints(*labels), embeddings, pairs, min_samples).tolist()


def test_a_track_joins_the_cluster_of_most_of_its_crops():
    assert corrected([0, 0, 1, 1, NOBODY], known(tracks=[7, 7, 7, -1, 7])) == [0, 0, 0, 1, 0]


def test_a_track_never_merges_two_clusters():
    """A tracker that loses one person and follows another must not make them one."""
    labels = [0, 0, 0, 1, 1, 1, 1]
    assert corrected(labels, known(tracks=[-1, 3, 3, 3, -1, -1, -1])) == [0, 0, 0, 0, 1, 1, 1]


def test_a_track_of_outliers_is_a_cluster_if_it_is_long_enough():
    pairs = known(tracks=[5, 5, 6, 6, 6, -1])
    labels = [NOBODY] * 5 + [0]
    assert corrected(labels, pairs, min_samples=3) == [NOBODY, NOBODY, 1, 1, 1, 0]


def test_people_of_one_frame_get_clusters_of_their_own():
    """Two people walk side by side in frames 1 and 2; each joins the crop more like them."""
    embeddings = towards(0, 30, 2, 28)
    assert corrected([0, 0, 0, 0], known(frames=[1, 1, 2, 2]), embeddings) == [0, 1, 0, 1]


def test_the_longest_track_leads_and_stays_whole():
    embeddings = towards(0, 1, 2, 20, 21)
    pairs = known(tracks=[4, 4, 4, 9, -1], frames=[1, 2, 3, 2, -1])
    assert corrected([0] * 5, pairs, embeddings) == [0, 0, 0, 1, 1]


def test_small_parts_become_outliers():
    embeddings = towards(0, 1, 2, 40)
    pairs = known(frames=[1, 2, 3, 3])
    assert corrected([0] * 4, pairs, embeddings, min_samples=2) == [0, 0, 0, NOBODY]


def test_two_crops_of_one_track_in_one_frame_are_one_person():
    assert corrected([0, 0], known(tracks=[1, 1], frames=[8, 8])) == [0, 0]


def test_nothing_known_changes_nothing():
    pairs = KnownPairs.of_sites(np.zeros(4, dtype=np.int64))
    assert not pairs.has_more_than_sites
    assert corrected([0, NOBODY, 1, 0], pairs) == [0, NOBODY, 1, 0]


@given(st.data())
def test_no_frame_is_seen_twice_and_tracks_stay_whole(data):
    count = data.draw(st.integers(2, 24))
    numbers = st.lists(st.integers(-1, 5), min_size=count, max_size=count)
    labels, tracks, frames = (data.draw(numbers) for _ in range(3))
    least = data.draw(st.integers(1, 3))
    rng = np.random.default_rng(count)
    rows = rng.normal(size=(count, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = correct_clusters(ints(*labels), rows, known(tracks, frames), least)
    assert sorted({*found.tolist()} - {NOBODY}) == list(range(found.max() + 1))
    for track in {*tracks} - {-1}:
        assert len({*found[ints(*tracks) == track].tolist()}) == 1
    for label in {*found.tolist()} - {NOBODY}:
        seen = {}
        for crop in np.flatnonzero(found == label):
            unit = tracks[crop] if tracks[crop] >= 0 else -2 - crop
            assert frames[crop] == -1 or seen.setdefault(frames[crop], unit) == unit


def crops_of(people, tracks, frames):
    """Near embeddings for equal numbers, and samples with tracks and frames."""
    rng = np.random.default_rng(3)
    centres = np.eye(8, dtype=np.float32)[people]
    rows = centres + 0.05 * rng.normal(size=centres.shape).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    samples = [Sample(None, -1, 0, *pair) for pair in zip(tracks, frames, strict=True)]
    return rows, samples


@pytest.mark.parametrize("scheme", ["dbscan", "camera-link"])
@pytest.mark.parametrize("used", [True, False])
def test_clustering_keeps_twins_of_one_frame_apart(scheme, used):
    """Twins in equal clothes walk side by side; without frames, they are one cluster."""
    rows, samples = crops_of(
        [0] * 12 + [1] * 6, [0] * 6 + [1] * 6 + [2] * 6, [*range(6), *range(6), *range(6)]
    )
    options = ClusterOptions(scheme=scheme, k1=4, k2=2, eps=0.6, min_samples=2)
    pairs = KnownPairs.of(samples, np.zeros(18, dtype=np.int64), tracks=used, frames=used)
    labels = cluster(rows, np.zeros(18, dtype=np.int64), options, lambda _: None, known=pairs)
    twins = {*labels[:6].tolist()}, {*labels[6:12].tolist()}
    if used:
        assert [len(each) for each in twins] == [1, 1]
        assert not twins[0] & twins[1]
    else:
        assert twins[0] & twins[1]


@pytest.fixture
def tracked(drawn, tmp_path):
    """The drawn crops in a manifest; a track is a person's crops in a camera."""
    crops = read_dataset(DataSource(drawn)).train
    rows = ["path,camera,track", *(f"{c.path},{c.camera},{c.identity}" for c in crops)]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "manifest.csv"


@pytest.mark.parametrize("used", [True, False])
def test_a_runs_pseudo_labels_obey_the_tracks_of_its_manifest(
    quick, tracked, tmp_path, capsys, used
):
    changes = {"data.path": str(tracked), "clustering.tracks": used, "clustering.eps": 0.3}
    run(read_config(None, quick | ONE_STEP | changes), tmp_path / "run", torch.device("cpu"))
    record, crops = load_epoch(tmp_path / "run"), read_dataset(DataSource(tracked)).train
    labels = {}
    for label, crop in zip(record.labels.tolist(), crops, strict=True):
        labels.setdefault(crop.track, set()).add(label)
    divided = sum(len(each) > 1 for each in labels.values())
    told = capsys.readouterr()
    assert ("known pairs: 24 tracks" in told.out + told.err) == used
    assert (divided == 0) == used
