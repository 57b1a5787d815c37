"""Do dangerous work in a process of its own, whose crash spoils one file instead of the import.

A reader of an import has one thread, so it can fork. The child inherits its memory limit, and gets
a limit of processor time that each sign of progress renews.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Generator
from contextlib import suppress
from typing import BinaryIO, NoReturn

from service.errors import InvalidInput, ReidError, TooLarge, Unavailable
from service.imports.dying import die_with_parent
from service.imports.messages import (
    HEAD,
    Crashed,
    Done,
    Message,
    OutOfMemory,
    Refused,
    decode,
    encode,
)
from service.imports.videos import Work

_STALLED = 60  # seconds of processor time without progress
_FAILED = 3


def in_child(work: Work) -> Generator[Message, None, None]:
    """Do work in a child process, which ends with this generator.

    Args:
        work: what to do; its last message is :class:`Done`.

    Yields:
        Its messages.

    Raises:
        TooLarge: it needs too much memory.
        InvalidInput: it made no progress for too long.
        Unavailable: the child was killed, or cannot be started.
        ReidError: what the work raised.
    """
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise Unavailable(f"no process to decode the file can be started: {error}") from error
    if child == 0:
        os.close(reading)
        _work(work, writing)
    os.close(writing)
    message: Message | None = None
    try:
        with os.fdopen(reading, "rb") as stream:
            while not isinstance(message, Done):
                message = _next(stream)
                if message is None:
                    raise _failure(_ended(child))
                yield message
    finally:
        _end(child)


def _next(stream: BinaryIO) -> Message | None:
    """The next message; None at the end. Raises what ended the work."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    text_size, size = HEAD.unpack(head)
    text, content = stream.read(text_size), stream.read(size)
    if len(content) < size or len(text) < text_size:
        return None
    match decode(text, content):
        case Refused(error):
            raise error
        case OutOfMemory():
            raise TooLarge("decoding it needs more memory than allowed (REID_IMPORT_MEMORY_BYTES)")
        case Crashed(trace):
            sys.stderr.write(f"a file could not be decoded:\n{trace}\n")  # the service's log
            last = trace.strip().rpartition("\n")[2]
            raise InvalidInput(f"decoding failed in a way that was not foreseen: {last}")
        case message:
            return message


def _work(work: Work, writing: int) -> NoReturn:
    status = _FAILED
    with suppress(BaseException):
        die_with_parent(_FAILED)
        with os.fdopen(writing, "wb") as stream:
            _write_all(work, stream)
        status = 0
    os._exit(status)  # what the parent has buffered must not be written twice


def _write_all(work: Work, stream: BinaryIO) -> None:
    last: Message
    try:
        _allow_time()
        for message in work(_allow_time):
            stream.write(encode(message))
            stream.flush()  # a crash loses nothing that was decoded before
    except ReidError as error:
        last = Refused(error)
    except MemoryError:
        last = OutOfMemory()
    except Exception:  # noqa: BLE001 - the parent logs it, and fails the file
        last = Crashed(traceback.format_exc())
    else:
        return
    stream.write(encode(last))


def _allow_time() -> None:
    """Let this process use some more processor time before the system kills it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = int(used.ru_utime + used.ru_stime) + _STALLED
    resource.setrlimit(resource.RLIMIT_CPU, (most, hard))


def _ended(child: int) -> int:
    """The exit status of a child that is ending, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _end(child: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):  # it is gone
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _failure(status: int) -> ReidError:
    if status == -signal.SIGXCPU:
        return InvalidInput(f"decoding made no progress in {_STALLED} s of processor time")
    how = f"ended with status {status}"
    if status < 0:
        with suppress(ValueError):
            how = f"was killed by {signal.Signals(-status).name}"
    return Unavailable(
        f"the process that decoded it {how}: the file is damaged or malicious, or needs more "
        "memory than is available"
    )
