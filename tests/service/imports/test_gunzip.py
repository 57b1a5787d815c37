"""Decompressing gzip: consecutive members, and limits for empty ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from service.imports.gunzip import gunzip


def content(folder: Path, packed: bytes) -> bytes:
    path = folder / "a.gz"
    path.write_bytes(packed)
    with gunzip(path) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, 16_383, 65_536, 3_000_000])
def test_members_form_one_stream(tmp_path, size):
    data = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    assert content(tmp_path, gzip.compress(data)) == data
    several = gzip.compress(data) + gzip.compress(b"") + gzip.compress(data, 1) + b"\0" * 1000
    assert content(tmp_path, several) == data * 2


@pytest.mark.parametrize("cut", [1, 5, 12, 500])
def test_a_truncated_or_damaged_file_is_an_error(tmp_path, cut):
    packed = gzip.compress(bytes(range(256)) * 100)
    with pytest.raises(EOFError):
        content(tmp_path, packed[: len(packed) - min(cut, len(packed) - 20)])
    with pytest.raises(gzip.BadGzipFile):
        content(tmp_path, packed[:-6] + b"wrong!")
    with pytest.raises(gzip.BadGzipFile):
        content(tmp_path, packed + b"what follows is no member")


def test_the_number_of_empty_members_is_limited(tmp_path):
    with pytest.raises(gzip.BadGzipFile, match="members contain only 0 bytes"):
        content(tmp_path, gzip.compress(b"") * 20_000)


def test_an_endless_name_costs_no_memory_and_no_step_per_byte(tmp_path):
    packed = bytearray(gzip.compress(b"content", mtime=0))
    packed[3] |= 8  # a file name follows, up to a zero byte
    named = bytes(packed[:10]) + b"n" * (8 << 20) + b"\0" + bytes(packed[10:])
    assert content(tmp_path, named) == b"content"
