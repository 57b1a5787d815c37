"""What an upload is: as its sender calls it, and as its first bytes show."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import BinaryIO, Literal

from service.errors import InvalidInput, TooLarge
from service.imports.gunzip import HARMLESS, RATIO, gunzip
from service.machine.durable import disk_errors, replaced_file

ImportFormat = Literal["tar", "tar.gz", "zip", "ndjson", "csv", "parquet"]
"""What can be uploaded; a job's spec names it, or ``folder``, as its ``source``."""

CONTENT_TYPES: dict[str, ImportFormat] = {
    "application/x-tar": "tar",
    "application/gzip": "tar.gz",
    "application/zip": "zip",
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
}
"""The names of documents and answers; what else senders say is in :func:`declared_kind`."""

OCTETS = "application/octet-stream"
"""Told by content."""

_NAMELESS = frozenset(
    {
        *("", OCTETS, "application/x-octet-stream", "binary/octet-stream"),
        *("application/download", "application/x-download", "application/force-download"),
    }
)

_ALSO: dict[str, ImportFormat] = {
    "application/tar": "tar",
    "application/x-gtar": "tar",
    "application/x-ustar": "tar",
    "application/x-gzip": "tar.gz",
    "application/x-gunzip": "tar.gz",
    "application/tgz": "tar.gz",
    "application/x-tgz": "tar.gz",
    "application/x-tar-gz": "tar.gz",
    "application/x-compressed-tar": "tar.gz",
    "application/x-gtar-compressed": "tar.gz",
    "application/tar+gzip": "tar.gz",
    "application/x-zip": "zip",
    "application/x-zip-compressed": "zip",
    "application/x-zip-archive": "zip",
    "application/zip-compressed": "zip",
    "multipart/x-zip": "zip",
    "application/ndjson": "ndjson",
    "text/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonl": "ndjson",
    "text/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
    "application/jsonlines": "ndjson",
    "application/csv": "csv",
    "application/x-csv": "csv",
    "application/vnd.ms-excel": "csv",  # of Windows, where Excel is installed
    "text/x-csv": "csv",
    "text/comma-separated-values": "csv",
    "application/parquet": "parquet",
    "application/x-parquet": "parquet",
}
_ARCHIVES = frozenset({"tar", "tar.gz", "zip"})
_STARTS = {b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"\x1f\x8b": "gzip", b"PAR1": "parquet"}
_UNREAD = {
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"PK\x07\x08": "one part of a split zip archive",
}
_BLOCK = 512
_CHUNK = 1 << 20


def declared_kind(content_type: str) -> ImportFormat | None:
    """What a sender says is coming.

    Args:
        content_type: without parameters, in lower case; empty where the sender says nothing.

    Returns:
        What it is; None where its content has to tell.

    Raises:
        InvalidInput: a type that is not read; the message says what is.
    """
    if content_type in _NAMELESS:
        return None
    found = CONTENT_TYPES.get(content_type) or _ALSO.get(content_type)
    if found is None:
        curl = "curl says so unless it is told: " if "form-urlencoded" in content_type else ""
        raise InvalidInput(
            f"Content-Type {content_type[:80]!r} is not read: {curl}{_what_to_send()}"
        )
    return found


def is_gzip(content_encoding: str) -> bool:
    """Whether a body is compressed on its way. Raises InvalidInput: by something else than gzip."""
    coding = content_encoding.strip().lower()
    if coding in {"", "identity"}:
        return False
    if coding in {"gzip", "x-gzip"}:
        return True
    raise InvalidInput(f"Content-Encoding {coding[:40]!r} is not read: send gzip, or leave it out")


def settle(path: Path, declared: ImportFormat | None, most: int, *, encoded: bool) -> ImportFormat:
    """Find out what was received; archives are told by content, whatever they are called.

    Args:
        path: the file; it is unpacked in place where only its way was compressed.
        declared: what its sender says it is, None where its content has to tell.
        most: bytes it may unpack to.
        encoded: whether it was sent with ``Content-Encoding: gzip``.

    Returns:
        What it is.

    Raises:
        InvalidInput: it is nothing that can be read.
        TooLarge: it unpacks to more.
    """
    content = _told(_start(path))
    if encoded and content == "gzip":
        if declared in {"tar", "tar.gz", None} and _told(_start_inside(path)) == "tar":
            return "tar.gz"
        _unpack(path, most)
        content = _told(_start(path))
    if declared is not None and declared not in _ARCHIVES:
        return declared
    match content:
        case "tar" | "zip":
            return "tar" if content == "tar" else "zip"
        case "gzip":
            return "tar.gz"
        case "parquet" if declared is None:
            return "parquet"
    if declared is None:
        raise InvalidInput(f"the content does not tell what it is: {_what_to_send()}")
    return declared


def _told(start: bytes) -> str | None:
    """What the first bytes show. Raises InvalidInput: something that is not read."""
    if _is_tar(start):  # first: a tar begins with a name, which may be anything
        return "tar"
    for magic, name in _UNREAD.items():
        if start.startswith(magic):
            raise InvalidInput(f"the file is {name}: only zip, tar and tar.gz are read")
    return next((kind for magic, kind in _STARTS.items() if start.startswith(magic)), None)


def _is_tar(start: bytes) -> bool:
    if len(start) < _BLOCK:
        return False
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return not any(start)  # an empty archive
    return True


def _start(path: Path) -> bytes:
    with disk_errors(path), path.open("rb") as file:
        return file.read(_BLOCK)


def _start_inside(path: Path) -> bytes:
    try:
        with gunzip(path) as file:
            return file.read(_BLOCK)
    except (OSError, EOFError):
        return b""


def _unpack(path: Path, most: int) -> None:
    most = min(most, max(HARMLESS, RATIO * path.stat().st_size))
    with disk_errors(path), gunzip(path) as packed, replaced_file(path) as file:
        size = 0
        while chunk := _chunk(packed):
            size += len(chunk)
            if size > most:
                raise TooLarge(f"the body unpacks to more than {most:,} bytes")
            file.write(chunk)


def _chunk(packed: BinaryIO) -> bytes:
    try:
        return packed.read(_CHUNK)
    except (gzip.BadGzipFile, EOFError) as error:
        raise InvalidInput(f"the body is not whole gzip: {error}") from error


def _what_to_send() -> str:
    return f"send {', '.join(CONTENT_TYPES)}, or application/json for a folder of the server"
