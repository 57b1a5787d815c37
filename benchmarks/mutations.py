"""Break the training code on purpose, one fault at a time, and see which tests notice.

A suite that stays green when the loss's sign is flipped protects nothing. This script copies the
package and its tests to a temporary folder, applies one mutation of ``mutations.toml`` after the
other, runs the quick tests of the file that it breaks, and prints which of them fail. A mutation
that no test notices has survived.

::

    python benchmarks/mutations.py
    python benchmarks/mutations.py --only sampler

Prints a Markdown table, and one JSON object as its last line. Exit status 1 if a mutation survived.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MUTATIONS = Path(__file__).with_suffix(".toml")
COPIED = ("training", "tests/training")
FILES = (
    "pyproject.toml",
    *(f"tests/{name}.py" for name in ("conftest", "gate", "tiny_run", "waiting")),
)
# Imported once: a forked process has what takes long, and nothing of what is broken.
# FAISS before infomap, whose iterators crash if it was imported first: SWIG made both packages.
SLOW = (
    "torchvision", "sklearn.cluster", "torch.utils.tensorboard", "faiss", "infomap",
    "service.testing",
)  # fmt: skip
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault.

    Attributes:
        name: what it does, for the table.
        file: path from the project's root.
        old: text that occurs exactly once in the file.
        new: what replaces it.
        tests: the quick test files that should notice, from ``tests/training``.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def mutate(self, root: Path) -> str:
        """Compute the broken file.

        Args:
            root: the project's root.

        Returns:
            Its text.

        Raises:
            SystemExit: the old text does not occur exactly once, or the new one is no Python.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            sys.exit(
                f"{self.name}: the old text occurs {text.count(self.old)} times in {self.file}"
            )
        broken = text.replace(self.old, self.new)
        compile(broken, self.file, "exec")
        return broken


def main() -> None:
    arguments = parse()
    for name in SLOW:
        importlib.import_module(name)
    mutations = [m for m in read_mutations(arguments.mutations) if arguments.only in m.name]
    print("| mutation | file | noticed by |\n| --- | --- | --- |")
    noticed: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        copy = copy_project(Path(temporary))
        check_unbroken(copy, mutations)
        for mutation in mutations:
            with applied(mutation, copy):
                noticed[mutation.name] = failing_files(copy, mutation.tests)
            found = ", ".join(Path(file).stem for file in noticed[mutation.name])
            print(f"| {mutation.name} | `{mutation.file}` | {found or '**nothing**'} |", flush=True)
    survived = [name for name, files in noticed.items() if not files]
    score = (len(noticed) - len(survived)) / max(len(noticed), 1)
    print(json.dumps({"mutations": len(noticed), "score": score, "survived": survived}))
    sys.exit(bool(survived))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mutations", type=Path, default=MUTATIONS, help="TOML file")
    parser.add_argument("--only", default="", help="part of the names of the mutations to try")
    return parser.parse_args()


def read_mutations(file: Path = MUTATIONS) -> list[Mutation]:
    """Read all mutations, each with the tests of its file."""
    tree = tomllib.loads(file.read_text(encoding="utf-8"))
    return [Mutation(**each, tests=tests_of(each["file"], tree)) for each in tree["mutation"]]


def tests_of(file: str, tree: Mapping[str, Mapping[str, Sequence[str]]]) -> tuple[str, ...]:
    """The tests of the longest path that is the file or contains it."""
    fitting = [path for path in tree["tests"] if file == path or file.startswith(f"{path}/")]
    return tuple(tree["tests"][max(fitting, key=len)])


def copy_project(folder: Path) -> Path:
    """Copy what is broken and what runs its tests; the service is imported from where it is."""
    for name in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


@contextmanager
def applied(mutation: Mutation, copy: Path) -> Iterator[None]:
    """Break a file of the copy for a while."""
    whole = (copy / mutation.file).read_text(encoding="utf-8")
    write(copy / mutation.file, mutation.mutate(copy))
    try:
        yield
    finally:
        write(copy / mutation.file, whole)


def write(module: Path, text: str) -> None:
    """Write a module and drop its bytecode, which Python compares by size and second only."""
    module.write_text(text, encoding="utf-8")
    for compiled in (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"):
        compiled.unlink()


def check_unbroken(copy: Path, mutations: Sequence[Mutation]) -> None:
    """End if tests fail before anything is broken."""
    tests = sorted({file for mutation in mutations for file in mutation.tests})
    if failed := failing_files(copy, tests):
        sys.exit(f"these fail although nothing is broken: {', '.join(failed)}")


def failing_files(copy: Path, tests: Sequence[str]) -> list[str]:
    """Run tests of the copy in a process of their own; the files of those that fail.

    If a test file cannot be imported, or the process dies, no test has noticed anything: that is
    an error of the mutation and ends the program.
    """
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=run_tests, args=(copy, tests, sender))
    process.start()
    sender.close()
    try:
        status, failed = receiver.recv()
    except EOFError:
        sys.exit("the process of the tests died")
    process.join()
    if status != bool(failed):
        sys.exit(f"pytest ended with status {status}; run the tests of {copy} by hand")
    return list(failed)


def run_tests(copy: Path, tests: Sequence[str], sender: Connection) -> None:
    """Run tests quietly; what is found is sent as pytest's status and the files that fail."""
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    note = Note()
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        files = [f"tests/training/{file}" for file in tests]
        status = pytest.main(["-p", "no:cacheprovider", *files], plugins=[note])
        import training  # noqa: PLC0415 - only here is it the copy's

    if Path(training.__file__ or "").parent != copy / "training":
        status = -1
    sender.send((int(status), sorted(note.failed)))


class Note:
    """A plugin of pytest that notes which test files fail."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure; pytest calls this for each test's setup, run and end."""
        if report.failed:
            self.failed.add(report.nodeid.partition("::")[0].removeprefix("tests/training/"))


if __name__ == "__main__":
    main()
