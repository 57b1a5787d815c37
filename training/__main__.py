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
