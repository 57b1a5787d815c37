"""Decode the names of an archive's members.

A zip states only whether a name is UTF-8. Linux tools write UTF-8 without stating it, and older
Windows tools write the machine's code page. A tar states nothing. Names that are not UTF-8 are
decoded only with the encoding that the import names, because a wrong guess would be stored for
good.
"""

from __future__ import annotations

import codecs
import struct
import zipfile
import zlib
from collections.abc import Iterator

from service.errors import InvalidInput

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075  # Info-ZIP's extra field: the name in UTF-8, and the CRC of the plain one
_ENCODINGS = (
    *("utf-8", "cp437", "cp850", "cp852", "cp855", "cp857", "cp858", "cp862", "cp864", "cp866"),
    *("cp874", "cp932", "cp949", "cp950", *(f"cp{page}" for page in range(1250, 1259))),
    *("shift_jis", "euc_jp", "gbk", "gb2312", "gb18030", "big5", "euc_kr", "koi8-r", "koi8-u"),
    *(f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))),
    *("mac-roman", "mac-cyrillic", "mac-greek", "mac-latin2", "mac-turkish"),
)
_KNOWN = frozenset(codecs.lookup(name).name for name in _ENCODINGS)


def known_encoding(name: str | None) -> str | None:
    """Check the encoding of names that an import names.

    Args:
        name: its Python name, such as cp437 or shift_jis; None if not given.

    Returns:
        The same name.

    Raises:
        InvalidInput: it is not an encoding of file names.
    """
    if name is None:
        return None
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise _unknown(name) from error
    if found not in _KNOWN:
        raise _unknown(name)
    return found


def zip_name(member: zipfile.ZipInfo, encoding: str | None) -> str:
    """Decode the path of a zip member.

    Args:
        member: the member, as ``zipfile`` lists it.
        encoding: encoding of names that are not UTF-8, if given.

    Returns:
        The path with forward slashes; Windows tools write backslashes.

    Raises:
        InvalidInput: the name is not UTF-8, and no encoding is given or it does not match.
    """
    name = member.orig_filename
    if not member.flag_bits & _UTF8_FLAG:
        raw = name.encode("cp437")  # reverses the decoding of zipfile
        name = _unicode_path(member.extra, raw) or _decoded(raw, encoding)
    return name.replace("\\", "/")


def tar_name(name: str, encoding: str | None) -> str:
    """Decode the path of a tar member.

    Args:
        name: the name as ``tarfile`` reads it; bytes that are not UTF-8 are escaped.
        encoding: encoding of names that are not UTF-8, if given.

    Returns:
        The path.

    Raises:
        InvalidInput: see :func:`zip_name`.
    """
    return name if name.isascii() else _decoded(name.encode("utf-8", "surrogateescape"), encoding)


def shown(name: str) -> str:
    """A name that could not be decoded, with escaped bytes, for messages."""
    try:
        raw = name.encode("cp437")
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")


def _decoded(raw: bytes, encoding: str | None) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if encoding is None:
            raise InvalidInput(
                f"the name {raw[:80]!r} is not UTF-8: set its encoding, such as "
                "encoding=cp437, cp850, cp1252, shift_jis or gbk"
            ) from error
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the name {raw[:80]!r} is not {encoding}: {error.reason}") from error


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    for kind, body in _fields(extra):
        if kind == _UNICODE_PATH and len(body) > 5:
            version, checksum = struct.unpack_from("<BL", body)
            if version == 1 and checksum == zlib.crc32(raw):
                try:
                    return body[5:].decode("utf-8")
                except UnicodeDecodeError:
                    return None
    return None


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        yield kind, extra[position + 4 : position + 4 + size]
        position += 4 + size


def _unknown(name: str) -> InvalidInput:
    return InvalidInput(f"encoding must be one of {', '.join(_ENCODINGS)}, got {name[:40]!r}")
