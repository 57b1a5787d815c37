"""The fake embedder behaves like a real one, without a network."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from service.embedding.embedder import Embedder
from service.embedding.imaging import decode
from service.errors import InvalidImage
from service.testing import TINY_MANIFEST, FakeEmbedder, encode, solid

FINGERPRINT = """
import numpy as np
from service.testing import FakeEmbedder
images = np.arange(64 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 64, 32, 3)
print(FakeEmbedder().embed(images).tobytes().hex())
"""


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 32, 3), dtype=np.uint8)


def of_colour(*colour: int) -> np.ndarray:
    return np.full((1, 64, 32, 3), colour, dtype=np.uint8)


def test_it_is_an_embedder():
    embedder: Embedder = FakeEmbedder()
    rows = embedder.embed(crops(5))
    assert rows.shape == (5, embedder.manifest.dimension)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    assert embedder.provider == "cpu"


def test_equal_pixels_give_equal_embeddings_alone_and_in_a_batch():
    together = FakeEmbedder().embed(crops(4))
    for image, row in zip(crops(4), together, strict=True):
        np.testing.assert_array_equal(FakeEmbedder().embed(image[None])[0], row)


def test_equal_pixels_give_equal_embeddings_in_another_process():
    runs = [
        subprocess.run([sys.executable, "-c", FINGERPRINT], capture_output=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].strip()) == 2 * 4 * TINY_MANIFEST.dimension


def test_similar_colours_are_nearer_than_other_colours():
    red, dark_red, blue = (
        FakeEmbedder().embed(of_colour(*colour))[0]
        for colour in [(220, 20, 20), (190, 30, 30), (20, 20, 220)]
    )
    assert red @ dark_red > 0.95
    assert red @ blue < 0.7


def test_the_place_of_a_colour_matters():
    image = of_colour(200, 30, 30)
    image[:, 32:] = (30, 30, 200)
    same, flipped = FakeEmbedder().embed(np.concatenate([image, image[:, ::-1]]))
    assert same @ flipped < 0.9


@pytest.mark.parametrize("grey", [0, 127, 128, 255])
def test_plain_grey_has_a_direction(grey):
    assert np.isfinite(FakeEmbedder().embed(of_colour(grey, grey, grey))).all()


def test_a_fault_sees_every_image():
    def refuse_black(image):
        if not image.any():
            raise InvalidImage("black")

    embedder = FakeEmbedder(fault=refuse_black)
    assert len(embedder.embed(crops(2))) == 2
    with pytest.raises(InvalidImage, match="black"):
        embedder.embed(np.concatenate([crops(2), of_colour(0, 0, 0)]))


def test_a_delay_takes_its_time():
    started = time.perf_counter()
    FakeEmbedder(delay=0.05).embed(crops(1))
    assert time.perf_counter() - started >= 0.05


def test_another_manifest_sets_the_sizes():
    manifest = TINY_MANIFEST.model_copy(update={"input_height": 40, "dimension": 7})
    rows = FakeEmbedder(manifest).embed(np.zeros((2, 40, 32, 3), dtype=np.uint8))
    assert rows.shape == (2, 7)


def test_it_checks_its_input_like_the_real_one():
    with pytest.raises(ValueError, match="the model takes uint8"):
        FakeEmbedder().embed(np.zeros((1, 32, 64, 3), dtype=np.uint8))


def test_pictures_survive_encoding_and_decoding():
    pixels = crops(1)[0]
    np.testing.assert_array_equal(decode(encode(pixels), 64, 32), pixels)
    assert np.abs(decode(solid((10, 200, 60)), 64, 32).astype(int) - (10, 200, 60)).max() <= 3
