"""The record that a run keeps of its last epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.data.datasets import Sample
from training.run.epoch_record import RECORD_NAME, load_epoch, save_epoch


def samples(count: int) -> list[Sample]:
    return [Sample(Path(f"{index}.jpg"), index // 2, index % 3) for index in range(count)]


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)


def test_a_small_epoch_is_kept_whole_and_the_next_replaces_it(tmp_path):
    save_epoch(tmp_path, rows(6), np.zeros(6, np.int64), samples(6), seed=1)
    labels = np.array([0, 0, 1, 1, -1, 2])
    save_epoch(tmp_path, rows(6), labels, samples(6), seed=1)
    record = load_epoch(tmp_path)
    assert record is not None
    np.testing.assert_array_equal(record.labels, labels)
    np.testing.assert_array_equal(record.cameras, [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(record.identities, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(record.drawn, range(6))
    np.testing.assert_allclose(record.embeddings, rows(6), rtol=1e-3)
    assert [file.name for file in tmp_path.iterdir()] == [RECORD_NAME]


def test_the_same_3000_embeddings_of_many_crops_are_kept(tmp_path):
    drawn = []
    for epoch in range(2):
        save_epoch(tmp_path, rows(4000) + epoch, np.zeros(4000, np.int64), samples(4000), seed=5)
        record = load_epoch(tmp_path)
        assert record is not None
        assert len(record.labels) == 4000
        assert record.embeddings.dtype == np.float16
        drawn.append(record.drawn)
    assert len(np.unique(drawn[0])) == 3000
    np.testing.assert_array_equal(*drawn)


def test_a_missing_record_is_none_and_a_damaged_one_is_an_error(tmp_path):
    assert load_epoch(tmp_path) is None
    save_epoch(tmp_path, rows(6), np.zeros(6, np.int64), samples(6), seed=1)
    file = tmp_path / RECORD_NAME
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InvalidInput, match=RECORD_NAME):
        load_epoch(tmp_path)
