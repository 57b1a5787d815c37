"""What several commands ask for."""

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
        help="Folder of crops (Market-1501, MSMT17, plain folders) or a manifest file; "
        "repeat for more sites."
    ),
]


LayoutName = Annotated[
    Literal["auto", Layout],
    typer.Option(
        "--layout",
        help="How names give identity and camera; auto looks for the folders of Market-1501, the "
        "lists of MSMT17 and a manifest. mars reads 0001C1T0001F001.jpg, viper cam_a/000_45.bmp.",
    ),
]
HeldOutData = Annotated[
    list[Path] | None,
    typer.Option("--data", help="Labelled folder with query and gallery; repeat for more."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Count and list unusable files instead of stopping.")
]
Device = Annotated[DeviceChoice, typer.Option(help="auto takes CUDA where there is a GPU.")]


def read_text(file: Path) -> str:
    """A text file's content.

    Args:
        file: where it lies.

    Returns:
        The text.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file}: {error}") from error


def parse_set(text: str) -> tuple[str, str]:
    """One ``--set``.

    Args:
        text: ``KEY=VALUE``.

    Returns:
        Key and value, both still text.

    Raises:
        InvalidInput: it has no key or no equals sign.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidInput(f"--set {text}: must be KEY=VALUE, such as clustering.eps=0.6")
    return key.strip(), value.strip()


def torch_device(choice: DeviceChoice) -> Any:
    """The device a choice means on this machine.

    Args:
        choice: what was asked for.

    Returns:
        The ``torch.device``.

    Raises:
        InvalidInput: CUDA was asked for and is not there.
    """
    import torch

    if choice is DeviceChoice.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if choice is DeviceChoice.CUDA and not torch.cuda.is_available():
        raise InvalidInput("--device cuda: PyTorch finds no CUDA device here")
    return torch.device(choice.value)
