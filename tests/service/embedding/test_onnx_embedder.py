"""The real embedder on a real, tiny network."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from service.embedding.onnx_embedder import LARGEST_RUN, OnnxEmbedder, pad
from service.errors import ArtifactError, InvalidImage
from service.model.manifest import read_manifest

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def crops(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (count, 64, 32, 3), dtype=np.uint8)


def reference(images: np.ndarray) -> np.ndarray:
    """The tiny network in NumPy: normalise, mean of a 4x4 grid, unit length."""
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    planes = ((images - np.array(mean)) / std).transpose(0, 3, 1, 2)
    grid = planes.reshape(len(images), 3, 4, 16, 4, 8).mean(axis=(3, 5))
    rows = grid.reshape(len(images), -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def embedder(tiny_model) -> OnnxEmbedder:
    return OnnxEmbedder(tiny_model, device="cpu", threads=1)


@pytest.mark.parametrize("count", [1, 2, 7, LARGEST_RUN, LARGEST_RUN + 1, 2 * LARGEST_RUN + 3])
def test_every_batch_size_gives_the_rows_computed_by_hand(embedder, count):
    rows = embedder.embed(crops(count))
    assert rows.shape == (count, 48)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, reference(crops(count)), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)


def test_an_image_has_the_same_embedding_alone_and_in_a_batch(embedder):
    together = embedder.embed(crops(9))
    alone = np.concatenate([embedder.embed(image[None]) for image in crops(9)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_manifest_and_device_are_exposed(embedder, tiny_model):
    assert embedder.manifest == read_manifest(tiny_model)
    assert embedder.provider == "cpu"


def test_a_bare_file_works_without_a_manifest(tiny_model, tmp_path, embedder):
    file = tmp_path / "bare.onnx"
    shutil.copy(tiny_model / "model.onnx", file)
    bare = OnnxEmbedder(file, device="cpu")
    assert bare.manifest.name == "bare"
    np.testing.assert_array_equal(bare.embed(crops(2)), embedder.embed(crops(2)))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 64, 32, 3), dtype=np.uint8),
        np.zeros((64, 32, 3), dtype=np.uint8),
        np.zeros((1, 32, 64, 3), dtype=np.uint8),
        np.zeros((1, 3, 64, 32), dtype=np.uint8),
        np.zeros((1, 64, 32, 4), dtype=np.uint8),
        np.zeros((1, 64, 32, 3), dtype=np.float32),
    ],
    ids=lambda images: f"{images.dtype}{images.shape}",
)
def test_anything_but_a_batch_of_crops_is_a_programming_error(embedder, images):
    with pytest.raises(ValueError, match=r"the model takes uint8 \(N, 64, 32, 3\)"):
        embedder.embed(images)


def test_several_threads_may_embed_at_once(embedder):
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda seed: embedder.embed(crops(5, seed)), range(20)))
    for seed, rows in enumerate(results):
        np.testing.assert_allclose(rows, reference(crops(5, seed)), atol=1e-4)


@pytest.mark.parametrize("ending", ["nan-when-black", "zero-when-black"])
def test_zero_and_non_finite_embeddings_are_errors_that_count_the_images(build_model, ending):
    embedder = OnnxEmbedder(build_model(ending=ending), device="cpu")
    images = crops(5)
    embedder.embed(images)
    images[[1, 3]] = 0
    with pytest.raises(InvalidImage, match="embedding for 2 of 5 images"):
        embedder.embed(images)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"input_type": "float32"}, "the input is float32"),
        ({"input_name": "data", "output_name": "reid"}, "`data`.*`reid`"),
        ({"ending": "long"}, "embeddings have lengths"),
        ({"ending": "batch"}, "alone and in a batch"),
        ({"ending": "nan"}, "NaN"),
    ],
    ids=str,
)
def test_a_model_that_breaks_the_contract_is_refused(build_model, changes, found):
    folder = build_model(**changes)
    with pytest.raises(ArtifactError, match=found):
        OnnxEmbedder(folder, device="cpu")
    with pytest.raises(ArtifactError, match=found):
        OnnxEmbedder(folder / "model.onnx", device="cpu")


def test_a_changed_network_is_refused(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "changed")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\x00")
    with pytest.raises(ArtifactError, match="sha256"):
        OnnxEmbedder(folder, device="cpu")


def test_auto_uses_the_available_device(tiny_model):
    assert OnnxEmbedder(tiny_model).provider in ({"cuda", "cpu"} if HAS_CUDA else {"cpu"})


@pytest.mark.skipif(HAS_CUDA, reason="GPU: this ONNX Runtime has CUDA, so asking may succeed")
def test_requiring_cuda_rejects_the_cpu(tiny_model):
    with pytest.raises(ArtifactError, match=r"no CUDA; install hhcl-reid\[server-gpu\]"):
        OnnxEmbedder(tiny_model, device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="GPU: the installed ONNX Runtime has no CUDA")
@pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="GPU: no NVIDIA driver on this machine")
def test_cuda_and_cpu_agree_for_every_batch_size(tiny_model, embedder):
    on_gpu = OnnxEmbedder(tiny_model, device="cuda")
    assert on_gpu.provider == "cuda"
    for count in (1, 3, 8, 33, LARGEST_RUN + 5):
        difference = np.abs(on_gpu.embed(crops(count)) - embedder.embed(crops(count)))
        assert difference.max() < 1e-3


@pytest.mark.parametrize(
    ("count", "padded"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (33, 64), (64, 64)]
)
def test_padding_fills_up_to_a_power_of_two(count, padded):
    images = crops(count)
    filled = pad(images)
    assert len(filled) == padded
    np.testing.assert_array_equal(filled[:count], images)
    assert not filled[count:].any()


def test_padding_does_not_reach_the_answer(tiny_model, embedder):
    padding = OnnxEmbedder(tiny_model, device="cpu")
    padding._provider = "cuda"  # pads as it would on the GPU, though the session runs on the CPU
    for count in (1, 3, LARGEST_RUN + 5):
        np.testing.assert_allclose(
            padding.embed(crops(count)), embedder.embed(crops(count)), atol=1e-6
        )
