"""A program under LD_PRELOAD of file_faults.so: injects a fault at each write of one change.

For every boundary it copies a data folder and forks. The child opens the copy, arms the layer,
makes the change, reports the answer, and checks that it can continue. The parent then opens what is
left. Acknowledged means present; unacknowledged means complete or absent; the folder always opens.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash.operations import OPERATIONS, Operation, Seen, observe, prepare

from service.errors import ReidError
from service.gallery.disk.store import DiskGalleryStore

# As numbered in file_faults.c.
KINDS = {
    "kill": 1,
    "torn": 2,
    "power": 3,
    "short": 4,
    "io-error": 5,
    "no-space": 6,
    "read-only": 7,
}
DEADLY = frozenset({"kill", "torn", "power"})

Tell = Callable[[str], None]


class FileFaults:
    """The preloaded layer."""

    def __init__(self) -> None:
        self._layer = ctypes.CDLL(None)
        self._layer.file_faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]
        self._layer.file_faults_disarm.restype = ctypes.c_long

    def arm(self, folder: Path, kind: str | None, boundary: int) -> None:
        """Count writes below a folder from now on, and strike the given one."""
        number = KINDS[kind] if kind else 0
        self._layer.file_faults_arm(os.fsencode(folder), number, boundary)

    def disarm(self) -> int:
        """Stop striking, and return the number of writes."""
        return int(self._layer.file_faults_disarm())

    def end(self) -> None:
        """End this process the way the armed kind of fault does."""
        self._layer.file_faults_end()


@dataclass(frozen=True)
class Strike:
    """One fault at one write of an operation, with the contents before and after the operation."""

    operation: Operation
    kind: str
    boundary: int
    before: Seen
    after: Seen

    def judge(self, found: Seen, answer: str) -> str:
        """The problem with what was found; an empty string if there is none."""
        if found == self.after and answer != "refused":
            return ""
        if found == self.before and answer != "acknowledged":
            return ""
        if found == self.after and self.operation.unconfirmed:
            return ""
        states = {"nothing": self.before, "everything": self.after}
        made = next((name for name, state in states.items() if state == found), "half")
        return f"{answer}, but {made} of it was done: {_short(found)}"


@dataclass
class StrikeReport:
    """The outcome of all strikes.

    Attributes:
        boundaries: writes per operation.
        struck: strikes per kind of fault.
        acknowledged: operations acknowledged before or despite the fault.
        refused: operations that were refused and then repeated by the same process.
        problems: every problem, in words.
    """

    boundaries: dict[str, int] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    acknowledged: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)


class Striker:
    """Strikes operations below one working folder.

    Args:
        folder: an empty folder.
        stride: strike only every n-th boundary.
        offset: the first boundary to strike, from 0.
        kinds: kinds of faults.
    """

    def __init__(self, folder: Path, stride: int, offset: int, kinds: Sequence[str]) -> None:
        self._faults = FileFaults()
        self._template = folder / "template"
        self._copy = folder / "copy"
        self._stride, self._offset = stride, offset % stride
        self._kinds = kinds
        self.report = StrikeReport()
        prepare(self._template)

    def strike(self, operation: Operation) -> None:
        """Inject every kind of fault at every boundary of the operation, and after the last one."""
        before, _ = self._undisturbed(lambda _: None)
        after, total = self._undisturbed(operation.act)
        self.report.boundaries[operation.name] = total
        for kind in self._kinds:
            for boundary in (*range(1 + self._offset, total + 1, self._stride), total + 1):
                strike = Strike(operation, kind, boundary, before, after)
                where = f"{operation.name}, {kind} at {boundary} of {total}"
                self.report.problems += [f"{where}: {wrong}" for wrong in self._strike(strike)]
                self.report.struck[kind] += 1

    def _undisturbed(self, act: Callable[[DiskGalleryStore], object]) -> tuple[Seen, int]:
        with closing(self._open_copy()) as store:
            self._faults.arm(self._copy, None, 0)
            act(store)
            total = self._faults.disarm()
        return self._reopen(), total

    def _strike(self, strike: Strike) -> Iterator[str]:
        told = _in_a_fork(lambda tell: self._attempt(strike, tell))
        answer, wrong = told[0] if told else "killed", told[1:]
        self.report.acknowledged += answer == "acknowledged"
        self.report.refused += answer == "refused"
        yield from wrong
        try:
            found = self._reopen()
        except (ReidError, AssertionError, OSError) as error:
            yield f"{answer}, but the folder does not open again: {error!r}"
            return
        # A refused process has tried again since then, unless that is among the problems.
        answer = "acknowledged" if answer == "refused" else answer
        if not wrong and (problem := strike.judge(found, answer)):
            yield f"opened again: {problem}"

    def _attempt(self, strike: Strike, tell: Tell) -> None:
        """Make the change in the child; a deadly fault ends it on the way, or after its report."""
        store = self._open_copy()
        self._faults.arm(self._copy, strike.kind, strike.boundary)
        try:
            strike.operation.act(store)
            answer = "acknowledged"
        except ReidError:
            answer = "refused"
        tell(answer)
        if strike.kind in DEADLY:
            self._faults.end()
        self._faults.disarm()
        if problem := strike.judge(observe(store), answer):
            tell(f"at once: {problem}")
        if answer == "refused":  # the disk works again, so the store must work too
            strike.operation.act(store)
            if problem := strike.judge(observe(store), "acknowledged"):
                tell(f"tried again: {problem}")

    def _open_copy(self) -> DiskGalleryStore:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._template, self._copy, ignore=shutil.ignore_patterns("reserve"))
        return DiskGalleryStore(self._copy, device="cpu")

    def _reopen(self) -> Seen:
        with closing(DiskGalleryStore(self._copy, device="cpu")) as store:
            return observe(store)


def _in_a_fork(work: Callable[[Tell], None]) -> list[str]:
    """The reports of a child, which may have been killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            work(lambda text: _send(writer, text))
        except BaseException:  # noqa: BLE001 - the parent must learn of any failure
            _send(writer, traceback.format_exc(limit=-4))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = [json.loads(line) for line in pipe]
    os.waitpid(child, 0)
    return told


def _send(pipe: int, text: str) -> None:
    os.write(pipe, json.dumps(text).encode() + b"\n")


def _short(seen: Seen) -> str:
    return str(
        {
            name: {key: len(part) if isinstance(part, dict) else part for key, part in one.items()}
            for name, one in seen.items()
            if isinstance(one, dict)
        }
    )


def main() -> int:
    """Strike the named operations; the last printed line is the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--operations", nargs="*", default=[one.name for one in OPERATIONS])
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    striker = Striker(arguments.folder, arguments.stride, arguments.offset, kinds=arguments.kinds)
    for operation in OPERATIONS:
        if operation.name in arguments.operations:
            striker.strike(operation)
            print(f"{operation.name}: {striker.report.boundaries[operation.name]} writes")
    print(json.dumps(vars(striker.report)))
    return 1 if striker.report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
