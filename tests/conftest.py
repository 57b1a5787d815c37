"""A real model, small enough to build in every test run; and the gate for every test."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from httpx._transports import default as http_transport

sys.path.insert(0, str(Path(__file__).parent))  # the module ``gate``

import gate
from gate import (
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_make_collect_report,
    pytest_runtest_makereport,
)

from service.model.manifest import Manifest, read_manifest, sha256_of, write_manifest
from service.testing import TINY_CALIBRATION

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_make_collect_report",
    "pytest_runtest_makereport",
]
gate.same_settings()

HEIGHT, WIDTH, DIMENSION = 64, 32, 48
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


# From the flat features to the output: operator, sources, result, attributes.
UNIT = ("LpNormalization", ["rows"], "OUTPUT", {"axis": 1, "p": 2})
ENDINGS = {
    "unit": [("Identity", ["features"], "rows", {}), UNIT],
    "long": [("Identity", ["features"], "OUTPUT", {})],
    "half": [("Cast", ["features"], "OUTPUT", {"to": 10})],  # float16
    "constant": [
        ("Mul", ["features", "0"], "nothing", {}),
        ("Add", ["nothing", "1"], "rows", {}),
        UNIT,
    ],
    "nan": [
        ("Mul", ["features", "0"], "nothing", {}),
        ("Div", ["nothing", "nothing"], "OUTPUT", {}),
    ],
    # The logarithm is undefined for the darkest cells, which only black images have.
    "nan-when-black": [("Add", ["features", "2"], "sum", {}), ("Log", ["sum"], "rows", {}), UNIT],
    "zero-when-black": [
        ("Add", ["features", "1.8"], "sum", {}),
        ("Relu", ["sum"], "rows", {}),
        UNIT,
    ],
    # As batch normalisation does that was left in training mode.
    "batch": [
        ("ReduceMean", ["features"], "mean_row", {"axes": [0]}),
        ("Mul", ["mean_row", "0.5"], "share", {}),
        ("Sub", ["features", "share"], "rows", {}),
        UNIT,
    ],
    "first": [("Gather", ["features", "first"], "rows", {"axis": 0}), UNIT],
}


@dataclass(frozen=True)
class Graph:
    """A network whose embedding is a 4x4 grid of mean colours; every field can break a rule."""

    input_name: str = "images"
    input_type: str = "uint8"
    input_shape: tuple[int | str, ...] = ("N", HEIGHT, WIDTH, 3)
    output_name: str = "embeddings"
    output_shape: tuple[int | str, ...] = ("N", DIMENSION)
    second_input: bool = False
    ending: str = "unit"


def build_onnx(path: Path, graph: Graph) -> Path:
    """Write the network."""
    onnx = pytest.importorskip("onnx", reason="onnx, which builds the test's network, is missing")
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: object, kind: type = np.float32) -> object:
        return numpy_helper.from_array(np.asarray(value, dtype=kind), name)

    kind = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}[graph.input_type]
    inputs = [helper.make_tensor_value_info(graph.input_name, kind, graph.input_shape)]
    if graph.second_input:
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 1]))
    result_type = TensorProto.FLOAT16 if graph.ending == "half" else TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info(graph.output_name, result_type, graph.output_shape)]
    layout = [] if graph.input_shape[1] == 3 else [0, 3, 1, 2]
    nodes = [
        helper.make_node("Cast", [graph.input_name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=layout or [0, 1, 2, 3]),
        helper.make_node("Sub", ["planes", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalised"]),
        helper.make_node(
            "AveragePool",
            ["normalised"],
            ["grid"],
            kernel_shape=[HEIGHT // 4, WIDTH // 4],
            strides=[HEIGHT // 4, WIDTH // 4],
        ),
        helper.make_node("Flatten", ["grid"], ["features"], axis=1),
        *(
            helper.make_node(
                kind, sources, [result.replace("OUTPUT", graph.output_name)], **options
            )
            for kind, sources, result, options in ENDINGS[graph.ending]
        ),
    ]
    weights = [
        constant("mean", np.reshape(IMAGENET_MEAN, (3, 1, 1))),
        constant("std", np.reshape(IMAGENET_STD, (3, 1, 1))),
        *(constant(number, float(number)) for number in ("0", "0.5", "1", "1.8", "2")),
        constant("first", [0], np.int64),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Read the certificates for HTTPS once per process, not for each of thousands of HTTP clients.

    It takes a client fifty milliseconds, and every server under test speaks plain HTTP.
    """
    with pytest.MonkeyPatch.context() as patch:
        read_once = cache(http_transport.create_ssl_context)
        patch.setattr(http_transport, "create_ssl_context", read_once)
        yield


ModelBuilder = Callable[..., Path]


@pytest.fixture(scope="session")
def build_model(tmp_path_factory: pytest.TempPathFactory) -> ModelBuilder:
    """Builds a model folder; keywords are fields of ``Graph`` that break the contract."""

    def build(**changes: object) -> Path:
        folder = tmp_path_factory.mktemp("models") / "tiny"
        folder.mkdir()
        file = build_onnx(folder / "model.onnx", Graph(**changes))
        manifest = Manifest(
            name="tiny",
            created="2025-01-01T00:00:00Z",
            sha256=sha256_of(file),
            input_height=HEIGHT,
            input_width=WIDTH,
            dimension=DIMENSION,
            opset=17,
            training_data="none",
            calibration=TINY_CALIBRATION,
            licence="Apache-2.0",
        )
        write_manifest(folder, manifest)
        return folder

    return build


@pytest.fixture(scope="session")
def tiny_model(build_model: ModelBuilder) -> Path:
    """A sound model folder with a calibration; takes 64x32 crops. Not to be changed."""
    return build_model()


def other_model(folder: Path, source: Path, name: str, **changes: float) -> None:
    """A model with other constants, and so other embeddings."""
    onnx = pytest.importorskip("onnx", reason="onnx, which builds the test's networks, is missing")
    shutil.copytree(source, folder)
    model = onnx.load(folder / "model.onnx")
    for weights in model.graph.initializer:
        if weights.name in changes:
            values = onnx.numpy_helper.to_array(weights) * np.float32(changes[weights.name])
            weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(model, folder / "model.onnx")
    manifest = read_manifest(source)
    sha256 = sha256_of(folder / "model.onnx")
    write_manifest(folder, manifest.model_copy(update={"name": name, "sha256": sha256}))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """Two models with other embeddings than the running one's: ``old`` and ``new``."""
    folder = tmp_path_factory.mktemp("shelf")
    other_model(folder / "old", tiny_model, "old", mean=1.1)
    other_model(folder / "new", tiny_model, "new", mean=0.5)
    return folder
