"""The network to wrap: what it takes and gives, and its embeddings one crop at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from service.errors import ArtifactError, InvalidInput
from training.export.wrapping.preprocessing import Preprocessing

Layout = Literal["NCHW", "NHWC"]

OLDEST_OPSET = 9
_ELEMENTS: dict[str, tuple[int, Any]] = {
    "tensor(float)": (onnx.TensorProto.FLOAT, np.float32),
    "tensor(float16)": (onnx.TensorProto.FLOAT16, np.float16),
    "tensor(double)": (onnx.TensorProto.DOUBLE, np.float64),
    "tensor(uint8)": (onnx.TensorProto.UINT8, np.uint8),
}
_SIDES = range(8, 4096 + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """A network that was trained elsewhere.

    Attributes:
        model: its graph and weights.
        session: the same, ready to run.
        input_name: of its only input.
        output_name: of the output that holds the embedding.
        element: the input's type, as ONNX numbers it.
        layout: order of the input's axes.
        batch: the batch that its graph fixes; None if the batch is free.
        height: of its crops, in pixels; None if its graph leaves it free.
        width: likewise.
    """

    model: onnx.ModelProto
    session: onnxruntime.InferenceSession
    input_name: str
    output_name: str
    element: int
    layout: Layout
    batch: int | None
    height: int | None
    width: int | None

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators that the graph uses."""
        return next((each.version for each in self.model.opset_import if not each.domain), 0)

    def embed_singly(
        self, crops: NDArray[np.uint8], preprocessing: Preprocessing
    ) -> NDArray[np.float32]:
        """Embed each crop in a run of its own: the reference for the wrapped graph.

        Args:
            crops: (N, H, W, 3) uint8 RGB.
            preprocessing: what the network expects.

        Returns:
            (N, D) float32, unit rows.

        Raises:
            ArtifactError: the network does not run, or a result is not finite or zero.
        """
        values = preprocessing.apply(crops)
        if self.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        rows = np.stack([self._run(value) for value in values])  # (N, D)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise ArtifactError("the original network gives embeddings that are zero or not finite")
        unit: NDArray[np.float32] = (rows / lengths).astype(np.float32)
        return unit

    def _run(self, value: NDArray[np.float32]) -> NDArray[np.float64]:
        kind = next(kind for code, kind in _ELEMENTS.values() if code == self.element)
        batch = np.repeat(value[None].astype(kind), self.batch or 1, axis=0)
        try:
            (found,) = self.session.run([self.output_name], {self.input_name: batch})
        except Exception as error:  # ONNX Runtime's exceptions share no other base
            raise ArtifactError(
                f"the original network does not run: {first_line(error)}"
            ) from error
        row: NDArray[np.float64] = np.asarray(found, np.float64).reshape(len(batch), -1)[0]
        return row


def open_original(file: Path, output: str | None = None) -> Original:
    """Open a network and find out what it takes.

    Args:
        file: the ONNX file; external data must lie where it says.
        output: name of the output that holds the embedding; None if there is only one.

    Returns:
        The network.

    Raises:
        ArtifactError: the file is not an ONNX network that ONNX Runtime can run.
        InvalidInput: its input is not a picture, or the output must be chosen.
    """
    model, session = _load(file)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        raise InvalidInput(
            f"{file}: {len(inputs)} inputs ({_names(inputs)}), need one: the picture"
        )
    (picture,) = inputs
    if picture.type not in _ELEMENTS or len(picture.shape) != 4:
        raise InvalidInput(
            f"{file}: its input {picture.name!r} is {picture.type} of shape {picture.shape}; need "
            "a picture of four axes, as float or uint8"
        )
    layout = _layout_of(file, picture.shape)
    batch, *rest = (side if isinstance(side, int) else None for side in picture.shape)
    height, width = rest[1:] if layout == "NCHW" else rest[:2]
    original = Original(
        model=model,
        session=session,
        input_name=picture.name,
        output_name=_choose(file, outputs, output),
        element=_ELEMENTS[picture.type][0],
        layout=layout,
        batch=batch,
        height=height,
        width=width,
    )
    if original.opset < OLDEST_OPSET:
        raise InvalidInput(
            f"{file}: uses opset {original.opset}; export it with opset {OLDEST_OPSET} or newer"
        )
    return original


def require_size(original: Original, asked: tuple[int, int] | None) -> tuple[int, int] | None:
    """Settle height and width from the graph and the request.

    Args:
        original: the network.
        asked: height and width; None if nothing was asked for.

    Returns:
        Height and width; None if neither says.

    Raises:
        InvalidInput: they contradict each other, or a side is out of range.
    """
    fixed = (original.height, original.width)
    if asked is not None and any(
        side not in (None, wanted) for side, wanted in zip(fixed, asked, strict=True)
    ):
        raise InvalidInput(
            f"size {asked[0]}x{asked[1]}: the graph fixes height and width at "
            f"{fixed[0] or 'any'}x{fixed[1] or 'any'}"
        )
    if original.height is not None and original.width is not None:
        asked = (original.height, original.width)
    if asked is not None and any(side not in _SIDES for side in asked):
        raise InvalidInput(
            f"size {asked[0]}x{asked[1]}: height and width must be {_SIDES[0]} to {_SIDES[-1]}"
        )
    return asked


def _load(file: Path) -> tuple[onnx.ModelProto, onnxruntime.InferenceSession]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        model = onnx.load(file)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # protobuf's and ONNX Runtime's exceptions share no other base
        raise ArtifactError(f"{file}: not a network to wrap: {first_line(error)}") from error
    return model, session


def _layout_of(file: Path, shape: Sequence[int | str | None]) -> Layout:
    match shape[1] == 3, shape[3] == 3:
        case True, False:
            return "NCHW"
        case False, True:
            return "NHWC"
        case _:
            raise InvalidInput(
                f"{file}: its input has the shape {list(shape)}; need three channels, either "
                "before or after height and width"
            )


def _choose(file: Path, outputs: Sequence[Any], asked: str | None) -> str:
    names = [each.name for each in outputs]
    if asked is not None and asked not in names:
        raise InvalidInput(f"{file}: no output {asked!r}; it has {_names(outputs)}")
    if asked is None and len(names) > 1:
        raise InvalidInput(
            f"{file}: {len(names)} outputs ({_names(outputs)}); choose the embedding with "
            "--embedding NAME"
        )
    return asked or str(names[0])


def _names(tensors: Sequence[Any]) -> str:
    return ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors)


def first_line(error: Exception) -> str:
    """Shorten an error of ONNX or ONNX Runtime, whose later lines help nobody here.

    Args:
        error: the error.

    Returns:
        The first line of its message, or its kind if it has none.
    """
    return (str(error).splitlines() or [type(error).__name__])[0]
