"""Networks that were trained elsewhere keep the contract and their embeddings once wrapped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from service.embedding.onnx_embedder import OnnxEmbedder
from service.errors import ArtifactError, Conflict, InvalidInput
from service.model.contract import check_model
from service.model.manifest import read_manifest
from training.core.transforms import normalise
from training.export.wrapping.original import open_original
from training.export.wrapping.preprocessing import Preprocessing, parse_three
from training.export.wrapping.presets import PRESETS, recognise
from training.export.wrapping.wrap import WrapOptions, wrap
from training.networks.embedder import open_start
from training.networks.exported import read_exported

HEIGHT, WIDTH, DIMENSION = 64, 32, 24
IMAGENET = {"mean": (123.675, 116.28, 103.53), "scale": (58.395, 57.12, 57.375)}
KNOWN = WrapOptions("theirs", **IMAGENET, colour="rgb", resize="bicubic")
WEIGHTS = np.random.default_rng(0).normal(size=(48, DIMENSION)).astype(np.float32)
CROPS = np.random.default_rng(1).integers(0, 256, (9, HEIGHT, WIDTH, 3)).astype(np.uint8)

Node = tuple[str, list[str], list[str], dict[str, object]]


def build(
    path: Path,
    *,
    shape: Sequence[int | str] = (1, 3, HEIGHT, WIDTH),
    kind: int = TensorProto.FLOAT,
    flat: Sequence[int] | None = (1, 48),
    names: tuple[str, str] = ("input", "output"),
    opset: int = 17,
    more: Sequence[Node] = (),
    result: str = "rows",
    constants: dict[str, NDArray] | None = None,
    outputs: Sequence[tuple[str, Sequence[int | str]]] = (),
    listed: bool = False,
) -> Path:
    """Write a network: mean colours of a 4x4 grid, times weights; ``flat`` is a constant shape."""
    last = shape[3] == 3
    steps: list[Node] = [
        ("Cast", [names[0]], ["cast"], {"to": TensorProto.FLOAT}),
        ("Transpose", ["cast"], ["planes"], {"perm": [0, 3, 1, 2] if last else [0, 1, 2, 3]}),
        ("AveragePool", ["planes"], ["grid"], {"kernel_shape": [16, 8], "strides": [16, 8]}),
        ("Flatten", ["grid"], ["features"], {"axis": 1})
        if flat is None
        else ("Reshape", ["grid", "flat"], ["features"], {}),
        ("MatMul", ["features", "weights"], ["rows"], {}),
        *more,
        ("Identity", [result], [names[1]], {}),
    ]
    stored = {"weights": WEIGHTS, **(constants or {})}
    stored |= {} if flat is None else {"flat": np.array(flat, np.int64)}
    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    inputs = [helper.make_tensor_value_info(names[0], kind, shape)]
    if listed:  # as IR 3 requires it
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    given = outputs or [(names[1], [shape[0], DIMENSION])]
    graph = helper.make_graph(
        [helper.make_node(one, *rest[:2], **rest[2]) for one, *rest in steps],
        "theirs",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in given],
        tensors,
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=3 if listed else 8,
    )
    onnx.save(made, path)
    return path


def expected(crops: NDArray[np.uint8], *, colour: str = "rgb", **values: tuple) -> NDArray:
    """The same embedding, by hand."""
    mean, scale = (np.array(values[name]) for name in ("mean", "scale"))
    pixels = crops[..., ::-1] if colour == "bgr" else crops
    planes = ((pixels - mean) / scale).transpose(0, 3, 1, 2)
    grid = planes.reshape(len(crops), 3, 4, 16, 4, 8).mean((3, 5))
    rows = grid.reshape(len(crops), 48) @ WEIGHTS
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def agree(folder: Path, wanted: NDArray, crops: NDArray[np.uint8] = CROPS) -> None:
    assert check_model(folder) == []
    found = OnnxEmbedder(folder, device="cpu").embed(crops)
    np.testing.assert_allclose(found, wanted, atol=2e-4)


TOKEN = {"token": np.ones((1, 1, 48), np.float32), "row": np.array([1, 1, 48], np.int64)}
TOKENS: list[Node] = [
    ("Reshape", ["features", "row"], ["one"], {}),
    ("Concat", ["token", "one"], ["two"], {"axis": 1}),
    ("Gather", ["two", "last"], ["kept"], {"axis": 1}),
    ("MatMul", ["kept", "weights"], ["seen"], {}),
]


@pytest.mark.parametrize(
    ("graph", "way"),
    [
        ({"flat": None}, "at once"),
        ({"flat": None, "shape": ("N", 3, HEIGHT, WIDTH)}, "at once"),
        ({"flat": (1, 48)}, "at once, after"),
        ({"flat": (1, -1)}, "at once, after"),
        ({"flat": (-1, 48)}, "at once"),
        ({"flat": (4, 48), "shape": (4, 3, HEIGHT, WIDTH)}, "at once, after"),
        # A class token, as transformers have, fits one crop only.
        (
            {
                "more": TOKENS,
                "result": "seen",
                "constants": TOKEN | {"last": np.array(1, np.int64)},
            },
            "one crop after the other",
        ),
        ({"flat": (48,), "outputs": [("output", [DIMENSION])]}, "one crop after the other"),
        ({"flat": None, "names": ("images", "embeddings")}, "at once"),
        ({"flat": None, "names": ("embeddings", "images")}, "at once"),
        ({"flat": None, "shape": (1, HEIGHT, WIDTH, 3)}, "at once"),
        ({"flat": None, "opset": 9}, "at once"),
        ({"flat": None, "opset": 9, "listed": True}, "at once"),
        ({"flat": None, "kind": TensorProto.DOUBLE}, "at once"),
        ({"flat": None, "kind": TensorProto.FLOAT16}, "at once"),
    ],
)
def test_any_shape_of_graph_keeps_its_embeddings(tmp_path: Path, graph: dict, way: str) -> None:
    wrapped = wrap(build(tmp_path / "net.onnx", **graph), tmp_path / "theirs", KNOWN)
    agree(tmp_path / "theirs", expected(CROPS, **IMAGENET))
    assert wrapped.parity.cosine >= 0.9999
    assert wrapped.parity.batches == (1, 7, 32)
    assert wrapped.manifest.wrapped
    assert wrapped.manifest.wrapped.batches.startswith(way)
    assert read_manifest(tmp_path / "theirs") == wrapped.manifest


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"colour": "bgr"}, {**IMAGENET, "colour": "bgr"}),
        ({"mean": (0, 0, 0), "scale": (1, 1, 1)}, {"mean": (0, 0, 0), "scale": (1, 1, 1)}),
        ({"mean": (127.5,) * 3, "scale": (128,) * 3}, {"mean": (127.5,) * 3, "scale": (128,) * 3}),
        # Three different values per channel: a swap would be seen.
        ({"mean": (10, 90, 200), "scale": (20, 60, 90), "colour": "bgr"}, {}),
    ],
)
def test_preprocessing_is_what_was_asked_for(tmp_path: Path, options: dict, values: dict) -> None:
    wrap(build(tmp_path / "net.onnx"), tmp_path / "theirs", replace(KNOWN, **options))
    agree(tmp_path / "theirs", expected(CROPS, **(values or options)))


def test_a_network_that_mixes_its_batch_is_run_crop_by_crop(tmp_path: Path) -> None:
    """As batch normalisation does that was left in training mode."""
    half = {"half": np.array(0.5, np.float32)}
    mixed: list[Node] = [
        ("ReduceMean", ["rows"], ["mean"], {"axes": [0], "keepdims": 1}),
        ("Mul", ["mean", "half"], ["share"], {}),
        ("Sub", ["rows", "share"], ["apart"], {}),
    ]
    net = build(
        tmp_path / "net.onnx",
        flat=None,
        shape=("N", 3, HEIGHT, WIDTH),
        more=mixed,
        result="apart",
        constants=half,
    )
    found = wrap(net, tmp_path / "theirs", KNOWN).manifest.wrapped
    assert found
    assert found.batches.startswith("one crop after the other")
    agree(tmp_path / "theirs", expected(CROPS, **IMAGENET))


def test_a_free_size_comes_from_the_options(tmp_path: Path) -> None:
    net = build(tmp_path / "net.onnx", flat=None, shape=("N", 3, "height", "width"))
    with pytest.raises(InvalidInput, match="--size"):
        wrap(net, tmp_path / "theirs", KNOWN)
    wrap(net, tmp_path / "theirs", replace(KNOWN, size=(HEIGHT, WIDTH)))
    agree(tmp_path / "theirs", expected(CROPS, **IMAGENET))


def test_one_of_several_outputs_is_chosen(tmp_path: Path) -> None:
    more: list[Node] = [("Relu", ["rows"], ["logits"], {})]
    both = [("logits", [1, DIMENSION]), ("output", [1, DIMENSION])]
    net = build(tmp_path / "net.onnx", more=more, outputs=both)
    with pytest.raises(InvalidInput, match=r"2 outputs \(logits .*--embedding"):
        wrap(net, tmp_path / "theirs", KNOWN)
    with pytest.raises(InvalidInput, match="no output 'none'; it has logits"):
        wrap(net, tmp_path / "theirs", replace(KNOWN, embedding="none"))
    wrap(net, tmp_path / "theirs", replace(KNOWN, embedding="output"))
    agree(tmp_path / "theirs", expected(CROPS, **IMAGENET))


class Small(nn.Module):
    """A convolution, batch statistics, generalised mean and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.statistics = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, DIMENSION)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.statistics(self.convolution(images)))
        pooled = maps.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        return self.linear(pooled.flatten(1))


def test_a_float_export_of_our_own_gives_what_training_computes(tmp_path: Path) -> None:
    """Float NCHW, a batch of one; training's own normalisation is the reference."""
    network = Small().eval()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, HEIGHT, WIDTH),),
        tmp_path / "ours.onnx",
        input_names=["input"],
        output_names=["features"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    wrap(tmp_path / "ours.onnx", tmp_path / "theirs", KNOWN)
    with torch.no_grad():
        rows = nn.functional.normalize(network(normalise(torch.from_numpy(CROPS))))
    agree(tmp_path / "theirs", rows.numpy())


@pytest.mark.parametrize(
    ("graph", "options", "reason"),
    [
        ({}, {"mean": None}, "not recognised: give --mean, --scale and --colour, or --preset"),
        ({}, {"preset": "nobody", "mean": None}, "'nobody' is not one of torchreid"),
        ({}, {"size": (128, 64)}, "size 128x64: the graph fixes height and width at 64x32"),
        (
            {"shape": ("N", 3, "h", "w"), "flat": None},
            {"size": (4, 4)},
            "size 4x4: height and width must be 8 to 4096",
        ),
        ({}, {"name": "Bad Name"}, "name = 'Bad Name'"),
        ({"shape": (1, 5, HEIGHT, WIDTH)}, {}, "need three channels"),
        ({"opset": 8}, {}, "opset 8; export it with opset 9 or newer"),
        ({"kind": TensorProto.INT32}, {}, "need a picture of four axes"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(
    tmp_path: Path, graph: dict, options: dict, reason: str
) -> None:
    net = build(tmp_path / "net.onnx", **graph)
    with pytest.raises(InvalidInput, match=reason):
        wrap(net, tmp_path / "theirs", replace(KNOWN, **options))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_graph_that_no_way_frees_is_refused(tmp_path: Path) -> None:
    """A batch of four, with a constant that has four rows."""
    rows = {"bias": np.arange(4 * DIMENSION, dtype=np.float32).reshape(4, DIMENSION)}
    net = build(
        tmp_path / "net.onnx",
        flat=None,
        shape=(4, 3, HEIGHT, WIDTH),
        more=[("Add", ["rows", "bias"], ["sum"], {})],
        result="sum",
        constants=rows,
    )
    with pytest.raises(ArtifactError, match=r"export it with a free batch\. Tried: declared: "):
        wrap(net, tmp_path / "theirs", KNOWN)
    assert not (tmp_path / "theirs").exists()


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no network")
    for file in ("net.onnx", "none.onnx"):
        with pytest.raises(ArtifactError, match="not a network to wrap"):
            wrap(tmp_path / file, tmp_path / "theirs", KNOWN)


def test_a_model_is_replaced_only_on_request(tmp_path: Path) -> None:
    net = build(tmp_path / "net.onnx")
    wrap(net, tmp_path / "theirs", KNOWN)
    with pytest.raises(Conflict, match="--overwrite"):
        wrap(net, tmp_path / "theirs", KNOWN)
    assert wrap(net, tmp_path / "theirs", replace(KNOWN, overwrite=True))


@pytest.mark.parametrize(
    ("mean", "scale", "reason"),
    [
        ((0.485, 0.456, 0.406), (58.0,) * 3, "mean 0.485,0.456,0.406: the mean is in units of"),
        ((0.0,) * 3, (0.229, 0.224, 0.225), "scale 0.229,0.224,0.225: the scale divides"),
        ((0.0,) * 3, (0.0,) * 3, "the scale divides"),
        ((float("nan"),) * 3, (1.0,) * 3, "the mean is in units"),
        ((0.0,) * 3, (float("inf"),) * 3, "the scale divides"),
    ],
)
def test_values_for_pixels_up_to_one_are_refused(mean: tuple, scale: tuple, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        Preprocessing(mean, scale, "rgb", "bilinear")


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "x", "1;2;3"])
def test_three_numbers_or_one(text: str) -> None:
    assert parse_three("mean", "7") == (7, 7, 7)
    assert parse_three("mean", "1,2.5,3") == (1, 2.5, 3)
    with pytest.raises(InvalidInput, match="mean"):
        parse_three("mean", text)


def graph_with(*weights: str, first: NDArray | None = None) -> onnx.GraphProto:
    nodes = [helper.make_node("Sub", ["x", "m"], ["y"])] if first is not None else []
    stored = {name: np.zeros(1, np.float32) for name in weights}
    stored |= {} if first is None else {"m": first}
    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    return helper.make_graph(nodes, "g", [], [], tensors)


OSNET = ("conv1.conv.weight", "conv2.0.conv1.conv.weight", "conv2.0.conv2a.conv1.weight")
MEAN = np.array(IMAGENET["mean"], np.float32).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("graph", "names", "preset"),
    [
        (graph_with(*OSNET), ("images", "output"), "torchreid"),
        (graph_with(*OSNET), ("data", "reid_embedding"), "open-model-zoo"),
        (graph_with(), ("data", "reid_embedding"), "open-model-zoo"),
        (graph_with(), ("input", "fc_pred"), "tao"),
        (graph_with(first=MEAN), ("x", "features"), "fastreid"),
        (graph_with(first=MEAN / 255), ("x", "features"), None),
        (graph_with(*OSNET[:1]), ("images", "output"), None),
        (graph_with(), ("input", "output"), None),
        (graph_with(first=MEAN), ("input", "fc_pred"), "tao"),
    ],
)
def test_families_are_recognised_by_names(
    graph: onnx.GraphProto, names: tuple[str, str], preset: str | None
) -> None:
    assert recognise(graph, *names) == preset


def test_a_recognised_preset_is_used_and_told(tmp_path: Path) -> None:
    net = build(tmp_path / "net.onnx", names=("input", "fc_pred"))
    found = wrap(net, tmp_path / "theirs", WrapOptions("theirs", scale=(60.0,) * 3)).manifest
    assert found.wrapped
    assert (found.wrapped.preset, found.wrapped.recognised) == ("tao", True)
    assert found.wrapped.scale == (60.0,) * 3
    assert found.resize == PRESETS["tao"].preprocessing.resize
    agree(tmp_path / "theirs", expected(CROPS, mean=IMAGENET["mean"], scale=(60.0,) * 3))


def test_values_that_are_all_given_need_no_preset(tmp_path: Path) -> None:
    net = build(tmp_path / "net.onnx", names=("input", "fc_pred"))
    found = wrap(net, tmp_path / "theirs", KNOWN).manifest.wrapped
    assert found
    assert (found.preset, found.recognised) == (None, False)


def test_card_and_manifest_claim_nothing_that_is_not_known(tmp_path: Path) -> None:
    wrap(build(tmp_path / "net.onnx"), tmp_path / "theirs", KNOWN)
    card = " ".join((tmp_path / "theirs" / "CARD.md").read_text().split())
    assert read_manifest(tmp_path / "theirs").identity_labels == "not known"
    assert "identity labels: not known" in card
    assert "whether real people's identity labels were used is not known" in card
    assert "Trained on: not known." in card
    assert "No licence is stated for these weights." in card
    assert "Nobody has confirmed" in card
    assert "`net.onnx`" in card
    for claim in ("without identity labels", "HHCL", "None", str(tmp_path)):
        assert claim not in card


def test_card_and_manifest_say_what_is_known(tmp_path: Path) -> None:
    known = replace(
        KNOWN,
        licence="Apache-2.0",
        identity_labels="of real people",
        training_data="Market-1501",
        notes="## Limits\n\nSeen by day.",
    )
    manifest = wrap(build(tmp_path / "net.onnx"), tmp_path / "theirs", known).manifest
    card = " ".join((tmp_path / "theirs" / "CARD.md").read_text().split())
    assert (manifest.licence, manifest.training_data) == ("Apache-2.0", "Market-1501")
    for text in ("with the identity labels of real people.", "Market-1501", "Seen by day."):
        assert text in card


def test_a_wrapped_network_cannot_be_trained_further(tmp_path: Path) -> None:
    wrap(build(tmp_path / "net.onnx"), tmp_path / "theirs", KNOWN)
    with pytest.raises(ArtifactError, match="no recipe, so its network cannot be trained further"):
        read_exported(tmp_path / "theirs", CROPS)
    with pytest.raises(InvalidInput, match="the network before training is not known"):
        open_start(tmp_path / "theirs", None, torch.device("cpu"))


CommandLine = Callable[..., tuple[int, str, str]]


def test_the_command_tells_what_it_did(training: CommandLine, tmp_path: Path) -> None:
    net, output = build(tmp_path / "net.onnx"), tmp_path / "theirs"
    words = ("wrap", net, "--output", output, "--colour", "rgb", "--licence", "MIT")
    status, out, err = training(*words)
    assert (status, out) == (2, "")
    assert "give --mean, --scale and --colour" in err
    numbers = ("--mean", "123.675,116.28,103.53", "--scale", "58.395,57.12,57.375")
    status, out, err = training(*words, *numbers, "--identity-labels", "of real people")
    assert status == 0, err
    assert "wrapped and original network agree: worst cosine" in out
    assert out.splitlines()[-1] == f"wrapped: {output}"
    manifest = read_manifest(output)
    assert (manifest.name, manifest.licence, manifest.identity_labels) == (
        "theirs",
        "MIT",
        "of real people",
    )
    agree(output, expected(CROPS, **IMAGENET))
    status, _, err = training(*words, *numbers, "--size", "64", "--overwrite")
    assert status == 2
    assert "must be HEIGHTxWIDTH" in err
    status, _, err = training(*words, *numbers, "--identity-labels", "none", "--overwrite")
    assert status == 2  # nobody can claim "none" for a network trained elsewhere


@pytest.fixture(scope="module")
def retail(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A published network (Open Model Zoo, batch 1), and the folder it was wrapped into."""
    file = shared / "thirdparty" / "person-reidentification-retail-0267.ortfix.onnx"
    if not file.exists():
        pytest.skip("../shared: the published network is not here")
    folder = tmp_path_factory.mktemp("models") / "retail-0267"
    wrap(file, folder, WrapOptions("retail-0267", identity_labels="of real people"))
    return file, folder


def test_a_published_network_is_recognised_and_serves(retail: tuple[Path, Path]) -> None:
    file, folder = retail
    manifest = read_manifest(folder)
    assert (manifest.input_height, manifest.input_width, manifest.dimension) == (256, 128, 256)
    assert manifest.wrapped
    assert (manifest.wrapped.preset, manifest.wrapped.batches) == ("open-model-zoo", "at once")
    assert check_model(folder) == []
    crops = np.random.default_rng(2).integers(0, 256, (3, 256, 128, 3)).astype(np.uint8)
    found = OnnxEmbedder(folder, device="cpu").embed(crops)
    original = open_original(file)
    for crop, row in zip(crops, found, strict=True):
        feed = {"data": crop.transpose(2, 0, 1)[None].astype(np.float32)}
        (wanted,) = original.session.run(None, feed)
        assert float(wanted[0] @ row) / np.linalg.norm(wanted) == pytest.approx(1, abs=1e-5)


def test_no_path_of_this_machine_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    shutil.copy(build(tmp_path / "net.onnx"), tmp_path / "again.onnx")
    wrap(tmp_path / "again.onnx", folder, KNOWN)
    for file in folder.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
