"""The service in a separate process, as an operator starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from service.http.server import bind, url_of

START_SECONDS = 300.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Served:
    """A running service.

    Attributes:
        url: its address.
        pid: its process.
        start_seconds: from the start of the process until it was ready.
    """

    url: str
    pid: int
    start_seconds: float


@contextmanager
def serving(model: Path, data: Path, **settings: str) -> Iterator[Served]:
    """Run ``python -m service serve`` on a free port until the block ends.

    Args:
        model: the model folder.
        data: the data folder; created if missing.
        settings: further settings by name, such as ``embeddings="disk"``.

    Raises:
        RuntimeError: the service did not become ready.
    """
    with bind("127.0.0.1", 0) as listener:
        url = url_of(listener)
    command = ["-m", "service", "serve", "--port", url.rpartition(":")[2], "--device", "cpu"]
    command += ["--model", str(model), "--data", str(data), "--log-level", "warning"]
    environment = os.environ | {f"REID_{name.upper()}": text for name, text in settings.items()}
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], env=environment)
    try:
        _wait_until_ready(url, process)
        yield Served(url, process.pid, time.perf_counter() - begun)
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(base_url=url) as http:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if http.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"the service did not start: exit status {process.returncode}")


def resident_mib(pid: int, which: str = "VmRSS") -> float:
    """The resident memory of a process, MiB.

    Args:
        pid: the process.
        which: ``VmRSS`` now, ``VmHWM`` at its most; ``RssAnon`` without mapped files.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
