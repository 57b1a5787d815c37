"""``python -m training``: synthesize, train, evaluate, export.

Commands import what they need, so that ``synthesize`` and ``--help`` need no torch.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from service.errors import InvalidInput, ReidError

app = typer.Typer(
    name="training",
    help="Learn a person embedding from unlabelled crops, measure it, export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    Path | None,
    typer.Option(help="Folder of crops (Market-1501, MSMT17, plain folders) or a manifest file."),
]


class DeviceChoice(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class ProtocolChoice(StrEnum):
    """What a query is compared with; see ``training.evaluation``."""

    MARKET1501 = "market1501"
    CROSS_CAMERA = "cross-camera"
    BOTH = "both"


class FormChoice(StrEnum):
    """How results are written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


HeldOutData = Annotated[
    list[Path] | None,
    typer.Option("--data", help="Labelled folder with query and gallery; repeat for more."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Count and list unusable files instead of stopping.")
]
Device = Annotated[DeviceChoice, typer.Option(help="auto takes CUDA where there is a GPU.")]


@app.command()
def train(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Data = None,
    config: Annotated[Path | None, typer.Option(help="TOML file; see training/configs.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Start weights: default (ImageNet), none, or a file.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the config's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the config's.")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Count and list unusable files instead of stopping.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any option, such as clustering.eps=0.6."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Train HHCL on unlabelled crops. The defaults are the paper's Market-1501 recipe."""
    from training.config import read_config
    from training.train import run

    options: dict[str, Any] = dict(_parse_set(text) for text in set_ or [])
    named = {
        "data.path": None if data is None else str(data),
        "model.weights": weights,
        "schedule.epochs": epochs,
        "seed": seed,
        "data.skip_bad": skip_bad or None,
    }
    options |= {key: value for key, value in named.items() if value is not None}
    settings = read_config(config, options)
    if not settings.data.path:
        raise InvalidInput("no crops to train on: give --data FOLDER")
    checkpoint = run(settings, output, _torch_device(device), resume=resume)
    typer.echo(f"trained: {checkpoint}")


@app.command()
def evaluate(
    model: Annotated[Path, typer.Option(help="Run, checkpoint file, or exported model folder.")],
    data: HeldOutData = None,
    protocol: Annotated[
        ProtocolChoice, typer.Option(help="What a query is compared with.")
    ] = ProtocolChoice.BOTH,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Add lines after k-reciprocal re-ranking.")
    ] = False,
    before_training: Annotated[
        bool,
        typer.Option("--before-training", help="Measure what the model's training began with."),
    ] = False,
    weights: Annotated[
        str | None, typer.Option(help="With --before-training: start weights, if they moved.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Draw the worst ranked lists there; they show the crops.")
    ] = None,
    format_: Annotated[
        FormChoice, typer.Option("--format", help="Of the table on standard output.")
    ] = FormChoice.TEXT,
    skip_bad: SkipBad = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Measure mAP (finite sum) and CMC on the query and gallery of labelled data."""
    from training.embedder import open_embedder, open_start
    from training.evaluation import PROTOCOLS
    from training.measure import draw_worst, embed_held_out, load_held_out, measure, read_held_out
    from training.results import format_results

    if weights is not None and not before_training:
        raise InvalidInput("--weights names start weights: it needs --before-training")
    if not data:
        raise InvalidInput("nothing to measure on: give --data FOLDER")
    datasets = read_held_out(data, skip_bad=skip_bad)
    where = _torch_device(device)
    embedder = open_start(model, weights, where) if before_training else open_embedder(model, where)
    protocols = [name for name in PROTOCOLS if protocol.value in {name, "both"}]
    lines = []
    for dataset in datasets:
        held_out = embed_held_out(embedder, load_held_out(dataset, embedder))
        lines += measure(held_out, protocols, rerank=rerank)
        if pictures is not None:
            sheet = draw_worst(pictures / dataset.name, held_out, protocols[0])
            typer.echo(f"ranked lists: {sheet}", err=True)
    typer.echo(format_results(lines, format_.value))


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Folder of the run, or its checkpoint file.")],
    output: Annotated[Path, typer.Option(help="Folder of the model, such as models/NAME.")],
    data: HeldOutData = None,
    name: Annotated[str | None, typer.Option(help="Of the model; the folder's by default.")] = None,
    licence: Annotated[str | None, typer.Option(help="Terms of the weights.")] = None,
    training_data: Annotated[
        str | None, typer.Option(help="What it was trained on, in words.")
    ] = None,
    notes: Annotated[
        Path | None, typer.Option(help="Markdown for the card: limits and origins.")
    ] = None,
    false_match_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Impostor pairs that may reach the threshold.")
    ] = 0.01,
    before_training: Annotated[
        bool, typer.Option("--before-training", help="Measure what training began with as well.")
    ] = False,
    weights: Annotated[
        str | None, typer.Option(help="With --before-training: start weights, if they moved.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model that lies there.")
    ] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Write a model folder for the service: ONNX network, manifest, card."""
    from training.checkpoint import load_checkpoint
    from training.export import ExportOptions, export_model
    from training.measure import read_held_out
    from training.results import format_results

    options = ExportOptions(
        name=name or output.resolve().name,
        licence=licence,
        training_data=training_data,
        notes="" if notes is None else _read_text(notes),
        false_match_rate=false_match_rate,
        before_training=before_training,
        start_weights=weights,
        overwrite=overwrite,
    )
    datasets = read_held_out(data or [], skip_bad=skip_bad)
    exported = export_model(load_checkpoint(run), datasets, output, options)
    typer.echo(f"ONNX and PyTorch agree: {exported.parity}, {exported.compared_on}")
    if exported.manifest.accuracy:
        typer.echo(format_results(exported.manifest.accuracy))
    if exported.manifest.calibration:
        typer.echo(exported.manifest.calibration.model_dump_json(indent=2))
    typer.echo(f"exported: {output}")


@app.command()
def synthesize(
    output: Annotated[Path, typer.Argument(help="Folder to make.")],
    identities: Annotated[int, typer.Option(help="How many people.")] = 100,
    cameras: Annotated[int, typer.Option(help="How many cameras, 2..9.")] = 3,
    crops: Annotated[int, typer.Option(help="Pictures of each person in each camera.")] = 4,
    seed: Annotated[int, typer.Option(help="Another seed draws other people.")] = 0,
    train_share: Annotated[float, typer.Option(help="Share of the people to train on.")] = 0.5,
    distractors: Annotated[int, typer.Option(help="Pictures of nobody searched for.")] = 0,
    junk: Annotated[int, typer.Option(help="Badly cut pictures, which evaluation ignores.")] = 0,
    height: Annotated[int, typer.Option(help="Of a picture, in pixels.")] = 128,
    width: Annotated[int, typer.Option(help="Of a picture, in pixels.")] = 64,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a drawn data set that lies there.")
    ] = False,
) -> None:
    """Draw pedestrians with identities and cameras, in the layout of Market-1501."""
    from training.synthetic import SyntheticOptions
    from training.synthetic import synthesize as draw

    options = SyntheticOptions(
        identities=identities,
        cameras=cameras,
        crops=crops,
        seed=seed,
        train_share=train_share,
        distractors=distractors,
        junk=junk,
        height=height,
        width=width,
    )
    drawn = draw(output, options, overwrite=overwrite)
    typer.echo(
        f"drawn: {drawn.folder} (train {drawn.train} crops of {drawn.train_identities} people, "
        f"query {drawn.query} and gallery {drawn.gallery} of {drawn.test_identities})"
    )


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file}: {error}") from error


def _parse_set(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidInput(f"--set {text}: must be KEY=VALUE, such as clustering.eps=0.6")
    return key.strip(), value.strip()


def _torch_device(choice: DeviceChoice) -> Any:
    import torch

    if choice is DeviceChoice.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if choice is DeviceChoice.CUDA and not torch.cuda.is_available():
        raise InvalidInput("--device cuda: PyTorch finds no CUDA device here")
    return torch.device(choice.value)


def main() -> None:
    """Run the command line; an error people can act on is one line and exit status 2."""
    try:
        app()
    except ReidError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
