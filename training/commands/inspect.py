"""``python -m training inspect``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import LayoutName, Pattern


class InspectionForm(StrEnum):
    """How the inspection is printed."""

    TEXT = "text"
    JSON = "json"


def inspect(
    data: Annotated[Path, typer.Argument(help="Folder of crops or a manifest file.")],
    layout: LayoutName = "auto",
    pattern: Pattern = None,
    format_: Annotated[
        InspectionForm, typer.Option("--format", help="Format of the output.")
    ] = InspectionForm.TEXT,
) -> None:
    """Show what is in a data set: splits, cameras, sizes, unusable files, duplicates."""
    from training.data.datasets import DataSource, read_dataset
    from training.data.inspection import inspect_dataset
    from training.data.inspection_text import describe_inspection, inspection_as_dict

    source = DataSource(data, layout=layout, pattern=pattern, skip_bad=True)
    found = inspect_dataset(read_dataset(source))
    match format_:
        case InspectionForm.TEXT:
            typer.echo(describe_inspection(found))
        case InspectionForm.JSON:
            typer.echo(json.dumps(inspection_as_dict(found), indent=2))
