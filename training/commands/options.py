"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.errors import InvalidInput
from training.data.layouts import Layout


class DeviceChoice(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Data = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of crops (Market-1501, MSMT17, plain folders) or a manifest file. "
        "Repeat for more sites."
    ),
]


LayoutName = Annotated[
    Literal["auto", Layout],
    typer.Option(
        "--layout",
        help="How names give identity and camera. auto looks for the folders of Market-1501, the "
        "lists of MSMT17 and a manifest. mars reads 0001C1T0001F001.jpg, viper cam_a/000_45.bmp.",
    ),
]
HeldOutData = Annotated[
    list[Path] | None,
    typer.Option("--data", help="Labelled data set with query and gallery. Repeat for more."),
]
MeasuredData = Annotated[
    list[Path] | None,
    typer.Option(
        "--measure", help="Labelled data set that is measured but calibrates nothing. Repeat."
    ),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        "--pattern", help="Pattern of the paths in a plain folder, such as '{camera}/{name}'."
    ),
]
StartWeights = Annotated[
    str | None,
    typer.Option("--weights", help="With --before-training: where the start weights are now."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Count and list unusable files instead of stopping.")
]
Config = Annotated[Path | None, typer.Option(help="TOML file; examples are in training/configs.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Start weights: default (ImageNet), none, a file, a run, or models/NAME."),
]
Epochs = Annotated[int | None, typer.Option(help="Number of epochs, instead of the config's.")]
Seed = Annotated[int | None, typer.Option(help="Seed, instead of the config's.")]
SetOptions = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any option, such as clustering.eps=0.6."),
]
KnobSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KNOB=VALUE",
        help="How hard the pictures of bodies are, such as picture.blur=2 or people.alike=0.6. "
        "A wrong name lists all knobs; training/synthetic/bodies/knobs.py explains them.",
    ),
]
Processes = Annotated[
    int, typer.Option(help="Processes that share the work; 0 for one per processor.")
]
FalseMatchRate = Annotated[
    float,
    typer.Option(
        "--false-match-rate",
        min=0.0,
        max=1.0,
        help="Share of impostor pairs that may reach the threshold.",
    ),
]
ModelOutput = Annotated[Path, typer.Option(help="Folder of the model, such as models/NAME.")]
ModelName = Annotated[str | None, typer.Option(help="The model's name; by default the folder's.")]
Licence = Annotated[str | None, typer.Option(help="Terms of the weights.")]
TrainingData = Annotated[str | None, typer.Option(help="What the model was trained on, in words.")]
Notes = Annotated[Path | None, typer.Option(help="Markdown file for the card: limits and origins.")]
OverwriteModel = Annotated[
    bool, typer.Option("--overwrite", help="Replace the model that is there.")
]
Device = Annotated[DeviceChoice, typer.Option(help="auto uses the GPU if there is one.")]


def read_text(file: Path) -> str:
    """Read a text file.

    Args:
        file: the file.

    Returns:
        The text.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file}: {error}") from error


def parse_set(text: str) -> tuple[str, str]:
    """Split the value of ``--set``.

    Args:
        text: ``KEY=VALUE``.

    Returns:
        Key and value, both as text.

    Raises:
        InvalidInput: the key or the equals sign is missing.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidInput(f"--set {text}: must be KEY=VALUE, such as clustering.eps=0.6")
    return key.strip(), value.strip()


def knobs_of(settings: list[str]) -> Any:
    """Read the knobs of three-dimensional people.

    Args:
        settings: ``KNOB=VALUE``, each as ``--set`` names it.

    Returns:
        The :class:`~training.synthetic.bodies.knobs.Knobs`.

    Raises:
        InvalidInput: a knob is unknown or given twice, or its value breaks its rule.
    """
    from training.synthetic.bodies.knobs import parse_knobs

    values: dict[str, str] = {}
    for text in settings:
        name, value = parse_set(text)
        if name in values:
            raise InvalidInput(f"--set {name} is given twice")
        values[name] = value
    return parse_knobs(values)


def torch_device(choice: DeviceChoice) -> Any:
    """Find the device that a choice means on this machine.

    Args:
        choice: the option's value.

    Returns:
        The ``torch.device``.

    Raises:
        InvalidInput: the choice is CUDA, and there is no CUDA device.
    """
    import torch

    if choice is DeviceChoice.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if choice is DeviceChoice.CUDA and not torch.cuda.is_available():
        raise InvalidInput("--device cuda: PyTorch finds no CUDA device here")
    return torch.device(choice.value)
