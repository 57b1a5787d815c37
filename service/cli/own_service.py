"""A service that a command starts for itself, and stops at its end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from service.client import Client, ServiceError
from service.errors import Unavailable
from service.http.server import bind, url_of

_HOST, _PORT = "127.0.0.1", 8000
_START_SECONDS = 120.0


def free_url() -> str:
    """The address of a service that nothing listens on: the usual one, unless it is taken."""
    try:
        listener = bind(_HOST, _PORT)
    except Unavailable:
        listener = bind(_HOST, 0)
    with listener:
        return url_of(listener)


@contextmanager
def served(url: str, model: Path, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m service serve`` while the block runs.

    Args:
        url: from :func:`free_url`.
        model: model folder.
        data: folder for the galleries.

    Yields:
        The process, which may still be starting.
    """
    arguments = {
        "--port": url.rpartition(":")[2],
        "--host": _HOST,
        "--model": str(model),
        "--data": str(data),
        "--log-level": "warning",
    }
    flags = [text for pair in arguments.items() for text in pair]
    command = [sys.executable, "-m", "service", "serve", *flags]
    process = subprocess.Popen(command)  # noqa: S603 - our own program, no shell
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], client: Client, url: str) -> None:
    """Wait until the service can work.

    Args:
        process: of :func:`served`.
        client: asks it.
        url: its address, for the message.

    Raises:
        ServiceError: it ended, or is not ready after two minutes.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not client.ops.is_ready():
        if process.poll() is not None:
            raise ServiceError(f"the service ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise ServiceError(f"{url}: the service is not ready after {_START_SECONDS:.0f} s")
        time.sleep(0.1)


def serve_on(process: subprocess.Popen[bytes]) -> None:
    """Leave the service to people until Ctrl-C.

    Args:
        process: of :func:`served`.

    Raises:
        ServiceError: it ended by itself.
    """
    print("Ctrl-C stops it.", flush=True)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        return
    if status:
        raise ServiceError(f"the service ended with status {status}")


def leave(sig: int, _frame: FrameType | None) -> NoReturn:
    """Let SIGTERM leave through the with blocks, which stop the service."""
    sys.exit(128 + sig)
