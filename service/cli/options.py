"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

DEFAULT_URL = "http://127.0.0.1:8000"
KEY_VARIABLE = "REID_KEY"

Url = Annotated[str, typer.Option(help="address of the service")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar=KEY_VARIABLE,
        help="API key; other users of this machine can see it if you give it as an option",
    ),
]
GalleryName = Annotated[str, typer.Option(help="name of the gallery")]
TimeZone = Annotated[
    str | None,
    typer.Option(
        help="time zone of times without one, such as Europe/Berlin or +01:00; default: UTC, with "
        "a warning"
    ),
]


def only_given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Select the options that were given.

    Args:
        flags: values by name; None for an option that was not given.

    Returns:
        Those that are not None.
    """
    return {name: value for name, value in flags.items() if value is not None}
