"""What the members of an archive are called, whoever packed it.

A zip says of a name only whether it is UTF-8. Linux tools write UTF-8 without saying so, older
Windows tools the code page of the machine. A tar says nothing. A name that is not UTF-8 is read
only with the encoding that the import names: a guess would store a wrong name for good.
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
    """Accept an encoding of names.

    Args:
        name: as Python calls it, such as cp437 or shift_jis; None where nobody says.

    Returns:
        It.

    Raises:
        InvalidInput: it is none that names are written in.
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
    """The path of a member of a zip.

    Args:
        member: as ``zipfile`` lists it.
        encoding: of names that are not UTF-8, where the import says.

    Returns:
        With forward slashes: Windows tools write the other ones.

    Raises:
        InvalidInput: the name is not UTF-8, and no encoding is given, or it does not fit.
    """
    name = member.orig_filename
    if not member.flag_bits & _UTF8_FLAG:
        raw = name.encode("cp437")  # what zipfile decoded by, reversibly
        name = _unicode_path(member.extra, raw) or _decoded(raw, encoding)
    return name.replace("\\", "/")


def tar_name(name: str, encoding: str | None) -> str:
    """The path of a member of a tar.

    Args:
        name: as ``tarfile`` reads it, bytes that are not UTF-8 escaped.
        encoding: of names that are not UTF-8, where the import says.

    Returns:
        The path.

    Raises:
        InvalidInput: as :func:`zip_name` does.
    """
    return name if name.isascii() else _decoded(name.encode("utf-8", "surrogateescape"), encoding)


def shown(name: str) -> str:
    """A name for messages where it could not be read, with the bytes it has."""
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
                f"the name {raw[:80]!r} is not UTF-8: say which encoding it has, such as "
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
    return InvalidInput(f"encoding {name[:40]!r} is none of {', '.join(_ENCODINGS)}")
