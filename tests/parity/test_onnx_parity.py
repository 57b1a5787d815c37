"""ONNX Runtime and PyTorch agree on real crops, with the shipped network and real weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.model.manifest import Manifest, sha256_of
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.export.onnx_file import BATCHES, check_parity, write_onnx
from training.hhcl.network import build_network
from training.networks.embedder import OnnxEmbedder, TorchEmbedder, open_onnx
from training.networks.exported import MIN_COSINE

HEIGHT, WIDTH = 160, 80
SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="module")
def trained() -> TorchEmbedder:
    weights = SHARED / "weights" / "mobilenet_v2-imagenet1k.pth"
    if not weights.exists():
        pytest.skip("../shared: the folder with real weights is not here")
    network = build_network("mobilenet_v2", weights=str(weights), last_stride=2).eval()
    return TorchEmbedder(network, HEIGHT, WIDTH, torch.device("cpu"))


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    folder = SHARED / "data" / "pku-reid"
    if not folder.exists():
        pytest.skip("../shared: the folder with real crops is not here")
    return load_images(read_dataset(DataSource(folder)).query[:40], HEIGHT, WIDTH).pixels


@pytest.fixture(scope="module")
def exported(trained: TorchEmbedder, tmp_path_factory: pytest.TempPathFactory) -> OnnxEmbedder:
    file = tmp_path_factory.mktemp("parity") / "model.onnx"
    write_onnx(trained.network, HEIGHT, WIDTH, file)
    assert file.stat().st_size < 15_000_000
    manifest = Manifest(
        name="parity",
        sha256=sha256_of(file),
        input_height=HEIGHT,
        input_width=WIDTH,
        dimension=1280,
    )
    return open_onnx(file, manifest)


def test_real_crops_agree_alone_and_in_batches(
    trained: TorchEmbedder, exported: OnnxEmbedder, crops: NDArray[np.uint8]
) -> None:
    parity = check_parity(trained.embed(crops), exported, crops)
    assert parity.cosine >= MIN_COSINE
    assert (parity.crops, parity.batches) == (40, BATCHES)


def test_artificial_pictures_agree(trained: TorchEmbedder, exported: OnnxEmbedder) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, HEIGHT, WIDTH, 3)).astype(np.uint8)
    images[0], images[1] = 0, 255
    assert check_parity(trained.embed(images), exported, images).cosine >= MIN_COSINE


def test_embeddings_have_unit_length(exported: OnnxEmbedder, crops: NDArray[np.uint8]) -> None:
    embeddings = exported.embed(crops)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (len(crops), 1280)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
