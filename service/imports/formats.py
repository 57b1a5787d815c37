"""Determine the format of an uploaded import: from its Content-Type and its first bytes."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import BinaryIO, Literal

from service.errors import InvalidInput, TooLarge
from service.imports.gunzip import HARMLESS, RATIO, gunzip
from service.machine.durable import disk_errors, replaced_file

ImportFormat = Literal["tar", "tar.gz", "zip", "ndjson", "csv", "parquet", "video"]
"""Formats of uploaded imports. The ``source`` in a job's spec is one of these, or ``folder``."""

CONTENT_TYPES: dict[str, ImportFormat] = {
    "application/x-tar": "tar",
    "application/gzip": "tar.gz",
    "application/zip": "zip",
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "video/mp4": "video",
    "video/quicktime": "video",
    "video/x-matroska": "video",
    "video/webm": "video",
    "video/x-msvideo": "video",
    "video/mp2t": "video",
}
"""The documented types; :func:`declared_format` also accepts other spellings."""

OCTETS = "application/octet-stream"
"""Stands for an unknown format, which is detected from the content."""

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
    "application/vnd.ms-excel": "csv",  # sent by Windows if Excel is installed
    "text/x-csv": "csv",
    "text/comma-separated-values": "csv",
    "application/parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/mp4": "video",
    "video/3gpp": "video",
    "video/avi": "video",
    "video/matroska": "video",
    "video/mpeg": "video",
    "video/msvideo": "video",
    "video/vnd.avi": "video",
    "video/vnd.dlna.mpeg-tts": "video",
    "video/x-flv": "video",
    "video/x-m4v": "video",
    "video/x-ms-asf": "video",
    "video/x-ms-wmv": "video",
}
_Content = Literal["tar", "zip", "gzip", "parquet", "video"]
_ARCHIVES = frozenset({"tar", "tar.gz", "zip"})
_STARTS: dict[bytes, _Content] = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"PAR1": "parquet",
    b"\x1a\x45\xdf\xa3": "video",  # Matroska, WebM
    b"\x00\x00\x01\xba": "video",  # MPEG
    b"FLV\x01": "video",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "video",  # ASF, WMV
}
_UNREAD = {
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"PK\x07\x08": "part of a split zip archive",
}
_BLOCK = 512
_TS_PACKET, _TS_SYNC = 188, 0x47
_CHUNK = 1 << 20


def declared_format(content_type: str) -> ImportFormat | None:
    """Read the format from a Content-Type.

    Args:
        content_type: without parameters, in lower case; empty if missing.

    Returns:
        The format; None if it has to be detected from the content.

    Raises:
        InvalidInput: the type is not supported; the message lists those that are.
    """
    if content_type in _NAMELESS:
        return None
    found = CONTENT_TYPES.get(content_type) or _ALSO.get(content_type)
    if found is None:
        curl = "this is curl's default; " if "form-urlencoded" in content_type else ""
        raise InvalidInput(
            f"Content-Type {content_type[:80]!r} is not supported: {curl}{_what_to_send()}"
        )
    return found


def is_gzip(content_encoding: str) -> bool:
    """Whether a body has Content-Encoding gzip. Raises InvalidInput: another encoding."""
    coding = content_encoding.strip().lower()
    if coding in {"", "identity"}:
        return False
    if coding in {"gzip", "x-gzip"}:
        return True
    raise InvalidInput(
        f"Content-Encoding {coding[:40]!r} is not supported: send gzip, or leave it out"
    )


def detect_format(
    path: Path, declared: ImportFormat | None, most: int, *, encoded: bool
) -> ImportFormat:
    """Determine the format of an upload; archives and videos are detected from the content.

    Args:
        path: the file; it is unpacked in place if it was compressed only for the transfer.
        declared: the format from the Content-Type; None if it has to be detected.
        most: most bytes it may unpack to.
        encoded: whether it was sent with ``Content-Encoding: gzip``.

    Returns:
        The format.

    Raises:
        InvalidInput: the format is unknown or not supported.
        TooLarge: it unpacks to too many bytes.
    """
    content = _detected(_start(path))
    if encoded and content == "gzip":
        if declared in {"tar", "tar.gz", None} and _detected(_start_inside(path)) == "tar":
            return "tar.gz"
        _unpack(path, most)
        content = _detected(_start(path))
    if declared is not None and declared not in _ARCHIVES:
        return declared
    match content:
        case "tar" | "zip" | "video":
            return content
        case "gzip":
            return "tar.gz"
        case "parquet" if declared is None:
            return "parquet"
    if declared is None:
        raise InvalidInput(f"unknown format, and no Content-Type that names it: {_what_to_send()}")
    return declared


def _detected(start: bytes) -> _Content | None:
    """The format that the first bytes show. Raises InvalidInput: it is not supported."""
    if _is_tar(start):  # first, because a tar begins with a file name, which may be anything
        return "tar"
    if _is_video(start):
        return "video"
    for magic, name in _UNREAD.items():
        if start.startswith(magic):
            raise InvalidInput(f"the file is {name}: only zip, tar and tar.gz are supported")
    return next((kind for magic, kind in _STARTS.items() if start.startswith(magic)), None)


def _is_tar(start: bytes) -> bool:
    if len(start) < _BLOCK:
        return False
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return not any(start)  # an empty archive
    return True


def _is_video(start: bytes) -> bool:
    """Whether this is MP4 or its relatives, AVI, or an MPEG transport stream."""
    in_boxes = start[4:8] in {b"ftyp", b"moov", b"mdat", b"wide"}
    in_packets = len(start) > 2 * _TS_PACKET and {start[0], start[_TS_PACKET]} == {_TS_SYNC}
    return in_boxes or in_packets or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")


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
        raise InvalidInput(f"the body is truncated or damaged gzip: {error}") from error


def _what_to_send() -> str:
    return f"send {', '.join(CONTENT_TYPES)}, or application/json to import a server folder"
