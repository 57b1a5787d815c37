"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

DEFAULT_URL = "http://127.0.0.1:8000"
KEY_VARIABLE = "REID_KEY"

Url = Annotated[str, typer.Option(help="where the service listens")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar=KEY_VARIABLE, help="API key; as an option, other users of this machine can see it"
    ),
]
GalleryName = Annotated[str, typer.Option(help="name of the gallery")]
TimeZone = Annotated[
    str | None,
    typer.Option(
        help="whose clocks times without a zone were read from, such as Europe/Berlin or +01:00; "
        "UTC if absent, and the answer says so"
    ),
]


def only_given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that were given.

    Args:
        flags: values by name; None where one was not given.

    Returns:
        The others.
    """
    return {name: value for name, value in flags.items() if value is not None}
