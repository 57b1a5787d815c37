"""The service as a process, on a data folder that outlives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

START_SECONDS = 300.0
PROGRAM = Path(__file__).with_name("serve_drawn.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Served:
    """Starts, kills and restarts one service on one data folder and one port.

    Args:
        data: the data folder.
        log: the file to which its stderr is appended.
        model: a model folder, served by ``python -m service serve``; None serves the embedder for
            drawn people, which starts faster.
        environment: additional variables.
    """

    def __init__(
        self,
        data: Path,
        log: Path,
        model: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data
        self.log = log
        self._environment = {**os.environ, **ONE_THREAD, **(environment or {})}
        arguments: list[object] = [PROGRAM, data, self.port]
        if model is not None:
            flags = ("--model", model, "--data", data, "--port", self.port, "--device", "cpu")
            arguments = ["-m", "service", "serve", *flags]
        self._command = [sys.executable, *map(str, arguments)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process without waiting until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stderr=log, env=self._environment)

    def wait_until_alive(self, path: str = "/readyz") -> None:
        """Wait until a probe succeeds; raise RuntimeError if the process ends first."""
        deadline = time.monotonic() + START_SECONDS
        with httpx.Client(base_url=self.url, timeout=30) as http:
            while not self._is_alive(http, path):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the service is not ready: {self.last_words()}")
                time.sleep(0.02)

    def _is_alive(self, http: httpx.Client, path: str) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the service did not start: {self.last_words()}")
        try:
            return http.get(path).is_success
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """Kill the process at once (SIGKILL)."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """Let the process finish its work and end (SIGTERM)."""
        self.end(signal.SIGTERM)

    def end(self, sign: signal.Signals) -> None:
        """Send a signal and wait until the process has ended."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
