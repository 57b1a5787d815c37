"""Galleries to test, and an exact, slow one to compare them with."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.gallery.base import Crop, Filter, Hit
from service.gallery.disk.store import DiskGalleryStore
from service.gallery.protocol import Gallery, GalleryStore

try:
    from service.gallery.milvus.store import MilvusGalleryStore
except ImportError:
    MilvusGalleryStore = None

Reopen = Callable[[], GalleryStore]


@pytest.fixture(scope="session")
def draw() -> Callable[..., NDArray[np.float32]]:
    """Draws random unit rows: ``draw(rows, dimension, seed)``."""

    def unit_rows(rows: int, dimension: int = 8, seed: int = 0) -> NDArray[np.float32]:
        drawn = np.random.default_rng(seed).standard_normal((rows, dimension))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    return unit_rows


@dataclass
class Oracle:
    """A gallery as a dictionary; every answer by a plain loop."""

    rows: dict[str, tuple[Crop, NDArray[np.float32]]] = field(default_factory=dict)

    def upsert(self, crops: Sequence[Crop], embeddings: NDArray[np.float32]) -> int:
        before = len(self.rows)
        self.rows.update({c.crop_id: (c, e) for c, e in zip(crops, embeddings, strict=True)})
        return len(self.rows) - before

    def relabel(self, labels: Mapping[str, str | None]) -> None:
        for crop_id, identity in labels.items():
            if crop_id in self.rows:
                crop, embedding = self.rows[crop_id]
                self.rows[crop_id] = replace(crop, identity=identity, origin="hand"), embedding

    def delete(self, where: Filter) -> int:
        deleted = [crop.crop_id for crop in self.listed(where)]
        for crop_id in deleted:
            del self.rows[crop_id]
        return len(deleted)

    def listed(self, where: Filter) -> list[Crop]:
        return sorted(
            (crop for crop, _ in self.rows.values() if passes(crop, where)),
            key=lambda crop: crop.crop_id,
        )

    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        crops = self.listed(where)
        answer = []
        for query in embeddings:
            hits = [Hit(crop, cosine(query, self.rows[crop.crop_id][1])) for crop in crops]
            answer.append(sorted(hits, key=lambda hit: (-hit.score, hit.crop.crop_id))[:top_k])
        return answer

    def assert_answers(
        self, gallery: Gallery, embeddings: NDArray[np.float32], top_k: int, where: Filter
    ) -> None:
        """Same crops with the same metadata in the same order, same cosines."""
        found = gallery.query(embeddings, top_k, where)
        expected = self.query(embeddings, top_k, where)
        assert len(found) == len(expected)
        for hits, others in zip(found, expected, strict=True):
            assert [hit.crop for hit in hits] == [hit.crop for hit in others]
            np.testing.assert_allclose(
                [hit.score for hit in hits], [hit.score for hit in others], rtol=0, atol=1e-5
            )


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    dot = math.fsum(float(a) * float(b) for a, b in zip(one, other, strict=True))
    lengths = [math.sqrt(math.fsum(float(a) ** 2 for a in row)) for row in (one, other)]
    return float(np.float32(dot / lengths[0] / lengths[1]))


def date_of(crop: Crop) -> float:
    """The timestamp, or the time the crop was added if it has none."""
    return crop.added if crop.timestamp is None else crop.timestamp


def passes(crop: Crop, where: Filter) -> bool:
    """Apply the filter exactly as ``Filter`` documents it."""
    in_window = crop.timestamp is not None or (where.since is None and where.until is None)
    return (
        (where.cameras is None or crop.camera in where.cameras)
        and (where.tracks is None or crop.track in where.tracks)
        and (where.origins is None or crop.origin in where.origins)
        and (where.not_camera is None or crop.camera != where.not_camera)
        and in_window
        and (where.since is None or (crop.timestamp or 0.0) >= where.since)
        and (where.until is None or (crop.timestamp or 0.0) < where.until)
        and (where.identities is None or crop.identity in where.identities)
        and (where.crop_ids is None or crop.crop_id in where.crop_ids)
        and (where.has_identity is None or (crop.identity is not None) == where.has_identity)
        and (where.expired_before is None or date_of(crop) < where.expired_before)
        and (where.own_camera is None or crop.camera != where.own_camera)
        and (where.id_prefix is None or crop.crop_id.startswith(where.id_prefix))
        and (where.added_since is None or crop.added >= where.added_since)
        and (where.added_until is None or crop.added < where.added_until)
    )


def open_milvus(path: Path) -> GalleryStore:
    if MilvusGalleryStore is None or importlib.util.find_spec("milvus_lite") is None:
        pytest.skip("pymilvus and milvus-lite are not installed")
    return MilvusGalleryStore(str(path))


def open_store(backend: str, folder: Path) -> GalleryStore:
    if backend == "milvus":
        return open_milvus(folder / "milvus.db")
    return DiskGalleryStore(folder / "data", device="cpu")


@pytest.fixture(scope="module")
def backend() -> str:
    """Which store to test; the conformance suite runs with each."""
    return "local"


@pytest.fixture
def reopen(backend: str, tmp_path: Path) -> Iterator[Reopen]:
    """Opens this test's store again, closing it first if it is open."""
    opened: list[GalleryStore] = []

    def open_again() -> GalleryStore:
        while opened:
            opened.pop().close()
        opened.append(open_store(backend, tmp_path))
        return opened[-1]

    yield open_again
    while opened:
        opened.pop().close()


@pytest.fixture
def store(reopen: Reopen) -> GalleryStore:
    """An empty store."""
    return reopen()


@pytest.fixture(scope="module")
def shared_store(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GalleryStore]:
    """One store for all tests of a file that only read it."""
    opened = open_store(backend, tmp_path_factory.mktemp("shared"))
    yield opened
    opened.close()


@pytest.fixture
def oracle() -> Oracle:
    """An empty exact, slow gallery."""
    return Oracle()


@pytest.fixture(scope="module")
def shared_oracle() -> Oracle:
    """What belongs into the shared store."""
    return Oracle()
