"""A search whose embeddings cancel out, whose crops are deleted, or whose model changes."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest

from service.embedding.batching import Batcher
from service.embedding.encoded_image import EncodedImage
from service.embedding.imaging import ImageLimits
from service.embedding.intake import Intake
from service.embedding.onnx_embedder import OnnxEmbedder
from service.embedding.shelf import Model, ModelShelf
from service.errors import InvalidInput, Unavailable
from service.gallery.base import Filter
from service.gallery.disk.store import DiskGalleryStore
from service.machine.executors import Threads
from service.machine.stopwatch import Stopwatch
from service.metrics import Metrics
from service.search.searcher import Payer, Searcher, SearchOptions
from service.search.shots import QueryPicture
from service.testing import TINY_MANIFEST, FakeEmbedder, solid

BLACK, WHITE = (
    EncodedImage("black", solid((0, 0, 0))),
    EncodedImage("white", solid((255, 255, 255))),
)


class Opposites(FakeEmbedder):
    """Dark images point one way, bright ones the other."""

    def embed(self, images):
        row = np.zeros(self.manifest.dimension, dtype=np.float32)
        row[0] = 1.0
        return np.stack([row if image.mean() > 127 else -row for image in images])


class Forgetful(DiskGalleryStore):
    """Deletes crops right after a query found them."""

    def open(self, name):
        gallery = super().open(name)
        query = gallery.query

        def query_and_delete(*arguments):
            hits = query(*arguments)
            gallery.delete(Filter())
            return hits

        gallery.query = query_and_delete
        return gallery


def _results(outcome):
    return outcome.results


def search(store, embedder, uploads, **options):
    async def run():
        batcher = Batcher(embedder.embed, embedder.manifest)
        intake = Intake(batcher, embedder.manifest, ImageLimits(), 1, Metrics())
        model = Model(embedder.manifest, "cpu", batcher, intake)
        reads, heavy = Threads("read", 2, print), Threads("heavy", 1, print)
        searcher = Searcher(store, ModelShelf(model, None, OnnxEmbedder), reads, heavy)
        payer = Payer("key 1f0e7c2d", lambda _: None)
        asked = SearchOptions("people", 5, Filter(), **options)
        try:
            stopwatch = Stopwatch(lambda *_: None)
            pictures = [QueryPicture(upload, upload.file) for upload in uploads]
            return await searcher.search(pictures, asked, payer, stopwatch, _results)
        finally:
            await batcher.close()
            intake.close()

    return asyncio.run(run())


@pytest.fixture
def store(request, tmp_path):
    kind = getattr(request, "param", DiskGalleryStore)
    opened = kind(tmp_path, device="cpu")
    opened.create("people", TINY_MANIFEST.sha256, TINY_MANIFEST.dimension)
    yield opened
    opened.close()


def test_images_that_cancel_each_other_out_make_no_query(store):
    with pytest.raises(InvalidInput, match="cancel each other out"):
        search(store, Opposites(), [BLACK, WHITE], combine=True)
    assert len(search(store, Opposites(), [BLACK, WHITE])) == 2


@pytest.mark.parametrize("store", [Forgetful], indirect=True)
def test_crops_deleted_during_re_ranking_make_the_search_retryable(store):
    from service.gallery.base import Crop

    row = FakeEmbedder().embed(np.zeros((1, 64, 32, 3), dtype=np.uint8))
    DiskGalleryStore.open(store, "people").upsert([Crop("a")], row)
    with pytest.raises(Unavailable, match="deleted while"):
        search(store, FakeEmbedder(), [BLACK], rerank_top=10)


def test_a_service_with_a_new_model_warns_about_old_galleries(start, tmp_path, caplog):
    other = TINY_MANIFEST.model_copy(update={"sha256": "1" * 64})
    with start() as service:
        service.put("default", "a", BLACK.data)
    with caplog.at_level(logging.WARNING), start(FakeEmbedder(manifest=other)) as service:
        assert "'default' holds embeddings of model" in caplog.text
        assert service.search(("a", BLACK.data)).json()["code"] == "model_mismatch"
        service.create("new")
        assert service.put("new", "a", BLACK.data).status_code == 201
