"""Room that is kept on the disk, given to what must not fail, and kept again."""

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
    """Bytes a file really takes on the disk."""
    return 512 * path.stat().st_blocks


def test_its_room_is_taken_and_only_its_user_may_look(path):
    assert Reserve(path, SIZE).keep()
    assert path.stat().st_size == SIZE
    assert taken(path) >= SIZE
    assert path.stat().st_mode & 0o077 == 0


def test_erasures_leave_the_last_quarter_to_revocations(path):
    reserve = Reserve(path, SIZE)
    reserve.keep()
    assert reserve.give("shared")
    assert path.stat().st_size == SIZE // 4
    assert not reserve.give("shared")
    assert reserve.give("whole")
    assert path.stat().st_size == 0
    assert not reserve.give("whole")
    assert not reserve.give("none")


def test_it_is_given_step_by_step_and_kept_again(path):
    reserve = Reserve(path, SIZE)
    reserve.keep()
    assert reserve.give("shared", BLOCK)
    assert path.stat().st_size == SIZE - BLOCK
    assert taken(path) < SIZE
    with reserve.given("whole") as given:
        assert given
        assert path.stat().st_size == 0
    assert path.stat().st_size == SIZE


def test_another_process_may_have_used_it(path):
    first, second = Reserve(path, SIZE), Reserve(path, SIZE)
    first.keep()
    second.give("whole")
    assert first.keep()
    assert path.stat().st_size == SIZE


def test_nothing_is_kept_in_a_folder_that_is_not_there(tmp_path):
    reserve = Reserve(tmp_path / "absent" / "reserve", SIZE)
    assert reserve.keep()
    assert not reserve.give("whole")


def test_a_small_disk_gives_an_eighth(path, monkeypatch):
    disk = SimpleNamespace(f_blocks=100, f_frsize=BLOCK)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    assert Reserve(path, SIZE).keep()
    assert path.stat().st_size == 100 * BLOCK // 8


@pytest.mark.parametrize(("code", "whole"), [(errno.ENOSPC, False), (errno.EOPNOTSUPP, True)])
def test_a_full_disk_is_told_from_one_that_keeps_no_room(path, monkeypatch, code, whole):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert Reserve(path, SIZE).keep() is whole
    assert path.stat().st_size == 0
