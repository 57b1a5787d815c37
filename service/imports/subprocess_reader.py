"""Has an import read in a process of its own, which may take so much memory and no more.

Whatever is in the file, the worst it can do is end that process: the job fails with the reason, and
the service goes on.
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
from service.imports.frames import (
    HEAD,
    MAX_TEXT,
    PARQUET,
    PLAIN,
    WANTED_HEAD,
    Broken,
    Done,
    Expect,
    Frame,
    OutOfMemory,
    Refused,
    unpacked,
)
from service.imports.items import Item
from service.imports.reader import ImportRequest

log = logging.getLogger(__name__)

_LOOKS = 0.2  # seconds between two looks whether the job was cancelled
_LAST_WORDS = 5.0  # seconds the watcher gets to end a reader and to say how it ended
_BUFFER = 1 << 18
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # a process that forks has one thread
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # others reserve far more room than they use
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


class ForkServer:
    """Starts readers of imports; safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def begin(self, wanted: ImportRequest) -> _Link:
        """Start a reader.

        Args:
            wanted: what it reads.

        Returns:
            The connection to it.

        Raises:
            Unavailable: no process can be started.
        """
        request = json.dumps(asdict(wanted)).encode()
        ours, theirs = socket.socketpair()
        report, said = os.pipe()
        link = _Link(ours, report)
        kind = PARQUET if wanted.spec.get("source") == "parquet" else PLAIN
        try:
            with theirs:  # kept open, it would hide the end of the reader
                try:
                    self._hand_over(kind, [theirs.fileno(), said])
                finally:
                    os.close(said)
        except OSError as error:
            link.close()
            raise Unavailable(f"no process to read the import can be started: {error}") from error
        with suppress(OSError):  # the reader is gone, which receiving from it says
            ours.sendall(len(request).to_bytes(WANTED_HEAD) + request)
        return link

    def close(self) -> None:
        """End the process that forks; readers that are at work end with their connections."""
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
                with suppress(OSError):  # it was killed: the next one takes over
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
    """The fork_server of this process, however many services it runs."""
    fork_server = ForkServer()
    atexit.register(fork_server.close)
    return fork_server


def can_fork_readers() -> bool:
    """Whether this system can fork a reader and hand it a connection."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


def _started() -> tuple[subprocess.Popen[bytes], socket.socket]:
    if not Path("/proc/self/status").exists():
        log.warning("imports are read in a process of their own, but without a limit of memory")
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
                process_group=0,  # the interrupt key of a terminal is for the service
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


class SubprocessReader:
    """An import as another process reads it.

    Args:
        wanted: what is read.
        fork_server: starts the process.
        expect: takes the number of items, once it is known.
        check: is called now and then, raises to give up.
    """

    def __init__(
        self,
        wanted: ImportRequest,
        fork_server: ForkServer,
        expect: Callable[[int], object],
        check: Callable[[], object],
    ) -> None:
        self._wanted = wanted
        self._fork_server = fork_server
        self._expect = expect
        self._check = check
        self._result: dict[str, Any] | None = None

    def items(self) -> Generator[Item, None, None]:
        """The items as they are read. The process ends when this does, however it does.

        Raises:
            ReidError: the import cannot be read, or not any further; among the reasons is that it
                needs too much memory, or that its reader was killed.
        """
        link = self._fork_server.begin(self._wanted)
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
                        raise TooLarge(_hungry(self._wanted.memory_bytes))
                    case Broken(trace):
                        raise RuntimeError(trace)
                    case item:
                        yield item
        finally:
            link.close()

    def result(self) -> dict[str, Any]:
        """What the job answers of it, once every item was read."""
        if self._result is None:
            raise RuntimeError("the import is not read yet")
        return self._result

    def _next(self, link: _Link) -> Frame:
        text_size, size = HEAD.unpack(self._take(link, HEAD.size))
        most = max(self._wanted.image_bytes, 4 * self._wanted.dimension)
        if text_size > MAX_TEXT or size > most:
            raise InvalidInput("the process that read the import sent more than it may")
        text = self._take(link, text_size)
        try:
            return unpacked(text, self._take(link, size))
        except ValueError as error:
            raise InvalidInput(f"the process that read the import sent {error}") from error

    def _take(self, link: _Link, size: int) -> bytes:
        found = link.take(size, self._check)
        if found is None:
            raise Unavailable(_ended(link.status(), self._wanted.memory_bytes))
        return found


class _Link:
    """The connection to a reader, and to the one that watches over it."""

    def __init__(self, channel: socket.socket, report: int) -> None:
        self._channel = channel
        self._report = report
        self._received = bytearray()
        self._said: int | None = None
        self._closed = False

    def take(self, size: int, check: Callable[[], object]) -> bytes | None:
        """So many bytes, None where they will not come. Raises what ``check`` raises."""
        self._channel.settimeout(_LOOKS)
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
        """How the reader ended: its exit status, or minus the signal; None where nobody knows."""
        if self._said is None and _waited_for(self._report):
            said = os.read(self._report, 16)
            self._said = int(said) if said else None
        return self._said

    def close(self) -> None:
        """End the reader, and wait until it is gone."""
        if not self._closed:
            self._closed = True
            self._channel.close()
            _waited_for(self._report)
            os.close(self._report)


def _waited_for(report: int) -> bool:
    """Whether the watcher said something, or ended, before patience did."""
    # Not select(): it takes no descriptor beyond 1,023, and a busy service has more connections.
    poll = select.poll()
    poll.register(report, select.POLLIN)
    return bool(poll.poll(_LAST_WORDS * 1000))


def _hungry(most: int) -> str:
    return (
        f"reading the import needs more than {most:,} bytes of memory "
        "(REID_IMPORT_MEMORY_BYTES): split it into smaller ones"
    )


def _ended(status: int | None, most: int) -> str:
    how = "ended without a word" if status is None else f"ended with status {status}"
    if status is not None and status < 0:
        with suppress(ValueError):
            how = f"was ended by {signal.Signals(-status).name}"
    return (
        f"the process that read the import {how}: the file is damaged or hostile, or needs more "
        f"memory than there is (the limit is {most:,} bytes); nothing else was affected, and "
        "resuming the job tries again"
    )
