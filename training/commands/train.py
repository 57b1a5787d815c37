"""``python -m training train``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.errors import InvalidInput
from training.commands.options import (
    Config,
    Data,
    Device,
    DeviceChoice,
    Epochs,
    LayoutName,
    Resume,
    Seed,
    SetOptions,
    SkipBad,
    Weights,
    parse_set,
    torch_device,
)

if TYPE_CHECKING:
    from training.core.config import TrainConfig


class MethodChoice(StrEnum):
    """The training method."""

    HHCL = "hhcl"
    SCL = "scl"


def train(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Data = None,
    layout: LayoutName = "auto",
    synthetic: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of synthetic people, to mix in with their free identities. Repeat for "
            "more."
        ),
    ] = None,
    config: Config = None,
    method: Annotated[
        MethodChoice | None, typer.Option(help="Training method, instead of the config's.")
    ] = None,
    weights: Weights = None,
    epochs: Epochs = None,
    seed: Seed = None,
    skip_bad: SkipBad = False,
    set_: SetOptions = None,
    resume: Resume = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Train on unlabelled crops. The defaults are HHCL's Market-1501 recipe."""
    from training.core.config import read_config
    from training.core.distributed import speaks

    options: dict[str, Any] = dict(parse_set(text) for text in set_ or [])
    named = {
        "data.path": str(data[0]) if data else None,
        "data.also": tuple(str(path) for path in data[1:]) if data else None,
        "data.synthetic": tuple(str(path) for path in synthetic) if synthetic else None,
        "method": None if method is None else method.value,
        "model.weights": weights,
        "schedule.epochs": epochs,
        "seed": seed,
        "data.layout": None if layout == "auto" else layout,
        "data.skip_bad": skip_bad or None,
    }
    options |= {key: value for key, value in named.items() if value is not None}
    settings = read_config(config, options)
    if not settings.data.path:
        raise InvalidInput(
            "no crops to train on: give --data FOLDER (synthetic people alone: "
            "python -m training pretrain)"
        )
    checkpoint = _run(settings, output, device, resume=resume)
    if speaks():
        typer.echo(f"trained: {checkpoint}")


def _run(settings: TrainConfig, output: Path, device: DeviceChoice, *, resume: bool) -> Path:
    """Run the loop of the config's method; only that one is imported."""
    match settings.method:
        case "hhcl":
            from training.hhcl.loop import run

            return run(settings, output, torch_device(device), resume=resume)
        case "scl":
            from training.scl.loop import run as run_scl

            return run_scl(settings, output, torch_device(device), resume=resume)
