"""Choose the data folder of the commands on keys.

A key in a folder that no service reads protects nothing, and nobody notices. So the commands ask
the running service for its folder, and report which file they wrote.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.access.keys import FILE
from service.errors import InvalidInput
from service.settings import Settings

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - only asked
_PATIENCE = 2.0  # seconds; it is on this machine


@dataclass(frozen=True, slots=True)
class Found:
    """A service that answers at the address of the settings.

    Attributes:
        url: its address.
        open: whether it needs no key.
        file: the file of its keys; it reports that only while it is open.
    """

    url: str
    open: bool
    file: Path | None


def choose(settings: Settings, *, new: bool) -> Path:
    """Choose the data folder of a command.

    Args:
        settings: their data folder was given by an option or a variable, or is the default.
        new: create the default folder if it does not exist.

    Returns:
        The folder that was given, or that of the running service, or the default.

    Raises:
        InvalidInput: no folder was given, and it is unclear which one is meant.
    """
    folder = settings.data.absolute()
    if "data" in settings.model_fields_set or new:
        return folder
    found = ask(settings)
    if found is not None and found.file is not None:
        if _is_ours(found.file.parent):
            return found.file.parent
        raise InvalidInput(
            f"the service at {found.url} keeps its keys in {found.file}, which is not in a folder "
            "of this user on this machine: run the command where the service runs (docker compose "
            "exec service python -m service keys ...), or name a folder with --data"
        )
    if not folder.is_dir():
        raise InvalidInput(
            f"there is no folder {folder}: name the service's data folder with --data, or add "
            "--new to create this one"
        )
    return folder


def ask(settings: Settings) -> Found | None:
    """Ask the service on this machine, without a key, whether it is open.

    Args:
        settings: its address.

    Returns:
        None if no service answers.
    """
    import httpx

    host = _ANY_ADDRESS.get(settings.host, settings.host)
    url = f"http://[{host}]" if ":" in host and host[0] != "[" else f"http://{host}"
    url = f"{url}:{settings.port}"
    try:
        answer = httpx.get(f"{url}/keys", timeout=_PATIENCE, trust_env=False)
        body = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    if not isinstance(body, dict):
        return None
    if answer.is_success and isinstance(body.get("keys"), list):
        file = body.get("file")
        return Found(url, open=True, file=Path(file) if isinstance(file, str) else None)
    return Found(url, open=False, file=None) if body.get("code") == "unauthorized" else None


def tell_where(folder: Path) -> None:
    """Report on stderr which file was written."""
    print(f"wrote {folder / FILE}", file=sys.stderr)


def warn_if_open(settings: Settings, folder: Path) -> None:
    """Warn if the service still needs no key, although one was created.

    Args:
        settings: the service's address.
        folder: of the new key.
    """
    found = ask(settings)
    if found is not None and found.open:
        its = "another folder" if found.file is None else str(found.file)
        print(
            f"WARNING: the service at {found.url} is still open to everybody. It reads {its}, not "
            f"{folder / FILE}: revoke this key, and create one with --data set to that service's "
            "folder",
            file=sys.stderr,
        )


def hand_over(folder: Path) -> None:
    """Give files that root wrote to the folder's owner, whose service must read them.

    Args:
        folder: the data folder.
    """
    if os.geteuid():
        return
    owner = folder.stat()
    for path in (folder / FILE, folder / "reserve", *sorted((folder / "audit").rglob("*"))):
        with suppress(FileNotFoundError):
            if owner.st_uid and path.lstat().st_uid == 0:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _is_ours(folder: Path) -> bool:
    # Another user may listen on the port; nothing is written into their folder.
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
