"""Metrics against hand calculation, a slow loop, and published figures on real crops."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.model.manifest import Accuracy
from service.search.kreciprocal import rerank
from training.data.datasets import Dataset, DataSource, Sample, read_dataset
from training.data.entries import DataError
from training.data.images import load_images
from training.measure import evaluation
from training.measure.evaluation import Protocol, evaluate, rank_gallery, score
from training.measure.tables import Form, format_results

SHARED = Path(__file__).parents[4] / "shared"
PROTOCOLS: tuple[Protocol, ...] = ("market1501", "cross-camera")


def samples(*labels: tuple[int, int]) -> list[Sample]:
    return [Sample(Path("x.jpg"), identity, camera) for identity, camera in labels]


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


# Worked out by hand: query 0 loses gallery 0 (same identity, same camera) and finds its two images
# at ranks 2 and 4; query 1 loses gallery 5 and finds its one image at rank 4; nobody is query 2.
HAND_QUERY = samples((1, 0), (2, 0), (9, 0))
HAND_GALLERY = samples((1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (2, 0))
HAND_DISTANCE = np.array(
    [
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        [0.05, 0.5, 0.3, 0.4, 0.35, 0.1],
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    ],
    np.float32,
)


def test_the_market1501_protocol_computed_by_hand() -> None:
    scores = score(HAND_DISTANCE, HAND_QUERY, HAND_GALLERY, protocol="market1501")
    np.testing.assert_allclose(scores.average_precision, [0.5, 0.25, math.nan], atol=1e-5)
    assert scores.map == pytest.approx(0.375, abs=1e-5)
    assert [scores.cmc(rank) for rank in range(1, 6)] == pytest.approx([0, 0.5, 0.5, 1, 1])
    assert (scores.queries, scores.skipped, scores.gallery) == (2, 1, 6)


def test_the_cross_camera_protocol_computed_by_hand() -> None:
    scores = score(HAND_DISTANCE, HAND_QUERY, HAND_GALLERY, protocol="cross-camera")
    # without camera 0, query 1 is compared with gallery 2, 4, 3, 1
    np.testing.assert_allclose(scores.average_precision, [0.5, 1 / 3, math.nan], atol=1e-5)
    assert scores.cmc(1) == 0


def test_junk_leaves_the_gallery_and_distractors_stay() -> None:
    gallery = samples((-1, 1), (0, 1), (1, 1))
    distance = np.array([[0.1, 0.2, 0.3]], np.float32)
    assert score(distance, samples((1, 0)), gallery, protocol="market1501").map == 0.5


def test_equal_distances_keep_the_order_of_the_gallery() -> None:
    gallery = samples(*((identity, 1) for identity in (2, 1) * 50))
    scores = score(np.zeros((1, 100), np.float32), samples((1, 0)), gallery, protocol="market1501")
    assert scores.first_hit.tolist() == [2]
    assert scores.map == pytest.approx(0.5)


def naive(
    distance: NDArray[np.float32],
    query: list[Sample],
    gallery: list[Sample],
    protocol: Protocol,
) -> list[tuple[float, int]]:
    """Average precision and first hit of each query that counts, one comparison at a time."""
    results = []
    for row, asked in zip(distance.tolist(), query, strict=True):
        ranked = sorted(zip(row, range(len(row)), gallery, strict=True), key=lambda item: item[:2])
        seen, correct, total, first = 0, 0, 0.0, 0
        for _, _, sample in ranked:
            same_camera = sample.camera == asked.camera
            same_identity = sample.identity == asked.identity
            if sample.identity == -1 or (same_camera and protocol == "cross-camera"):
                continue
            if same_camera and same_identity:
                continue
            seen += 1
            if same_identity:
                correct += 1
                total += correct / seen
                first = first or seen
        if correct:
            results.append((total / correct, first))
    return results


labels = st.tuples(st.integers(-1, 3), st.integers(0, 2))


@given(
    query=st.lists(labels, min_size=1, max_size=5),
    gallery=st.lists(labels, min_size=1, max_size=12),
    protocol=st.sampled_from(PROTOCOLS),
    data=st.data(),
)
def test_agrees_with_a_slow_loop(
    query: list[tuple[int, int]],
    gallery: list[tuple[int, int]],
    protocol: Protocol,
    data: st.DataObject,
) -> None:
    size = len(query) * len(gallery)
    # few distinct values, so that ties are common
    values = data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size))
    distance = np.array(values, np.float32).reshape(len(query), len(gallery))
    expected = naive(distance, samples(*query), samples(*gallery), protocol)
    if not expected:
        with pytest.raises(DataError, match="cannot evaluate"):
            score(distance, samples(*query), samples(*gallery), protocol=protocol)
        return
    scores = score(distance, samples(*query), samples(*gallery), protocol=protocol)
    counted = scores.first_hit > 0
    np.testing.assert_allclose(scores.average_precision[counted], [ap for ap, _ in expected])
    assert scores.first_hit[counted].tolist() == [first for _, first in expected]
    assert scores.map == pytest.approx(np.mean([ap for ap, _ in expected]))
    assert scores.cmc(2) == pytest.approx(np.mean([first <= 2 for _, first in expected]))


def crowd(
    seed: int = 0,
) -> tuple[NDArray[np.float32], list[Sample], NDArray[np.float32], list[Sample]]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(10, 16))
    query = samples(*((identity, 0) for identity in range(10)))
    gallery = samples(*((identity, camera) for identity in range(10) for camera in (0, 1, 2)))
    noise = rng.normal(size=(40, 16))
    return (
        unit(centres + noise[:10]),
        query,
        unit(np.repeat(centres, 3, axis=0) + noise[10:]),
        gallery,
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_blocks_do_not_change_the_scores(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(*crowd(), protocol=protocol)
    monkeypatch.setattr(evaluation, "_BLOCK_ELEMENTS", 90)  # three queries at a time
    parts = evaluate(*crowd(), protocol=protocol)
    np.testing.assert_array_equal(whole.average_precision, parts.average_precision)
    assert 0.3 < whole.map < 1.0


def test_evaluate_ranks_by_cosine() -> None:
    query, query_samples, gallery, gallery_samples = crowd()
    by_cosine = score(-(query @ gallery.T), query_samples, gallery_samples, protocol="market1501")
    scores = evaluate(query, query_samples, gallery, gallery_samples, protocol="market1501")
    np.testing.assert_array_equal(scores.average_precision, by_cosine.average_precision)
    assert not scores.rerank


def test_reranking_ranks_by_the_k_reciprocal_distance() -> None:
    query, query_samples, gallery, gallery_samples = crowd()
    scores = evaluate(query, query_samples, gallery, gallery_samples, rerank=True)
    expected = score(rerank(query, gallery), query_samples, gallery_samples, protocol="market1501")
    assert scores.rerank
    np.testing.assert_array_equal(scores.average_precision, expected.average_precision)
    assert scores.map != evaluate(query, query_samples, gallery, gallery_samples).map


def test_rankings_name_gallery_images_nearest_first() -> None:
    query, query_samples, gallery, gallery_samples = crowd()
    rankings = list(
        rank_gallery(query, query_samples, gallery, gallery_samples, protocol="cross-camera")
    )
    assert [ranking.query for ranking in rankings] == list(range(10))
    for ranking in rankings:
        assert len(ranking.gallery) == 20
        assert (np.diff(ranking.distance) >= 0).all()
        shown = [gallery_samples[index] for index in ranking.gallery]
        assert all(sample.camera != 0 for sample in shown)
        assert [sample.identity == ranking.query for sample in shown] == ranking.correct.tolist()


@pytest.mark.parametrize(
    ("query", "gallery", "reason"),
    [
        ([], [(1, 0)], "0 query and 1 gallery images"),
        ([(-1, 0)], [(1, 1)], "no query image has a known identity"),
        ([(1, 0)], [(1, 0), (2, 0)], "come from the same camera"),
        ([(1, 0)], [(1, 0), (2, 1)], "under the protocol market1501 none of 1 query images"),
    ],
)
def test_data_that_cannot_be_evaluated_is_an_error(
    query: list[tuple[int, int]], gallery: list[tuple[int, int]], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        evaluate(
            np.ones((len(query), 1), np.float32),
            samples(*query),
            np.ones((len(gallery), 1), np.float32),
            samples(*gallery),
        )


def test_values_that_do_not_match_are_an_error() -> None:
    query, gallery = samples((1, 0)), samples((1, 1), (2, 1))
    good, bad = np.ones((1, 2), np.float32), np.full((1, 2), np.nan, np.float32)
    with pytest.raises(ValueError, match=r"gallery embeddings \(1, 2\) for 2 samples"):
        evaluate(good, query, good, gallery)
    with pytest.raises(ValueError, match="query embeddings: holds a value that is not finite"):
        evaluate(bad, query, np.ones((2, 2), np.float32), gallery)
    with pytest.raises(ValueError, match=r"distance \(2, 1\) for 1 x 2 samples"):
        score(good.T, query, gallery, protocol="market1501")
    with pytest.raises(ValueError, match="distance: holds"):
        score(bad, query, gallery, protocol="market1501")


ROWS = (
    Accuracy(data="a|b", protocol="market1501", map=0.3314, rank1=0.292, rank5=0.5, rank10=1.0,
             queries=96, skipped=2, gallery=288),
    Accuracy(data="pku", protocol="cross-camera", rerank=True, map=0.8256, rank1=0.9375,
             rank5=1.0, rank10=1.0, queries=96, gallery=288),
)  # fmt: skip


def test_text_table() -> None:
    header, rule, first, second = format_results(ROWS).split("\n")
    assert "mAP % (finite sum)" in header
    assert set(rule) == {"-"}
    assert first.split() == [
        "a|b",
        "market1501",
        "no",
        "33.1",
        "29.2",
        "50.0",
        "100.0",
        "96",
        "2",
        "288",
    ]
    assert second.split() == [
        "pku",
        "cross-camera",
        "yes",
        "82.6",
        "93.8",
        "100.0",
        "100.0",
        "96",
        "0",
        "288",
    ]
    assert len(header) == len(first) == len(second) == len(rule)


def test_markdown_table() -> None:
    lines = format_results(ROWS, "markdown").split("\n")
    assert lines[1].startswith("| --- | --- | --- | ---: |")
    assert "mAP % (finite sum)" in lines[0]
    assert r"| a\|b |" in lines[2]
    assert len(lines) == 4


def test_json_keeps_every_digit() -> None:
    document = json.loads(format_results(ROWS, "json"))
    assert document["map_form"] == "finite sum"
    assert [Accuracy.model_validate(row) for row in document["results"]] == list(ROWS)


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_no_results_give_an_empty_table(form: Form) -> None:
    assert "finite sum" in format_results([], form)


def test_accuracy_line_repeats_the_scores() -> None:
    scores = score(HAND_DISTANCE, HAND_QUERY, HAND_GALLERY, protocol="market1501")
    line = scores.accuracy("by hand")
    assert (line.map, line.rank1, line.rank5) == pytest.approx((0.375, 0.0, 1.0))
    assert (line.data, line.queries, line.skipped, line.gallery) == ("by hand", 2, 1, 6)
    assert (line.protocol, line.rerank) == ("market1501", False)


def test_evaluation_needs_no_torch() -> None:
    program = (
        "import sys, training.measure.evaluation, training.measure.pictures; "
        "import training.measure.tables; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'service.gallery', 'faiss')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.fixture(scope="module")
def pku() -> Dataset:
    folder = SHARED / "data" / "pku-reid"
    if not folder.is_dir():
        pytest.skip(f"../shared: needs real crops: {folder} is absent")
    return read_dataset(DataSource(folder))


@pytest.fixture(scope="module")
def yardstick(pku: Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Query and gallery embeddings of a public supervised network."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime to run a network")
    path = SHARED / "thirdparty" / "person-reidentification-retail-0267.ortfix.onnx"
    if not path.is_file():
        pytest.skip(f"../shared: needs a public supervised network: {path} is absent")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the file has initializers that it does not use
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def embed(samples: tuple[Sample, ...]) -> NDArray[np.float32]:
        pixels = load_images(samples, 256, 128).pixels
        images = pixels.transpose(0, 3, 1, 2).astype(np.float32)  # (N, 3, 256, 128)
        return unit(np.stack([session.run(None, {name: i[None]})[0].ravel() for i in images]))

    return embed(pku.query), embed(pku.gallery)


@pytest.mark.parametrize(
    ("protocol", "mean_average_precision", "rank1"),
    [("market1501", 0.331, 0.292), ("cross-camera", 0.826, 0.938)],
)
def test_agrees_with_published_figures(
    pku: Dataset,
    yardstick: tuple[NDArray[np.float32], NDArray[np.float32]],
    protocol: Protocol,
    mean_average_precision: float,
    rank1: float,
) -> None:
    query, gallery = yardstick
    scores = evaluate(query, pku.query, gallery, pku.gallery, protocol=protocol)
    assert scores.map == pytest.approx(mean_average_precision, abs=0.005)
    assert scores.cmc(1) == pytest.approx(rank1, abs=0.005)
    assert (scores.queries, scores.skipped) == (96, 0)
