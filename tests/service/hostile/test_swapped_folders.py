"""Folders that are replaced by links, and restored, while an import reads them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidInput
from service.imports import importer
from service.imports.folders import folder_files
from service.imports.items import ImportLimits
from service.imports.root_files import read_image
from service.imports.roots import roots_for
from service.testing import solid

INSIDE, OUTSIDE = solid((200, 20, 20), kind="PNG"), solid((20, 20, 200), kind="PNG")
SECRET = hashlib.sha256(OUTSIDE).hexdigest()
TRIES = 500
SWAP = """
import os, sys
inside, outside = sys.argv[1:]
while True:
    os.rename(inside, inside + ".aside")
    os.symlink(outside, inside)
    os.unlink(inside)
    os.rename(inside + ".aside", inside)
"""


@dataclass
class Swap:
    """Swaps a path for a link to its like outside, right before one opening of a job.

    Attributes:
        path: what is swapped.
        outside: where the link leads.
        at: before which opening, from 1.
        back: whether the next opening finds things as they were.
        seen: openings so far.
    """

    path: Path
    outside: Path
    at: int
    back: bool
    seen: int = 0
    swapped: bool = False
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def opening(self) -> None:
        with self.lock:
            self.seen += 1
            if self.over:
                return
            if self.seen == self.at:
                self.path.rename(aside(self.path))
                self.path.symlink_to(self.outside)
                self.swapped = True
            elif self.back:
                self._restore()

    def end(self) -> None:
        """Restore everything; the job may still be cleaning up."""
        with self.lock:
            self.over = True
            self._restore()

    def _restore(self) -> None:
        if self.swapped:
            self.path.unlink()
            aside(self.path).rename(self.path)
            self.swapped = False


def aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.aside")


class _Hook:
    """Observe every file that a job's thread opens; hooks cannot be removed, so there is one."""

    def __init__(self) -> None:
        self.swap: Swap | None = None
        self.busy = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, _: tuple[Any, ...]) -> None:
        if self.swap is None or self.busy or event not in {"open", "os.scandir", "os.listdir"}:
            return
        if threading.current_thread().name.startswith("job-"):
            self.busy = True
            try:
                self.swap.opening()
            finally:
                self.busy = False


@pytest.fixture(scope="module")
def _ear() -> _Hook:
    return _Hook()


@pytest.fixture
def hook(_ear: _Hook, monkeypatch: pytest.MonkeyPatch) -> _Hook:
    """Observe the files that jobs open; they read in this process, because only that is visible."""
    monkeypatch.setattr(importer, "can_fork_readers", lambda: False, raising=False)
    return _ear


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """An import root, and a folder outside with the same names and other pictures."""
    for name, picture in (("root", INSIDE), ("outside", OUTSIDE)):
        folder = tmp_path / name / "people" / "gate"
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(picture)
        (folder / "2.png").write_bytes(picture)
        rows = json.dumps({"path": "gate/1.png", "identity": name}) + "\n"
        (tmp_path / name / "people" / "list.ndjson").write_text(rows)
    return tmp_path / "root", tmp_path / "outside"


def stored(service: Any) -> list[dict[str, Any]]:
    crops: list[dict[str, Any]] = service.http.get("/galleries/default/crops").json()["crops"]
    return crops


def every_opening(
    hook: _Hook, swap: Callable[[int], Swap], ask: Callable[[], Any]
) -> Iterator[Swap]:
    """Repeat the import, each time with the swap before a later file is opened."""
    for at in range(1, 200):
        tried = hook.swap = swap(at)
        try:
            ask()
        finally:
            hook.swap = None
            tried.end()
        yield tried
        if at > tried.seen:
            return
    raise AssertionError("the job opens more and more")


@pytest.mark.parametrize("back", [False, True], ids=["swapped", "swapped back"])
@pytest.mark.parametrize("name", ["people", "people/gate"])
def test_a_folder_swapped_at_any_moment_is_not_read_outside(start, trees, hook, name, back):
    root, outside = trees
    with start(import_roots=[root]) as service:

        def ask() -> None:
            service.http.post("/galleries/default/crops/delete", json={"all": True})
            body = {"folder": "people", "pattern": "gate"}
            service.ended(service.http.post("/galleries/default/imports", json=body))

        looked = 0
        for _ in every_opening(hook, lambda at: Swap(root / name, outside / name, at, back), ask):
            looked += 1
            assert SECRET not in {crop["digest"] for crop in stored(service)}
        assert looked > 3  # otherwise the hook observed nothing
        ask()
        assert len(stored(service)) == 2


@pytest.mark.parametrize("name", ["people", "people/list.ndjson"])
def test_a_manifest_swapped_at_any_moment_is_not_read_outside(start, trees, hook, name):
    root, outside = trees
    with start(import_roots=[root]) as service:

        def ask() -> None:
            service.http.post("/galleries/default/crops/delete", json={"all": True})
            body = {"folder": "people", "manifest": "list.ndjson"}
            service.ended(service.http.post("/galleries/default/imports", json=body))

        for _ in every_opening(hook, lambda at: Swap(root / name, outside / name, at, True), ask):
            assert "outside" not in {crop["identity"] for crop in stored(service)}
            assert SECRET not in {crop["digest"] for crop in stored(service)}
        ask()
        assert [crop["identity"] for crop in stored(service)] == ["root"]


def test_a_process_that_keeps_swapping_reveals_nothing_outside(trees):
    root, outside = trees
    name = "people/gate"
    swapping = subprocess.Popen(
        [sys.executable, "-c", SWAP, str(root / name), str(outside / name)],
        stdin=subprocess.DEVNULL,
    )
    found: dict[str, int] = {}
    limits = ImportLimits(1 << 20, 1 << 20)
    try:
        with roots_for([root], "default", bound=False) as roots:
            for _ in range(TRIES):
                try:
                    for path in folder_files(root / "people", roots, limits):
                        data = read_image(path, roots, limits) if isinstance(path, Path) else b""
                        digest = hashlib.sha256(data).hexdigest()
                        found[digest] = found.get(digest, 0) + 1
                except InvalidInput:
                    continue
    finally:
        swapping.kill()
        swapping.wait()
    assert SECRET not in found


def test_endless_folders_are_counted(tmp_path):
    folder = tmp_path / "root"
    for number in range(20):
        (folder / f"empty-{number}").mkdir(parents=True)
    with roots_for([folder], "default", bound=False) as roots:
        assert folder_files(folder, roots, ImportLimits(1, 1, items=20)) == []
        with pytest.raises(Exception, match="more than 19 items"):
            folder_files(folder, roots, ImportLimits(1, 1, items=19))
