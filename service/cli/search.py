"""``python -m service search``: whose crops show the people on some images?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.errors import errors_in_one_line
from service.cli.options import DEFAULT_URL, ApiKey, GalleryName, TimeZone, Url, only_given
from service.values.vocabulary import GroupBy

if TYPE_CHECKING:
    from service.api.search import SearchAnswer

Images = Annotated[
    list[Path], typer.Argument(help="crops of people", exists=True, dir_okay=False, readable=True)
]
TopK = Annotated[
    int | None, typer.Option(help="maximum matches per image; default: REID_TOP_K of the service")
]
Camera = Annotated[str | None, typer.Option(help="camera that took the images")]
ExcludeSameCamera = Annotated[
    bool, typer.Option("--exclude-same-camera", help="leave out crops of --camera")
]
Cameras = Annotated[
    list[str] | None, typer.Option(help="only crops of this camera; repeat for more")
]
Tracks = Annotated[
    list[str] | None, typer.Option(help="only crops of tracks with this name; repeat for more")
]
# A list, so that the service sees a second value and rejects it; here the last one would win.
NotCamera = Annotated[list[str] | None, typer.Option(help="leave out crops of this camera")]
Identities = Annotated[
    list[str] | None, typer.Option(help="only crops of this identity; repeat for more")
]
HasIdentity = Annotated[
    bool | None,
    typer.Option("--has-identity/--no-identity", help="only crops with, or without, an identity"),
]
IdPrefix = Annotated[str | None, typer.Option(help="only crops whose id starts with this text")]
Among = Annotated[list[str] | None, typer.Option(help="only this crop; repeat for more")]
Since = Annotated[
    str | None,
    typer.Option(help="only crops taken then or later: ISO 8601, 20261121, or seconds since 1970"),
]
Until = Annotated[str | None, typer.Option(help="only crops taken before this time")]
AddedSince = Annotated[str | None, typer.Option(help="only crops added at this time or later")]
AddedUntil = Annotated[str | None, typer.Option(help="only crops added before this time")]
MinScore = Annotated[
    float | None,
    typer.Option(help="minimum cosine of a match; default: the model's calibrated threshold"),
]
Rerank = Annotated[bool, typer.Option("--rerank", help="re-rank by k-reciprocal neighbours")]
RerankTop = Annotated[int | None, typer.Option(help="how many of the closest crops to re-rank")]
GroupByOption = Annotated[
    GroupBy,
    typer.Option(help="identity: one match per identity; track: one per camera and track"),
]
Combine = Annotated[
    bool, typer.Option("--combine", help="all images show one person; search for them as one query")
]
Standardise = Annotated[
    bool | None,
    typer.Option(
        "--standardise/--no-standardise",
        help="rank by embeddings standardised per camera; default: if a camera has enough crops",
    ),
]
Detect = Annotated[
    bool,
    typer.Option(
        "--detect", help="the images are whole frames: search for each person that is on them"
    ),
]
Tiles = Annotated[
    str | None,
    typer.Option(help="with --detect, look at overlapping tiles of each frame too, such as 2x2"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print the answer as JSON")]


def search(
    images: Images,
    gallery: GalleryName = "default",
    top_k: TopK = None,
    camera: Camera = None,
    exclude_same_camera: ExcludeSameCamera = False,
    cameras: Cameras = None,
    tracks: Tracks = None,
    not_camera: NotCamera = None,
    identities: Identities = None,
    has_identity: HasIdentity = None,
    id_prefix: IdPrefix = None,
    among: Among = None,
    since: Since = None,
    until: Until = None,
    added_since: AddedSince = None,
    added_until: AddedUntil = None,
    zone: TimeZone = None,
    min_score: MinScore = None,
    rerank: Rerank = False,
    rerank_top: RerankTop = None,
    group_by: GroupByOption = "none",
    combine: Combine = False,
    standardise: Standardise = None,
    detect: Detect = False,
    tiles: Tiles = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: ApiKey = None,
) -> None:
    """Find the crops of a gallery that show the same people.

    Warnings about the filter go to stderr. The exit status is 1 if an image could not be used.
    """
    options = dict(locals())  # what is left at the end are the form's fields, by their names
    for name in ("images", "as_json", "url", "key"):
        del options[name]
    with errors_in_one_line():
        answer = _search(images, only_given(options), url, key)
    _print_answer(answer, as_json=as_json)


def _search(images: list[Path], options: dict[str, Any], url: str, key: str | None) -> SearchAnswer:
    from service.client import Client

    named = [(str(path), path.read_bytes()) for path in images]
    with Client(url, key or "", retry_for=0) as client:
        return client.search(named, **options)


def _print_answer(answer: SearchAnswer, *, as_json: bool) -> None:
    from service.cli.tables import search_table

    if as_json:
        print(json.dumps(answer.model_dump(mode="json"), indent=2))
    else:
        print(search_table(answer))
    for warning in answer.warnings:
        print(f"warning: {warning.detail}", file=sys.stderr)
    if any(entry.status == "error" for entry in answer.results):
        raise typer.Exit(1)
