"""``python -m training``: inspect, train, adapt, report, evaluate, export, synthesize."""

from __future__ import annotations

import sys

import typer

from service.errors import ReidError
from training.commands.adapt import adapt
from training.commands.evaluate import evaluate
from training.commands.export import export
from training.commands.inspect import inspect
from training.commands.report import report
from training.commands.synthesize import synthesize
from training.commands.train import train

app = typer.Typer(
    name="training",
    help="Learn a person embedding from unlabelled crops, measure it, export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (inspect, train, adapt, report, evaluate, export, synthesize):
    app.command()(_command)


def main() -> None:
    """Run the command line; an error people can act on is one line and exit status 2."""
    try:
        app()
    except ReidError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
