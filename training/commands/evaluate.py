"""``python -m training evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.errors import InvalidInput
from service.model.manifest import Accuracy
from training.commands.options import (
    Device,
    DeviceChoice,
    HeldOutData,
    LayoutName,
    SkipBad,
    StartWeights,
    torch_device,
)

if TYPE_CHECKING:
    import torch

    from training.data.datasets import Dataset
    from training.measure.evaluation import Protocol
    from training.networks.embedder import Embedder


class ProtocolChoice(StrEnum):
    """What a query is compared with; see ``training.measure.evaluation``."""

    MARKET1501 = "market1501"
    CROSS_CAMERA = "cross-camera"
    BOTH = "both"


class FormChoice(StrEnum):
    """How results are written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


Compared = Annotated[
    ProtocolChoice, typer.Option("--protocol", help="What a query is compared with.")
]
Rerank = Annotated[
    bool, typer.Option("--rerank", help="Add results after k-reciprocal re-ranking.")
]
BeforeTraining = Annotated[
    bool,
    typer.Option("--before-training", help="Measure the network before training instead."),
]
Form = Annotated[
    FormChoice, typer.Option("--format", help="Format of the table on standard output.")
]
Ceiling = Annotated[
    Path | None,
    typer.Option(
        help="Run of the same recipe with true identities (benchmarks/ceiling.py); adds the "
        "share of its mAP that the model reaches."
    ),
]
Flip = Annotated[
    bool,
    typer.Option("--flip", help="Also embed each crop's mirror image, as export --flip does."),
]


def evaluate(
    model: Annotated[Path, typer.Option(help="Run, checkpoint file, or exported model folder.")],
    data: HeldOutData = None,
    layout: LayoutName = "auto",
    protocol: Compared = ProtocolChoice.BOTH,
    rerank: Rerank = False,
    before_training: BeforeTraining = False,
    weights: StartWeights = None,
    ceiling: Ceiling = None,
    flip: Flip = False,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the worst ranked lists.")
    ] = None,
    format_: Form = FormChoice.TEXT,
    skip_bad: SkipBad = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Measure mAP (finite sum) and CMC on the query and gallery of labelled data.

    If a data set cannot be measured or pictures cannot be drawn, the table
    still shows the other figures. The error follows, and the exit status is 2.
    """
    from training.data.entries import DataError
    from training.measure.evaluation import PROTOCOLS
    from training.measure.held_out import read_held_out
    from training.measure.tables import format_results
    from training.networks.embedder import flipped, open_embedder, open_start

    if weights is not None and not before_training:
        raise InvalidInput("--weights gives start weights, so it needs --before-training")
    datasets = read_held_out(_required(data), skip_bad=skip_bad, layout=layout)
    where = torch_device(device)
    opened = open_start(model, weights, where) if before_training else open_embedder(model, where)
    embedder = flipped(opened, flip)
    known = None if ceiling is None else flipped(_open_ceiling(ceiling, where), flip)
    protocols = [name for name in PROTOCOLS if protocol.value in {name, "both"}]
    measure = partial(_measure, protocols=protocols, rerank=rerank)
    _tell_remarks(datasets)
    lines, failed = _measure_each(datasets, partial(measure, embedder=embedder, pictures=pictures))
    bounds, failed_too = _measure_each(
        datasets if known else [], partial(measure, embedder=known, pictures=None)
    )
    if lines:
        typer.echo(format_results(lines, format_.value, bounds))
    if failures := dict.fromkeys(failed + failed_too):
        raise DataError("; ".join(failures))


def _open_ceiling(ceiling: Path, device: torch.device) -> Embedder:
    from training.networks.embedder import open_embedder
    from training.networks.provenance import REAL_PEOPLE, labels_behind

    if (labels := labels_behind(ceiling)) != REAL_PEOPLE:
        raise InvalidInput(
            f"--ceiling {ceiling}: identity labels of this model: {labels}; a ceiling has learned "
            f"from labels {REAL_PEOPLE}, as benchmarks/ceiling.py trains it"
        )
    return open_embedder(ceiling, device)


def _tell_remarks(datasets: Iterable[Dataset]) -> None:
    for dataset in datasets:
        for remark in dataset.remarks:
            typer.echo(f"{dataset.name}: {remark}", err=True)


def _required(data: list[Path] | None) -> list[Path]:
    """Return the data sets to measure on; at least one must be given."""
    if not data:
        raise InvalidInput("nothing to measure on: give --data FOLDER")
    return data


def _measure(
    dataset: Dataset,
    *,
    embedder: Embedder,
    protocols: Sequence[Protocol],
    rerank: bool,
    pictures: Path | None,
) -> Iterator[Accuracy]:
    """Yield the results of a data set, then draw its worst ranked lists if asked to."""
    from training.measure.held_out import draw_worst, embed_held_out, load_held_out, measure

    held_out = embed_held_out(embedder, load_held_out(dataset, embedder))
    yield from measure(held_out, protocols, rerank=rerank)
    if pictures is not None:
        sheet = draw_worst(pictures / dataset.name, held_out, protocols[0])
        typer.echo(f"ranked lists: {sheet}", err=True)


def _measure_each(
    datasets: Iterable[Dataset], measured: Callable[[Dataset], Iterable[Accuracy]]
) -> tuple[list[Accuracy], list[str]]:
    """Measure each data set as far as possible, and collect the reasons for failures."""
    from training.data.entries import DataError

    lines: list[Accuracy] = []
    failures: list[str] = []
    for dataset in datasets:
        try:
            lines.extend(measured(dataset))
        except DataError as error:
            failures.append(f"{dataset.name}: {error}")
    return lines, failures
