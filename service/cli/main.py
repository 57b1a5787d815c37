"""The command line: ``python -m service serve | index | search | detect | watch | ...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.cli import keys
from service.cli.detect import detect
from service.cli.errors import errors_in_one_line
from service.cli.options import DEFAULT_URL, ApiKey, GalleryName, TimeZone, Url, only_given
from service.cli.search import search
from service.cli.watch import watch
from service.http.plain_lines import one_line
from service.machine.durable import keep_private
from service.machine.processors import one_thread_per_call
from service.values.vocabulary import LayoutName

if TYPE_CHECKING:
    from service.cli.indexer import IndexReport

_FIRST_ANSWER_SECONDS = 10.0

cli = typer.Typer(
    name="service",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Recognise the same person across cameras.\n\nExit status: 0 success, 1 something failed "
    "(stderr says what), 2 wrong command line, 130 interrupted.",
)
cli.add_typer(keys.cli, name="keys")


@cli.callback()
def _begin(context: typer.Context) -> None:
    # Only the user who runs a command may read what it writes, above all keys.
    before = keep_private()
    context.call_on_close(lambda: os.umask(before))


ModelFolder = Annotated[Path | None, typer.Option(help="model folder")]
DataFolder = Annotated[Path | None, typer.Option(help="data folder, which holds the galleries")]
Host = Annotated[str | None, typer.Option(help="address to listen on")]
Port = Annotated[int | None, typer.Option(help="port to listen on; 0 picks a free one")]
Device = Annotated[
    Literal["auto", "cuda", "cpu"] | None,
    typer.Option(help="where the network runs; cuda fails if there is no GPU"),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    typer.Option(help="least severe messages to log"),
]
Crops = Annotated[Path | None, typer.Argument(help="folder of crops, with its subfolders")]
ServerFolder = Annotated[
    str | None,
    typer.Option(
        help="index a folder that the service can read, instead of one of this machine; relative "
        "to a folder of its REID_IMPORT_ROOTS; --manifest is then a file in it"
    ),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        help="regular expression on the relative path, with the groups identity, camera, track, "
        "crop_id and timestamp, or the pieces of a time: date, time, year, month, day, hour, "
        "minute, second, millisecond, fraction, zone. Example: "
        "'(?P<camera>[^/]+)/(?P<date>[^/]+)/(?P<time>[^/]+)\\.jpg' reads "
        "gate/2026-11-21/14-05-33.120.jpg. Default: manifest.ndjson, .jsonl, .csv or .parquet in "
        "the folder, or else Market-1501 names"
    ),
]
CameraZones = Annotated[
    list[str] | None,
    typer.Option(
        "--camera-zone",
        help="time zone of one camera, such as gate=Europe/Berlin; repeat for more",
    ),
]
Layout = Annotated[
    LayoutName | None,
    typer.Option(
        help="built-in layout of file names, instead of a pattern: market1501 reads "
        "0002_c1s1_000451_03.jpg, mars 0001C1T0001F001.jpg, viper cam_a/000_45.bmp, ..."
    ),
]
ManifestFile = Annotated[
    Path | None,
    typer.Option(
        help="table of the crops (.csv, .ndjson, .jsonl, .parquet) with the columns path, crop_id, "
        "identity, camera, track, timestamp, zone"
    ),
]
ModelPath = Annotated[Path, typer.Argument(help="model folder, or an ONNX file", exists=True)]
People = Annotated[
    Path | None,
    typer.Argument(
        help="folder of people in the Market-1501 layout; with --video, of a film per camera",
        exists=True,
        file_okay=False,
        show_default=False,
    ),
]
Video = Annotated[
    bool,
    typer.Option(
        "--video", help="watch films of several cameras; without a folder, those that are shipped"
    ),
]
Once = Annotated[bool, typer.Option("--once", help="stop after the table")]


@cli.command()
def serve(
    model: ModelFolder = None,
    data: DataFolder = None,
    host: Host = None,
    port: Port = None,
    device: Device = None,
    log_level: LogLevel = None,
) -> None:
    """Start the HTTP service; Ctrl-C or SIGTERM stops it.

    Every setting is an environment variable REID_NAME; an option overrides its variable.
    """
    flags: dict[str, Any] = {
        "model": model,
        "data": data,
        "host": host,
        "port": port,
        "device": device,
        "log_level": log_level,
    }
    one_thread_per_call()
    with errors_in_one_line():
        from service.http.server import serve as run
        from service.settings import Settings

        run(Settings(**only_given(flags)))


@cli.command()
def index(
    folder: Crops = None,
    server_folder: ServerFolder = None,
    gallery: GalleryName = "default",
    pattern: Pattern = None,
    layout: Layout = None,
    manifest: ManifestFile = None,
    zone: TimeZone = None,
    camera_zone: CameraZones = None,
    url: Url = DEFAULT_URL,
    key: ApiKey = None,
) -> None:
    """Add a folder of crops to a gallery of a running service.

    Crops that are already there are skipped, so repeat an interrupted run to resume it. Ctrl-C
    cancels the imports under way. Files that could not be indexed are listed at the end, and the
    exit status is 1.
    """
    ways = {"pattern": pattern, "layout": layout, "manifest": manifest and manifest.as_posix()}
    _require_one(ways)
    if (folder is None) == (server_folder is None):
        raise typer.BadParameter("give either a folder of this machine or --server-folder")
    with errors_in_one_line():
        from service.api.imports import zones_of
        from service.cli import indexer
        from service.cli.local_folder import HowToRead, list_folder
        from service.client import Client
        from service.ingest.reading import Reading, Zones

        zones = zones_of(camera_zone or ())
        reading = Reading(Zones.read(zone, zones))
        report = indexer.IndexReport()
        _require_service(url, key)
        try:
            with Client(url, key or "") as client:
                if folder is not None:
                    how = HowToRead(pattern, layout, manifest, reading)
                    listing = list_folder(folder, how, report.not_used)
                    indexer.index(client, gallery, listing, report)
                else:
                    spec = {"folder": server_folder, **ways, "zone": zone, "zones": zones or None}
                    indexer.index_server_folder(client, gallery, only_given(spec), report)
        finally:
            _tell(report, reading.warnings() if folder is not None else [])
    if report.is_empty:
        print("error: nothing could be indexed", file=sys.stderr)
    if report.failed or report.is_empty:
        raise typer.Exit(1)


def _require_service(url: str, key: str | None) -> None:
    """Fail soon if nothing answers; once something has, the client is more patient."""
    from service.client import Client

    with Client(url, key or "", retry_for=_FIRST_ANSWER_SECONDS) as client:
        client.ops.livez()


def _require_one(ways: Mapping[str, object]) -> None:
    """Accept at most one of several options."""
    given = [f"--{name}" for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"give only one of {' and '.join(given)}")


def _tell(report: IndexReport, warnings: Sequence[str]) -> None:
    print(report.summary())
    for line in (*report.said(), *(f"warning: {text}" for text in warnings)):
        print(one_line(line), file=sys.stderr)
    for failed in report.failed:  # anybody may have named the files
        print(one_line(f"failed: {failed.path}: {failed.reason}"), file=sys.stderr)


cli.command()(search)
cli.command()(detect)
cli.command()(watch)


@cli.command()
def check(model: ModelPath) -> None:
    """Check a model against the contract, and name every rule it breaks.

    The exit status is 1 if it breaks one.
    """
    with errors_in_one_line():
        from service.model.contract import check_model

        findings = check_model(model)
    for finding in findings:
        print(f"broken: {finding}")
    if findings:
        raise typer.Exit(1)
    print(f"{model} meets the contract")


@cli.command()
def demo(
    folder: People = None, model: ModelFolder = None, video: Video = False, once: Once = False
) -> None:
    """Serve, index, search and print the results; then keep serving.

    The folder holds people in the Market-1501 layout, with their queries. With --video, films go
    through it all: people are found, followed, stored, searched for, and reported as they appear.
    """
    if folder is None and not video:
        raise typer.BadParameter("give a folder of people, or --video")
    with errors_in_one_line():
        from service.settings import Settings

        model = model or Settings().model
        if video:
            from service.cli.film_demo.walk import FILMS, film_demo

            film_demo(folder or FILMS, model, once=once)
        elif folder is not None:
            from service.cli.demo import demo as run

            run(folder, model, once=once)
