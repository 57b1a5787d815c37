"""Read an import in a subprocess with limited memory.

The worst that a malicious file can do is to end that process: the job fails with the reason, and
the service continues.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import service
from service.errors import InvalidInput, TooLarge, Unavailable
from service.imports.items import Item
from service.imports.messages import (
    HEAD,
    MAX_TEXT,
    PARQUET,
    PLAIN,
    REQUEST_HEAD,
    Crashed,
    Done,
    Expect,
    Message,
    OutOfMemory,
    Refused,
    decode,
)
from service.imports.reader import ImportRequest

log = logging.getLogger(__name__)

_CHECKS = 0.2  # seconds between two checks whether the job was cancelled
_LAST_WORDS = 5.0  # seconds for the watcher to end a reader and report how it ended
_BUFFER = 1 << 18
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # a process that forks must have one thread
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # more arenas would reserve far more memory than is used
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


class ForkServer:
    """Starts readers of imports through the fork server process; safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def begin(self, request: ImportRequest) -> _Link:
        """Start a reader.

        Args:
            request: what to read.

        Returns:
            The connection to the reader.

        Raises:
            Unavailable: no process can be started.
        """
        message = json.dumps(asdict(request)).encode()
        ours, theirs = socket.socketpair()
        report, report_end = os.pipe()
        link = _Link(ours, report)
        kind = PARQUET if request.spec.get("source") == "parquet" else PLAIN
        try:
            with theirs:  # if it stayed open here, the end of the reader would go unnoticed
                try:
                    self._hand_over(kind, [theirs.fileno(), report_end])
                finally:
                    os.close(report_end)
        except OSError as error:
            link.close()
            raise Unavailable(f"no process to read the import can be started: {error}") from error
        with suppress(OSError):  # the reader is gone; reading from it reports why
            ours.sendall(len(message).to_bytes(REQUEST_HEAD) + message)
        return link

    def close(self) -> None:
        """End the fork server; running readers end when their connections close."""
        with self._lock:
            control, self._control = self._control, None
            process, self._process = self._process, None
            if control is not None:
                control.close()
            if process is not None:
                process.wait()

    def _hand_over(self, kind: bytes, descriptors: list[int]) -> None:
        with self._lock:
            if self._control is not None:
                with suppress(OSError):  # it was killed; a new one takes over
                    socket.send_fds(self._control, [kind], descriptors)
                    return
                self._control.close()
                self._control = None
            if self._process is not None:
                self._process.wait()
            self._process, self._control = _started()
            socket.send_fds(self._control, [kind], descriptors)


@cache
def shared_fork_server() -> ForkServer:
    """The fork server of this process, shared by all services it runs."""
    fork_server = ForkServer()
    atexit.register(fork_server.close)
    return fork_server


def can_fork_readers() -> bool:
    """Whether this system can fork readers and pass connections to them."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


def _started() -> tuple[subprocess.Popen[bytes], socket.socket]:
    if not Path("/proc/self/status").exists():
        log.warning("imports are read in a subprocess, but without a memory limit")
    code = str(Path(service.__path__[0]).parent)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REID_")}
    paths = [code, *filter(None, [inherited.get("PYTHONPATH")])]
    environment = inherited | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(paths)}
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "service.imports.fork_server"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment,
                process_group=0,  # an interrupt from the terminal must reach only the service
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


class SubprocessReader:
    """Reads an import in a subprocess.

    Args:
        request: what to read.
        fork_server: starts the process.
        expect: called with the number of items once it is known.
        check: called regularly; raises to give up.
    """

    def __init__(
        self,
        request: ImportRequest,
        fork_server: ForkServer,
        expect: Callable[[int], object],
        check: Callable[[], object],
    ) -> None:
        self._request = request
        self._fork_server = fork_server
        self._expect = expect
        self._check = check
        self._result: dict[str, Any] | None = None

    def items(self) -> Generator[Item, None, None]:
        """Yield the items as they are read. The process ends with this generator.

        Raises:
            ReidError: the import cannot be read any further, for example because it needs too much
                memory or the reader was killed.
        """
        link = self._fork_server.begin(self._request)
        try:
            while True:
                match self._next(link):
                    case Expect(total):
                        self._expect(total)
                    case Done(result):
                        self._result = result
                        return
                    case Refused(error):
                        raise error
                    case OutOfMemory():
                        raise TooLarge(_out_of_memory(self._request.memory_bytes))
                    case Crashed(trace):
                        raise RuntimeError(trace)
                    case item:
                        yield item
        finally:
            link.close()

    def result(self) -> dict[str, Any]:
        """The reader's part of the job's result, once every item was read."""
        if self._result is None:
            raise RuntimeError("the import has not been read yet")
        return self._result

    def _next(self, link: _Link) -> Message:
        text_size, size = HEAD.unpack(self._take(link, HEAD.size))
        most = max(self._request.image_bytes, 4 * self._request.dimension)
        if text_size > MAX_TEXT or size > most:
            raise InvalidInput("the process reading the import sent more than it may")
        text = self._take(link, text_size)
        try:
            return decode(text, self._take(link, size))
        except ValueError as error:
            raise InvalidInput(f"the process reading the import sent {error}") from error

    def _take(self, link: _Link, size: int) -> bytes:
        found = link.take(size, self._check)
        if found is None:
            raise Unavailable(_ended(link.status(), self._request.memory_bytes))
        return found


class _Link:
    """The connection to a reader, and to its watcher."""

    def __init__(self, channel: socket.socket, report: int) -> None:
        self._channel = channel
        self._report = report
        self._received = bytearray()
        self._status: int | None = None
        self._closed = False

    def take(self, size: int, check: Callable[[], object]) -> bytes | None:
        """Read this many bytes; None if the reader has ended. Raises what ``check`` raises."""
        self._channel.settimeout(_CHECKS)
        while len(self._received) < size:
            try:
                piece = self._channel.recv(max(_BUFFER, size - len(self._received)))
            except TimeoutError:
                check()
                continue
            except OSError:
                return None
            if not piece:
                return None
            self._received += piece
        found = bytes(self._received[:size])
        del self._received[:size]
        return found

    def status(self) -> int | None:
        """How the reader ended: its exit status, or minus the signal; None if unknown."""
        if self._status is None and _waited_for(self._report):
            text = os.read(self._report, 16)
            self._status = int(text) if text else None
        return self._status

    def close(self) -> None:
        """End the reader and wait until it is gone."""
        if not self._closed:
            self._closed = True
            self._channel.close()
            _waited_for(self._report)
            os.close(self._report)


def _waited_for(report: int) -> bool:
    """Whether the watcher sends something, or ends, before the timeout."""
    # Not select(), which takes no descriptor above 1,023; a busy service has more connections.
    poll = select.poll()
    poll.register(report, select.POLLIN)
    return bool(poll.poll(_LAST_WORDS * 1000))


def _out_of_memory(most: int) -> str:
    return (
        f"reading the import needs more than {most:,} bytes of memory "
        "(REID_IMPORT_MEMORY_BYTES): split it into smaller imports"
    )


def _ended(status: int | None, most: int) -> str:
    how = "ended for an unknown reason" if status is None else f"ended with status {status}"
    if status is not None and status < 0:
        with suppress(ValueError):
            how = f"was killed by {signal.Signals(-status).name}"
    return (
        f"the process reading the import {how}: the file is damaged or malicious, or needs more "
        f"memory than is available (the limit is {most:,} bytes); nothing else was affected; "
        "resume the job to try again"
    )
