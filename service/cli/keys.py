"""``python -m service keys``: create, list and revoke keys, whether the service runs or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.errors import errors_in_one_line

if TYPE_CHECKING:
    from service.access.gate import Gate
    from service.access.key_file import Key
    from service.machine.disk_reserve import ReserveUse
    from service.settings import Settings

cli = typer.Typer(
    no_args_is_help=True,
    help="Create, list and revoke API keys of a data folder.\n\n"
    "A running service applies the change at once.",
)

DataFolder = Annotated[
    Path | None,
    typer.Option(
        help="data folder of the service; default: REID_DATA, or the folder of the service that "
        "listens on REID_HOST and REID_PORT if it needs no key yet, or data"
    ),
]
NewFolder = Annotated[
    bool, typer.Option("--new", help="create the data folder if it does not exist")
]
LabelText = Annotated[str, typer.Option(help="what the key is for")]
ScopeName = Annotated[
    Literal["search", "write", "admin"],
    typer.Option(help="the most it allows; each scope includes those before it"),
]
Galleries = Annotated[
    list[str] | None,
    typer.Option(
        "--gallery", help="only for this gallery; repeat for more; default: all galleries"
    ),
]
Expires = Annotated[
    str | None, typer.Option(help="when it ends: ISO 8601, or seconds since 1970; default: never")
]
PerMinute = Annotated[int | None, typer.Option(help="its limit; default: the service's setting")]
KeyId = Annotated[str, typer.Argument(help="id of the key, as `keys list` shows it")]


@cli.command()
def create(
    label: LabelText,
    scope: ScopeName,
    gallery: Galleries = None,
    expires: Expires = None,
    requests_per_minute: PerMinute = None,
    data: DataFolder = None,
    new: NewFolder = False,
) -> None:
    """Create a key and print it to stdout; it cannot be shown again.

    Stderr names the file that it was written to.
    """
    with errors_in_one_line(), _gate(data, new=new) as (settings, gate):
        from service.access.new_key import NewKey
        from service.cli.key_folder import tell_where, warn_if_open

        wanted = NewKey.model_validate(
            {
                "label": label,
                "scope": scope,
                "galleries": gallery or None,
                "expires": expires,
                "requests_per_minute": requests_per_minute,
            }
        )
        gate.audit.require_room()
        key, text = gate.keys.create(wanted)
        _log(gate, "keys create", key)
        print(text)
        typer.echo(f"{_described(key)}\nThis key is not shown again.", err=True)
        tell_where(gate.keys.path.parent)
        warn_if_open(settings, gate.keys.path.parent)


@cli.command("list")
def list_keys(data: DataFolder = None) -> None:
    """List every key without its secret, even revoked and expired ones."""
    with errors_in_one_line(), _gate(data) as (_, gate):
        print(f"keys of {gate.keys.path}:", file=sys.stderr)
        for key in gate.keys.every():
            print(_described(key))


@cli.command()
def revoke(key_id: KeyId, data: DataFolder = None) -> None:
    """Revoke a key, for good; it is rejected from the next request on.

    This works even if the disk is full.
    """
    with errors_in_one_line(), _gate(data) as (_, gate):
        from service.cli.key_folder import tell_where

        gate.audit.require_room("whole")
        key = gate.keys.revoke(key_id)
        _log(gate, "keys revoke", key)
        print(_described(key))
        tell_where(gate.keys.path.parent)


@contextmanager
def _gate(data: Path | None, *, new: bool = False) -> Iterator[tuple[Settings, Gate]]:
    from service.access.gate import Gate
    from service.cli.key_folder import choose, hand_over
    from service.machine.executors import Threads
    from service.settings import Settings

    settings = Settings() if data is None else Settings(data=data)
    folder = choose(settings, new=new)
    threads = Threads("bookkeeping", 1, lambda _: None)
    gate = Gate(folder, settings.requests_per_minute, settings.audit_days, threads)
    try:
        yield settings, gate
    finally:
        threads.close()
        gate.close()
        if folder.is_dir():
            hand_over(folder)


def _log(gate: Gate, command: Literal["keys create", "keys revoke"], key: Key) -> None:
    import time

    from service.access.entry import AuditEntry

    entry = AuditEntry(
        time=time.time(),
        method="CLI",
        route=command,
        target=key.key_id,
        scope=key.scope,
        galleries=key.bound,
    )
    share: ReserveUse = "whole" if command == "keys revoke" else "none"
    try:
        gate.audit.write(entry, durable=True, share=share).result()
    except OSError as error:
        print(f"warning: done, but the audit log could not be written: {error}", file=sys.stderr)


def _described(key: Key) -> str:
    galleries = "all galleries" if key.galleries is None else ", ".join(sorted(key.galleries))
    told = [key.key_id, key.scope, galleries, repr(key.label), f"created {_day(key.created)}"]
    if key.requests_per_minute is not None:
        told.append(f"{key.requests_per_minute} requests per minute")
    if key.revoked is not None:
        told.append(f"revoked {_day(key.revoked)}")
    elif key.expires is not None:
        told.append(f"expires {_day(key.expires)}")
    told.append("never used" if key.last_used is None else f"last used {_day(key.last_used)}")
    return "  ".join(told)


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
