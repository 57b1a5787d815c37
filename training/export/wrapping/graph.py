"""Put a network's preprocessing and the unit length around its graph, and free its batch.

A graph that was exported for one crop may fix the batch inside too. So there are several ways to
free it, of which :mod:`training.export.wrapping.wrap` takes the first that gives every crop the
embedding of the original network:

``declared``
    only the input's first axis becomes free; the inner nodes follow it.
``reshaped``
    inner reshapes whose constant shape begins with the fixed batch leave it free too.
``one by one``
    the whole graph becomes the body of a loop (ONNX's ``Scan``) over the crops of a batch. This
    works for every graph that embeds one crop, but a batch is no faster than its crops.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import onnx
import onnx.shape_inference
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper

from training.export.wrapping.original import Original
from training.export.wrapping.preprocessing import Preprocessing

Way = Literal["declared", "reshaped", "one by one"]

_PREFIX = "original/"
_BATCH, _ROWS = "wrap/batch", "wrap/rows"
_OLDEST_IR = 8
_AXES_ARE_INPUTS = 13  # from this opset on, Unsqueeze takes its axes as an input


def wrap_graph(
    original: Original,
    preprocessing: Preprocessing,
    size: tuple[int, int],
    dimension: int,
    way: Way,
) -> onnx.ModelProto:
    """Build the graph from ``images`` to ``embeddings``.

    Args:
        original: the network.
        preprocessing: what it expects.
        size: height and width of its crops.
        dimension: D, of its embedding.
        way: how its batch becomes free.

    Returns:
        The model; its shapes are not checked.
    """
    model = compose.add_prefix(original.model, _PREFIX)
    graph = model.graph
    entry, exit_ = f"{_PREFIX}{original.input_name}", f"{_PREFIX}{original.output_name}"
    if way == "reshaped":
        _free_reshapes(original, graph, entry)
    if way == "one by one":
        _loop(graph, original, entry, exit_)
        entry, exit_ = _BATCH, _ROWS
    steps, constants = _prepare(original, preprocessing, entry)
    nodes = [*steps, *graph.node, *_finish(exit_)]
    crops = helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["N", *size, 3])
    rows = helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, ["N", dimension])
    for field in ("node", "input", "output", "value_info"):  # the last repeats the fixed batch
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.input.append(crops)
    graph.output.append(rows)
    graph.initializer.extend(constants)
    # An older version lists weights among the inputs, where a caller could replace them.
    model.ir_version = max(model.ir_version, _OLDEST_IR)
    return model


def ways_for(original: Original) -> tuple[Way, ...]:
    """The ways to free a network's batch that may work, the fastest first."""
    match original.batch:
        case None:
            return "declared", "one by one"
        case 1:
            return "declared", "reshaped", "one by one"
        case _:
            return "declared", "reshaped"


def _prepare(
    original: Original, preprocessing: Preprocessing, target: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes from ``images`` to the network's own input, and their constants."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Cast", [], {"to": onnx.TensorProto.FLOAT})
    ]
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(value, f"wrap/{name}"))
        return f"wrap/{name}"

    if preprocessing.colour == "bgr":
        order = constant("order", np.array([2, 1, 0], np.int64))
        steps.append(("Gather", [order], {"axis": 3}))
    if preprocessing.changes_values:
        steps.append(("Sub", [constant("mean", np.array(preprocessing.mean, np.float32))], {}))
        steps.append(("Div", [constant("scale", np.array(preprocessing.scale, np.float32))], {}))
    if original.layout == "NCHW":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    steps.append(("Cast", [], {"to": original.element}))
    return _chain(steps, "images", target), constants


def _finish(source: str) -> list[onnx.NodeProto]:
    """The nodes from the network's own output to ``embeddings``."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Cast", [], {"to": onnx.TensorProto.FLOAT}),
        ("Flatten", [], {"axis": 1}),
        ("LpNormalization", [], {"axis": 1, "p": 2}),
    ]
    return _chain(steps, source, "embeddings")


def _chain(
    steps: list[tuple[str, list[str], dict[str, Any]]], source: str, target: str
) -> list[onnx.NodeProto]:
    nodes = []
    for number, (kind, more, options) in enumerate(steps):
        last = number == len(steps) - 1
        result = target if last else f"wrap/{target}-{number}"
        nodes.append(helper.make_node(kind, [source, *more], [result], **options))
        source = result
    return nodes


def _loop(graph: onnx.GraphProto, original: Original, entry: str, exit_: str) -> None:
    """Make the whole graph the body of a loop over crops: (N, ...) -> (N, D)."""
    sides = [original.height, original.width]
    shape = [3, *sides] if original.layout == "NCHW" else [*sides, 3]
    axes = numpy_helper.from_array(np.array([0], np.int64), "wrap/first")
    flat = numpy_helper.from_array(np.array([-1], np.int64), "wrap/flat")
    crop, row = "wrap/crop", "wrap/row"
    if original.opset < _AXES_ARE_INPUTS:
        unsqueeze = helper.make_node("Unsqueeze", [crop], [entry], axes=[0])
    else:
        unsqueeze = helper.make_node("Unsqueeze", [crop, axes.name], [entry])
    flatten = helper.make_node("Reshape", [exit_, flat.name], [row])
    kind = next(each for each in graph.output if each.name == exit_).type.tensor_type.elem_type
    body = helper.make_graph(
        [unsqueeze, *graph.node, flatten],
        "one crop",
        [helper.make_tensor_value_info(crop, original.element, shape)],
        [helper.make_tensor_value_info(row, kind, [None])],
        [*graph.initializer, axes, flat],
    )
    graph.ClearField("initializer")
    graph.ClearField("node")
    graph.node.append(helper.make_node("Scan", [_BATCH], [_ROWS], body=body, num_scan_inputs=1))


def _free_reshapes(original: Original, graph: onnx.GraphProto, entry: str) -> None:
    """Let constant shapes that begin with the fixed batch follow the batch instead."""
    constants = _constants(graph)
    results = _results(original.model)
    depends = _depending(graph.node, entry)
    for number, node in enumerate(graph.node):
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or node.input[0] not in depends or shape[:1] != [original.batch]:
            continue
        if -1 in shape:  # the reshape's own free side must become a number
            shape = results.get(node.output[0].removeprefix(_PREFIX), [])
        if shape[:1] == [original.batch] and -1 not in shape:
            freed = np.array([-1, *shape[1:]], np.int64)
            graph.initializer.append(numpy_helper.from_array(freed, f"wrap/shape-{number}"))
            node.input[1] = f"wrap/shape-{number}"


def _constants(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """The values of constants with one axis, such as shapes."""
    tensors = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {
        name: numpy_helper.to_array(tensor).tolist()
        for name, tensor in tensors.items()
        if len(tensor.dims) == 1 and tensor.data_type == onnx.TensorProto.INT64
    }


def _results(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The shape of each inner tensor for the fixed batch; -1 for sides that are not known."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        each.name: [side.dim_value or -1 for side in each.type.tensor_type.shape.dim]
        for each in (*inferred.value_info, *inferred.output)
    }


def _depending(nodes: Iterable[onnx.NodeProto], entry: str) -> set[str]:
    """The tensors that depend on the picture, unlike reshaped weights."""
    found = {entry}
    for node in nodes:  # a graph lists each node after those it depends on
        if found.intersection(node.input):
            found.update(node.output)
    return found
