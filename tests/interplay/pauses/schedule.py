"""Pauses an operation at a lock or await, and notices when the other one has to wait.

Every lock of the service and every await of a request is a *place*. One operation runs until it
reaches a chosen place and pauses there; the other one runs until it ends or waits for a lock that
the first one holds; then the first one continues. Nothing sleeps: each of these moments is an
event.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any

STUCK_SECONDS = 120.0
"""Nothing here takes a second; what takes this long waits for ever."""

SHARED_THREADS = ("audit", "network")

operation: ContextVar[str] = ContextVar("operation", default="")
"""Which operation the work at hand belongs to: ``first``, ``second`` or none."""

_real = {name: getattr(threading, name) for name in ("Lock", "RLock", "Semaphore")}


@dataclass
class Schedule:
    """One run of two operations.

    Attributes:
        pause_at: the place where the first operation pauses, and at which visit, counted from 1;
            None for no pause.
        places: the places that the first operation has passed so far.
        reached: set once it has paused or ended.
        waits: set once the second operation has to wait for the first one.
    """

    pause_at: tuple[str, int] | None = None
    places: list[str] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    waits: threading.Event = field(default_factory=threading.Event)
    _resumed: threading.Event = field(default_factory=threading.Event)
    _wake: Callable[[], object] | None = None
    _counting: Any = field(default_factory=_real["Lock"])

    def is_next(self, place: str) -> bool:
        """Count a place; return whether the current operation must pause here."""
        if operation.get() != "first":
            return False
        with self._counting:
            self.places.append(place)
            return (place, self.places.count(place)) == self.pause_at

    def stand_still(self) -> None:
        """Pause the current thread until :meth:`resume`."""
        self.reached.set()
        assert self._resumed.wait(STUCK_SECONDS), "never resumed"

    async def stand_still_in_loop(self) -> None:
        """Pause the current task until :meth:`resume`, without blocking the loop."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        self._wake = lambda: loop.call_soon_threadsafe(woken.set_result, None)
        self.reached.set()
        await woken

    def resume(self) -> None:
        """Let the first operation continue."""
        self._resumed.set()
        if self._wake is not None:
            self._wake()

    def note_wait(self, holder: str) -> None:
        """Note that the current operation waits for what ``holder`` holds."""
        if operation.get() == "second" and holder != "second":
            self.waits.set()

    def note_queued(self, role: str) -> None:
        """Note that a job of ``role`` waits for the other client's job."""
        if role == "second":
            self.waits.set()


class Now:
    """The schedule in force; the instrumented locks look it up."""

    schedule = Schedule()


class WatchedLock:
    """A lock of the service: a place before it is taken, and one while it is held.

    Args:
        lock: does the work.
        name: where it was made.
    """

    def __init__(self, lock: Any, name: str) -> None:
        self._lock = lock
        self._name = name
        self._holder = ""
        self._depth = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)  # what a Condition needs of its lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        nested = getattr(self._lock, "_is_owned", lambda: False)()
        if not nested:
            _pass(f"before {self._name}")
        taken = self._lock.acquire(blocking=False)
        if not taken and blocking:
            Now.schedule.note_wait(self._holder)
            taken = self._lock.acquire(True, timeout)
        if taken:
            self._holder = operation.get()
            if not nested:
                _pass(f"inside {self._name}")
        return taken

    __enter__ = acquire

    def release(self) -> None:
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.release()


def _pass(place: str) -> None:
    """A place in a thread, unless the thread serves both operations and must not pause."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        shared = threading.current_thread().name.startswith(SHARED_THREADS)
        if not shared and Now.schedule.is_next(place):
            Now.schedule.stand_still()


class Stepped:
    """A coroutine with a place after each await that actually waited."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        self._coroutine = coroutine
        self._name = name

    def __await__(self) -> Generator[Any, Any, Any]:
        step, value = self._coroutine.send, None
        while True:
            try:
                waiting = step(value)
            except StopIteration as end:
                return end.value
            place = f"await in {_service_line(self._coroutine) or self._name}"
            try:
                value, step = (yield waiting), self._coroutine.send
            except BaseException as error:  # noqa: BLE001 - handed to the coroutine, as await does
                value, step = error, self._coroutine.throw
                continue
            if Now.schedule.is_next(place):
                yield from Now.schedule.stand_still_in_loop().__await__()


def _service_line(coroutine: Any) -> str:
    """The innermost line of the service at which a coroutine waits."""
    line = ""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and (name := frame.f_globals["__name__"]).startswith("service."):
            line = f"{name}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None)
    return line


def stepped(call: Callable[..., Coroutine[Any, Any, Any]], name: str) -> Callable[..., Awaitable]:
    """A coroutine function whose awaits are places."""

    async def run(*args: Any, **kwargs: Any) -> Any:
        return await Stepped(call(*args, **kwargs), name)

    return run


def _maker(kind: str) -> Callable[..., Any]:
    def make(*args: Any) -> Any:
        lock = _real[kind](*args)
        caller = sys._getframe(1)
        module = caller.f_globals.get("__name__", "")
        if not module.startswith("service."):
            return lock
        return WatchedLock(lock, f"{kind} of {module}:{caller.f_lineno}")

    return make


@contextmanager
def watched_locks(monkeypatch: Any) -> Generator[None, None, None]:
    """Watch every lock that the service creates meanwhile, and tell threads their operation."""
    with monkeypatch.context() as patch:
        for kind in _real:
            patch.setattr(threading, kind, _maker(kind))
        submit = ThreadPoolExecutor.submit

        def submit_with_context(self: Any, call: Any, /, *args: Any, **kwargs: Any) -> Any:
            return submit(self, copy_context().run, call, *args, **kwargs)

        patch.setattr(ThreadPoolExecutor, "submit", submit_with_context)
        yield
