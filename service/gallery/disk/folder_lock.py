"""The lock that lets only one process serve a data folder."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from service.errors import Unavailable


def hold(path: Path) -> IO[str]:
    """Lock the folder for this process; the system releases the lock even after ``kill -9``.

    Raises:
        Unavailable: another process serves the folder.
    """
    file = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise Unavailable(
            f"{path.parent}: process {holder or 'unknown'} already serves this folder; two "
            "services would not see each other's changes"
        ) from None
    with suppress(OSError):  # only for the message above; on a full disk, galleries can be read
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    return file
