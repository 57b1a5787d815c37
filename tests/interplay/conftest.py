"""Features of the service that meet each other, one step at a time."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the package ``pauses``

from service.artifact import read_manifest, sha256_of, write_manifest


@pytest.fixture(scope="module")
def launch_models(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with the models ``old`` and ``new``, whose embeddings differ."""
    onnx = pytest.importorskip("onnx", reason="onnx, which builds the test's networks, is missing")
    folder = tmp_path_factory.mktemp("shelf")
    for name, factor in (("old", 1.1), ("new", 0.5)):
        shutil.copytree(tiny_model, folder / name)
        model = onnx.load(folder / name / "model.onnx")
        for weights in model.graph.initializer:
            if weights.name == "mean":
                values = onnx.numpy_helper.to_array(weights) * np.float32(factor)
                weights.CopyFrom(onnx.numpy_helper.from_array(values, "mean"))
        onnx.save(model, folder / name / "model.onnx")
        sha256 = sha256_of(folder / name / "model.onnx")
        manifest = read_manifest(tiny_model).model_copy(update={"name": name, "sha256": sha256})
        write_manifest(folder / name, manifest)
    return folder
