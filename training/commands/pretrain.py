"""``python -m training pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from service.errors import InvalidInput
from training.commands.options import (
    Config,
    Device,
    DeviceChoice,
    Epochs,
    Resume,
    Seed,
    SetOptions,
    Weights,
    parse_set,
    torch_device,
)


def pretrain(
    data: Annotated[
        list[Path],
        typer.Option(help="Folder of synthetic people, made by synthesize. Repeat for more."),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    config: Config = None,
    weights: Weights = None,
    epochs: Epochs = None,
    seed: Seed = None,
    set_: SetOptions = None,
    resume: Resume = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Learn from synthetic people, whose identities are free labels.

    No label of a real person is used: a folder that synthesize did not make is refused. The result
    is a start for train --weights and adapt --model, or a model of its own. A good recipe is
    training/configs/pretrain-mobilenetv2.toml.
    """
    from training.core.config import read_config
    from training.core.distributed import speaks

    options: dict[str, Any] = dict(parse_set(text) for text in set_ or [])
    named = {
        "data.synthetic": tuple(str(path) for path in data),
        "model.weights": weights,
        "schedule.epochs": epochs,
        "seed": seed,
    }
    options |= {key: value for key, value in named.items() if value is not None}
    settings = read_config(config, options)
    if settings.data.path:
        raise InvalidInput(
            f"data.path = {settings.data.path!r}: pretrain takes synthetic people only; train "
            "mixes them with other crops"
        )
    if settings.method != "hhcl":
        raise InvalidInput(
            f"method = {settings.method!r} learns from each crop's neighbours and has no place for "
            "identity labels; pretrain needs 'hhcl'"
        )
    from training.hhcl.loop import run

    checkpoint = run(settings, output, torch_device(device), resume=resume)
    if speaks():
        typer.echo(f"pretrained: {checkpoint}")
