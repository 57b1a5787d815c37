"""Concurrent operations of the service, one step at a time."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the package ``pauses``

from pauses.pairs import Pair
from pauses.schedule import watched_locks
from pauses.world import World, running_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: Any, models: Path) -> Iterator[World]:
    shared = Path("/dev/shm")
    data = tmp_path_factory.mktemp("interplay")
    if shared.is_dir() and os.access(shared, os.W_OK):  # syncing costs nothing there
        data = shared / f"reid-interplay-{os.getpid()}"
        data.mkdir()
    patch = pytest.MonkeyPatch()
    try:
        with watched_locks(patch):
            with running_world(data, models) as opened:
                opened.begin()
            with running_world(data, models) as opened:
                yield opened
    finally:
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="module")
def pair(world: World) -> Iterator[Pair]:
    with closing(Pair(world)) as two:
        yield two
