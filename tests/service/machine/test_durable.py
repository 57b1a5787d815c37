"""Files and folders are replaced as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.machine.durable import UNFINISHED, move_durably, replaced_file, replaced_folder


@pytest.fixture
def synced(monkeypatch) -> list[Path]:
    """What was synced, in order."""
    paths: list[Path] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def test_a_replaced_file_and_its_folder_are_synced(tmp_path, synced):
    path = tmp_path / "current"
    with replaced_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert synced == [tmp_path / f"current{UNFINISHED}", tmp_path]


def test_a_failed_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "current"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replaced_file(path) as file:
        file.write(None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["current"]
    assert path.read_bytes() == b"old"


def test_a_file_that_need_not_be_durable_is_not_synced(tmp_path, synced):
    with replaced_file(tmp_path / "page", durable=False) as file:
        file.write(b"new")
    assert (tmp_path / "page").read_bytes() == b"new"
    assert synced == []


def test_a_replaced_folder_holds_only_new_entries(tmp_path):
    path = tmp_path / "models" / "one"
    path.mkdir(parents=True)
    (path / "old").touch()
    with replaced_folder(path) as fresh:
        (fresh / "new").touch()
        assert (path / "old").exists()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert [entry.name for entry in path.parent.iterdir()] == ["one"]


def test_a_failed_block_leaves_the_old_folder(tmp_path):
    path = tmp_path / "one"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(FileExistsError), replaced_folder(path) as fresh:
        fresh.mkdir()
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["one"]


def test_a_moved_folder_and_its_new_parent_are_synced(tmp_path, synced):
    source, target = tmp_path / "incoming", tmp_path / "jobs" / "1"
    source.mkdir()
    target.parent.mkdir()
    move_durably(source, target)
    assert target.is_dir()
    assert synced == [source, target.parent]
