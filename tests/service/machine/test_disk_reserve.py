"""Disk space is reserved, freed for operations that must not fail, and reserved again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.machine.disk_reserve import Reserve

SIZE = 1 << 20
BLOCK = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reserve"


def taken(path: Path) -> int:
    """Bytes that a file occupies on the disk."""
    return 512 * path.stat().st_blocks


def test_the_reserve_occupies_disk_space_and_is_private(path):
    assert Reserve(path, SIZE).keep()
    assert path.stat().st_size == SIZE
    assert taken(path) >= SIZE
    assert path.stat().st_mode & 0o077 == 0


def test_erasures_leave_the_last_quarter_for_revocations(path):
    reserve = Reserve(path, SIZE)
    reserve.keep()
    assert reserve.give("shared")
    assert path.stat().st_size == SIZE // 4
    assert not reserve.give("shared")
    assert reserve.give("whole")
    assert path.stat().st_size == 0
    assert not reserve.give("whole")
    assert not reserve.give("none")


def test_the_reserve_is_freed_in_steps_and_filled_again(path):
    reserve = Reserve(path, SIZE)
    reserve.keep()
    assert reserve.give("shared", BLOCK)
    assert path.stat().st_size == SIZE - BLOCK
    assert taken(path) < SIZE
    with reserve.given("whole") as given:
        assert given
        assert path.stat().st_size == 0
    assert path.stat().st_size == SIZE


def test_the_reserve_is_filled_after_another_process_used_it(path):
    first, second = Reserve(path, SIZE), Reserve(path, SIZE)
    first.keep()
    second.give("whole")
    assert first.keep()
    assert path.stat().st_size == SIZE


def test_a_missing_folder_needs_no_reserve(tmp_path):
    reserve = Reserve(tmp_path / "absent" / "reserve", SIZE)
    assert reserve.keep()
    assert not reserve.give("whole")


def test_a_small_disk_reserves_an_eighth(path, monkeypatch):
    disk = SimpleNamespace(f_blocks=100, f_frsize=BLOCK)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert Reserve(path, SIZE).keep()
    assert path.stat().st_size == 100 * BLOCK // 8


@pytest.mark.parametrize(("code", "whole"), [(errno.ENOSPC, False), (errno.EOPNOTSUPP, True)])
def test_a_full_disk_differs_from_one_that_cannot_reserve(path, monkeypatch, code, whole):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert Reserve(path, SIZE).keep() is whole
    assert path.stat().st_size == 0
