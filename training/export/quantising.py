"""Quantise a finished model: weights and activations of 8 bits, which processors multiply faster.

Static quantisation (Jacob et al., CVPR 2018), done by ONNX Runtime's tools: the range of each
activation is measured on crops, and each channel of a weight has a range of its own. The first
convolutions are the most sensitive (Nagel et al., ICCV 2019), and all others inherit their errors.
So the first ones stay as they are: as few as it takes for embeddings that agree with the float
model's. They are compared on crops on which no range was measured; no label is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from service.errors import ArtifactError, InvalidInput
from service.model.manifest import (
    Manifest,
    Quantisation,
    read_manifest,
    sha256_of,
    write_manifest,
)
from training.data.datasets import Dataset
from training.export.calibrating import calibrate_on
from training.export.card import write_card
from training.export.model_folder import complete_or_nothing
from training.export.onnx_file import check_parity
from training.measure.held_out import embed_held_out, load_as, load_held_out, measure_each
from training.networks.embedder import OnnxEmbedder, open_onnx

Crops = NDArray[np.uint8]

_CROPS = 512  # half of them give the ranges
_FEWEST = 64
_BATCH = 32
_QUANTISED = ("Conv", "Clip", "Relu")  # to quantise additions too changed nothing


@dataclass(frozen=True, slots=True)
class QuantiseOptions:
    """What a quantised model states, and how good it must be.

    Attributes:
        name: its name.
        least_cosine: mean cosine that its embeddings must have with the float model's, 0..1.
        false_match_rate: share of impostor pairs that may reach the service's threshold.
        only_measured: data sets that give accuracy, but neither ranges nor calibration.
        overwrite: replace a model that is already at the output.
    """

    name: str
    least_cosine: float = 0.99
    false_match_rate: float = 0.01
    only_measured: tuple[Dataset, ...] = ()
    overwrite: bool = False


def quantise_model(
    model: Path, datasets: Sequence[Dataset], output: Path, options: QuantiseOptions
) -> Manifest:
    """Write a quantised copy of a model folder; it appears only when it is complete.

    Args:
        model: ``models/<name>``; stays as it is.
        datasets: labelled data sets with training crops, which give the ranges without their
            labels, and with query and gallery, which give accuracy and calibration.
        output: the folder to create.
        options: what to state and how good it must be.

    Returns:
        The new model's manifest.

    Raises:
        ArtifactError: the model breaks the contract, cannot be quantised, or its embeddings stay
            too different.
        Conflict: the output is not free.
        InvalidInput: the model is quantised already, or the crops are too few.
    """
    manifest = read_manifest(model)
    if manifest.quantised is not None:
        raise InvalidInput(f"{model} is quantised already: begin with {manifest.quantised.name}")
    network = open_onnx(model / manifest.file, manifest)
    with complete_or_nothing(output, overwrite=options.overwrite) as folder:
        crops = _training_crops(datasets, network)
        every = [load_held_out(each, network) for each in (*datasets, *options.only_measured)]
        file = folder / manifest.file
        record = _quantise(model, manifest, network, crops, file, options.least_cosine)
        quantised = open_onnx(file, manifest)
        compared = crops[:_BATCH]
        check_parity(quantised.embed(compared), quantised, compared, between="batches")
        held_out = [embed_held_out(quantised, each) for each in every]
        changed = manifest.model_copy(
            update={
                "name": options.name,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "sha256": sha256_of(file),
                "accuracy": measure_each(held_out),
                "calibration": calibrate_on(held_out[: len(datasets)], options.false_match_rate),
                "quantised": record.model_copy(
                    update={"accuracy": measure_each(embed_held_out(network, one) for one in every)}
                ),
            }
        )
        write_manifest(folder, changed)
        write_card(folder, changed)
    return changed


def _training_crops(datasets: Sequence[Dataset], network: OnnxEmbedder) -> Crops:
    """Crops spread over the training folders, in an order in which each half is spread too."""
    share = _CROPS // max(len(datasets), 1)
    found = []
    for dataset in datasets:
        spread = np.linspace(0, len(dataset.train) - 1, min(share, len(dataset.train))).astype(int)
        samples = [dataset.train[row] for row in spread]
        if samples:
            found.append(load_as(network, samples, skip_bad=dataset.source.skip_bad).pixels)
    crops = np.concatenate(found) if found else np.zeros(0, np.uint8)
    if len(crops) < _FEWEST:
        raise InvalidInput(
            f"to quantise takes {_FEWEST} training crops or more, and the data has {len(crops)}"
        )
    return np.concatenate([crops[::2], crops[1::2]])


def _quantise(
    model: Path,
    manifest: Manifest,
    network: OnnxEmbedder,
    crops: Crops,
    file: Path,
    least_cosine: float,
) -> Quantisation:
    """Quantise all but as few first convolutions as possible."""
    source = model / manifest.file
    measured, held_back = np.array_split(crops, 2)
    expected = network.embed(held_back)
    with TemporaryDirectory() as temporary:
        prepared = Path(temporary) / "prepared.onnx"
        names = _prepare(source, prepared)
        for kept in range(len(names) // 2 + 1):
            _quantise_static(prepared, file, measured, names[:kept])
            embeddings = open_onnx(file, manifest).embed(held_back)
            cosine = float(np.einsum("nd,nd->n", expected, embeddings).mean())
            if cosine >= least_cosine:
                return Quantisation(
                    name=manifest.name,
                    sha256=manifest.sha256,
                    convolutions=len(names) - kept,
                    kept=kept,
                    crops=len(measured),
                    cosine=round(cosine, 4),
                )
    raise ArtifactError(
        f"{source}: with {kept} of {len(names)} convolutions left as they are, embeddings still "
        f"have a mean cosine of {cosine:.4f} with the float model's, must be {least_cosine:g}"
    )


def _prepare(source: Path, prepared: Path) -> list[str]:
    """Fuse what a session would fuse; returns the names of the convolutions, in their order."""
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        raise ArtifactError(f"{source}: ONNX Runtime cannot quantise it: {error}") from error
    names = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Conv"]
    if not names:
        raise ArtifactError(f"{source}: it has no convolution, and nothing else is quantised")
    return names


def _quantise_static(prepared: Path, file: Path, crops: Crops, kept: Sequence[str]) -> None:
    quantize_static(
        prepared,
        file,
        _Reader(crops),
        per_channel=True,
        # 7 bits for weights: sums of products of 8 bits overflow on processors without VNNI.
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(_QUANTISED),
        nodes_to_exclude=list(kept),
    )


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Hands crops to ONNX Runtime's tools."""

    def __init__(self, crops: Crops) -> None:
        self._batches: Iterator[Crops] = iter(
            [crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)]
        )

    def get_next(self) -> dict[str, Crops] | None:
        """The next batch, or None after the last one."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}
