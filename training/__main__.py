"""``python -m training COMMAND``: from crops to a model for the service."""

from __future__ import annotations

import sys

import typer

from service.errors import ReidError
from training.commands.adapt import adapt
from training.commands.blend import blend
from training.commands.calibrate import calibrate
from training.commands.evaluate import evaluate
from training.commands.export import export
from training.commands.inspect import inspect
from training.commands.pretrain import pretrain
from training.commands.quantize import quantize
from training.commands.report import report
from training.commands.scenes import scenes
from training.commands.synthesize import synthesize
from training.commands.train import train
from training.commands.wrap import wrap

app = typer.Typer(
    name="training",
    help="Train a person embedding on unlabelled crops, measure it, and export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_COMMANDS = (
    *(inspect, pretrain, train, adapt, blend, report, evaluate, export, quantize, wrap),
    *(calibrate, synthesize, scenes),
)
for _command in _COMMANDS:
    app.command()(_command)


def main() -> None:
    """Run the command line; an error that users can fix is one line, with exit status 2."""
    try:
        app()
    except ReidError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
