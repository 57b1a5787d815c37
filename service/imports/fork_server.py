"""The process that forks readers of imports: ``python -m service.imports.fork_server``.

It has one thread and holds no data, so forking it is fast and safe. Forking the service, with its
threads and galleries, would be neither. Each import gets two forks: a reader with limited memory,
and a watcher. When the service closes the connection, or is killed, the watcher ends the reader
immediately; it also reports how the reader ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from service.errors import ReidError
from service.imports.child import in_child
from service.imports.dying import die_with_parent
from service.imports.messages import (
    PARQUET,
    REQUEST_HEAD,
    Crashed,
    Done,
    Expect,
    Message,
    OutOfMemory,
    Refused,
    encode,
)
from service.imports.reader import ImportReader, ImportRequest

_BUFFER = 1 << 16
_LESS_URGENT = 5  # steps of priority below the service, but above its decoders
_MAPPED = 512 << 20  # address space for libraries that are loaded later
_FAILED = 3


def main() -> None:
    """Fork readers until the service ends."""
    # A terminal or supervisor signals this process too, but the service may still be finishing
    # imports. This process ends when the service closes the connection.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # watchers need not be waited for
    gc.freeze()  # garbage collection then copies no memory pages of a fork
    with socket.socket(fileno=os.dup(0)) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
            if not message:
                return
            if message == PARQUET:
                with suppress(ImportError):  # the reader reports this
                    importlib.import_module("pyarrow.parquet")
            _fork_watcher(control, descriptors)


def _fork_watcher(control: socket.socket, descriptors: list[int]) -> None:
    try:
        watcher = os.fork()
    except OSError as error:  # the service notices because its connection closes
        sys.stderr.write(f"an import cannot be read: {error}\n")
        watcher = -1
    if watcher == 0:
        control.close()
        _watch(*descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def _watch(connection: int, report: int) -> NoReturn:
    """Fork a reader, and report how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with suppress(BaseException):
        _release_standard_input()
        channel = socket.socket(fileno=connection)
        request = _received(channel)
        alive, held_by_reader = os.pipe()
        reader = os.fork()
        if reader == 0:
            os.close(report)
            os.close(alive)
            _read(channel, request)
        os.close(held_by_reader)
        poll = select.poll()
        for descriptor in (connection, alive):
            poll.register(descriptor, select.POLLIN)
        if connection in dict(poll.poll()):  # nothing follows a request, so it was closed
            os.kill(reader, signal.SIGKILL)
        _, status = os.waitpid(reader, 0)
        os.write(report, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _release_standard_input() -> None:
    """Close this copy of the service's connection, so that its end can be noticed."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def _received(channel: socket.socket) -> ImportRequest:
    with channel.makefile("rb") as stream:
        size = int.from_bytes(stream.read(REQUEST_HEAD))
        return ImportRequest(**json.loads(stream.read(size)))


def _read(channel: socket.socket, request: ImportRequest) -> NoReturn:
    status = _FAILED
    with suppress(BaseException):
        die_with_parent(_FAILED)
        _prefer_for_oom_kill()
        os.nice(_LESS_URGENT)
        limit_memory(request.memory_bytes)
        with os.fdopen(channel.detach(), "wb", _BUFFER) as stream:
            status = _send_all(request, stream)
    os._exit(status)


def _send_all(request: ImportRequest, stream: BinaryIO) -> int:
    def send(message: Message) -> None:
        stream.write(encode(message))

    def expect(total: int) -> None:
        send(Expect(total))
        stream.flush()

    last: Message
    try:
        reader = ImportReader(request, expect, in_child)
        for item in reader.items():
            send(item)
        last = Done(reader.result())
    except ReidError as error:
        last = Refused(error)
    except MemoryError:
        last = OutOfMemory()
    except Exception:  # noqa: BLE001 - the service logs it, and fails the job
        last = Crashed(traceback.format_exc())
    send(last)
    return 0


def limit_memory(size: int) -> bool:
    """Limit how much more memory this process may use.

    Args:
        size: bytes in addition to its current use.

    Returns:
        Whether the system supports such a limit.
    """
    try:
        import resource  # noqa: PLC0415 - not on every system

        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        used = {line.partition(":")[0]: line.split()[1] for line in lines if "kB" in line}
        for kind, name, more in (
            (resource.RLIMIT_DATA, "VmData", size),
            (resource.RLIMIT_AS, "VmSize", size + _MAPPED),
        ):
            _, hard = resource.getrlimit(kind)
            most = int(used[name]) * 1024 + more
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, KeyError, ValueError):
        return False
    return True


def _prefer_for_oom_kill() -> None:
    """Make the kernel kill this process before any other if memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


if __name__ == "__main__":
    main()
