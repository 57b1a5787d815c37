"""``python -m service search``: whose crops show the people on some images?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.cli.errors import errors_in_one_line
from service.cli.options import DEFAULT_URL, ApiKey, GalleryName, TimeZone, Url, only_given

Images = Annotated[
    list[Path], typer.Argument(help="crops of people", exists=True, dir_okay=False, readable=True)
]
TopK = Annotated[int | None, typer.Option(help="most matches an image")]
Camera = Annotated[str | None, typer.Option(help="camera that took the images")]
ExcludeSameCamera = Annotated[
    bool, typer.Option("--exclude-same-camera", help="leave out crops of --camera")
]
Cameras = Annotated[
    list[str] | None, typer.Option(help="crops of this camera only; repeat for more")
]
# A list, so that the service sees a second one and refuses it; the last one would win here.
NotCamera = Annotated[list[str] | None, typer.Option(help="no crop of this camera")]
Identities = Annotated[
    list[str] | None, typer.Option(help="crops of this identity only; repeat for more")
]
HasIdentity = Annotated[
    bool | None,
    typer.Option("--has-identity/--no-identity", help="only crops with, or without, an identity"),
]
IdPrefix = Annotated[str | None, typer.Option(help="crops whose id begins with this text")]
Among = Annotated[list[str] | None, typer.Option(help="only this crop; repeat for more")]
Moment = Annotated[
    str | None, typer.Option(help="ISO 8601, a date such as 20261121, or seconds since 1970")
]
MinScore = Annotated[
    float | None, typer.Option(help="least cosine; the model's calibrated threshold if absent")
]
Rerank = Annotated[bool, typer.Option("--rerank", help="order by k-reciprocal neighbours")]
RerankTop = Annotated[int | None, typer.Option(help="how many of the nearest crops are re-ranked")]
GroupBy = Annotated[
    Literal["none", "identity"], typer.Option(help="identity: one match an identity")
]
Combine = Annotated[
    bool, typer.Option("--combine", help="all images show one person and make one query")
]
Standardise = Annotated[
    bool | None,
    typer.Option(
        "--standardise/--no-standardise",
        help="rank by embeddings standardised per camera; if absent, where that is possible",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print the service's answer")]


def search(
    images: Images,
    gallery: GalleryName = "default",
    top_k: TopK = None,
    camera: Camera = None,
    exclude_same_camera: ExcludeSameCamera = False,
    cameras: Cameras = None,
    not_camera: NotCamera = None,
    identities: Identities = None,
    has_identity: HasIdentity = None,
    id_prefix: IdPrefix = None,
    among: Among = None,
    since: Moment = None,
    until: Moment = None,
    added_since: Moment = None,
    added_until: Moment = None,
    zone: TimeZone = None,
    min_score: MinScore = None,
    rerank: Rerank = False,
    rerank_top: RerankTop = None,
    group_by: GroupBy = "none",
    combine: Combine = False,
    standardise: Standardise = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: ApiKey = None,
) -> None:
    """Find the crops of a gallery that show the same people as some images.

    What is odd about a filter is said on stderr. The exit status is 1 where an image could not be
    used.
    """
    options = dict(locals())  # what is left in the end are the fields of the form, by their names
    for name in ("images", "as_json", "url", "key"):
        del options[name]
    with errors_in_one_line():
        answer = _search(images, only_given(options), url, key)
    _print_answer(answer, as_json=as_json)


def _search(
    images: list[Path], options: Mapping[str, Any], url: str, key: str | None
) -> dict[str, Any]:
    from service.cli.service_client import Client
    from service.embedding.encoded_image import EncodedImage

    uploads = [EncodedImage(str(path), path.read_bytes()) for path in images]
    with Client(url, key) as client:
        return client.search(uploads, options)


def _print_answer(answer: Mapping[str, Any], *, as_json: bool) -> None:
    from service.cli.tables import search_table

    print(json.dumps(answer, indent=2) if as_json else search_table(answer))
    for warning in answer["warnings"]:
        print(f"warning: {warning['detail']}", file=sys.stderr)
    if any(entry["status"] == "error" for entry in answer["results"]):
        raise typer.Exit(1)
