"""Read zip archives member by member, without unpacking them to disk."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.errors import InvalidInput, ReidError, TooLarge
from service.imports.items import ImportLimits, Item, Items, Picture, refused
from service.imports.listing import Listing, check_manifest_size, manifest_beside
from service.imports.member_names import shown, zip_name
from service.ingest.crop_names import LeftOut
from service.ingest.manifest_files import ManifestSearch
from service.machine.durable import disk_errors

_MAX_DIRECTORY = 32 << 20  # zipfile reads it at once, using about ten times as much memory
_RATIO = 200  # a larger ratio means a bomb, because images are compressed already
_HARMLESS = 1 << 20
_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file in a zip archive.

    Attributes:
        info: its entry, as ``zipfile`` lists it.
        name: its path with forward slashes.
        problem: why its name cannot be decoded; None if it can.
    """

    info: zipfile.ZipInfo
    name: str
    problem: InvalidInput | None = None


def zip_items(
    archive: zipfile.ZipFile, listing: Listing, limits: ImportLimits, encoding: str | None = None
) -> Items:
    """Read a zip archive.

    Args:
        archive: the answer of :func:`open_zip`.
        listing: finds the crop of each member; takes the manifest, if there is one.
        limits: limits of the import.
        encoding: encoding of names that are not UTF-8.

    Yields:
        One item per member that is not a folder.

    Raises:
        ReidError: the archive is too large, or its manifest cannot be used.
    """
    members = zip_members(archive, encoding)
    _require_modesty(members, limits)
    manifest = _find_manifest(members, listing)
    if manifest is not None:
        check_manifest_size(manifest.name, manifest.info.file_size)
        copy = _copy_manifest(archive, manifest)
        yield from listing.take_manifest(manifest.name, copy, limits)
    for member in members:
        if member is not manifest:
            yield _item(archive, member, listing, limits)
    yield from listing.missing()


def _find_manifest(members: list[ZipMember], listing: Listing) -> ZipMember | None:
    search = ManifestSearch()
    for member in members:
        search.see(member.name)
    name = listing.choose_manifest(search)
    return next((member for member in members if member.name == name), None)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive. Raises InvalidInput: not a zip, truncated, or directory too large."""
    with _Guarded(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InvalidInput(f"not a zip archive, or truncated: {error}") from error
        with archive:
            yield archive


def zip_members(archive: zipfile.ZipFile, encoding: str | None = None) -> list[ZipMember]:
    """List the members of a zip archive that are not folders.

    Args:
        archive: the answer of :func:`open_zip`.
        encoding: encoding of names that are not UTF-8.

    Returns:
        The members in the archive's order.
    """
    members = (_named(info, encoding) for info in archive.infolist())
    return [member for member in members if not member.name.endswith(("/", "\\"))]


def count_items(members: list[ZipMember], asked: str | None) -> int:
    """Number of items; a manifest is not one unless ``asked`` reads the names instead."""
    if asked is not None:
        return len(members)
    search = ManifestSearch()
    for member in members:
        search.see(member.name)
    return len(members) - search.count


def _named(info: zipfile.ZipInfo, encoding: str | None) -> ZipMember:
    try:
        return ZipMember(info, zip_name(info, encoding))
    except InvalidInput as error:
        return ZipMember(info, shown(info.orig_filename), error)


def _require_modesty(members: list[ZipMember], limits: ImportLimits) -> None:
    limits.check_items(len(members))
    size = sum(member.info.file_size for member in members)
    if size > limits.unpacked_bytes:
        raise TooLarge(
            f"the archive unpacks to {size:,} bytes: at most {limits.unpacked_bytes:,} are allowed"
        )


def _item(
    archive: zipfile.ZipFile, member: ZipMember, listing: Listing, limits: ImportLimits
) -> Item:
    if member.problem is not None:
        return refused(member.name, member.problem)
    entry = listing.describe(member.name)
    if isinstance(entry, LeftOut):
        return entry
    try:
        limits.check_image(member.info.file_size)
        return Picture(member.name, entry.crop, _read(archive, member.info))
    except ReidError as error:
        return refused(member.name, error)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    return b"".join(_pieces(archive, member))


def _pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    _require_harmless(member)
    try:
        with archive.open(member) as file:
            yield from iter(lambda: file.read(_CHUNK), b"")
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        raise InvalidInput(f"damaged in the archive: {error}") from error


def _copy_manifest(archive: zipfile.ZipFile, manifest: ZipMember) -> Path:
    copy = manifest_beside(Path(str(archive.filename)))
    try:
        with disk_errors(copy), copy.open("wb") as file:
            file.writelines(_pieces(archive, manifest.info))
    except InvalidInput as error:
        raise InvalidInput(f"{manifest.name}: {error}") from error
    return copy


def _require_harmless(member: zipfile.ZipInfo) -> None:
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        raise InvalidInput("a link or a device: only regular files are imported")
    if member.flag_bits & _ENCRYPTED:
        raise InvalidInput("encrypted: passwords are not supported")
    if member.compress_type not in _METHODS:
        raise InvalidInput(f"compressed by method {member.compress_type}: only deflate is read")
    if member.file_size > max(_HARMLESS, _RATIO * member.compress_size):
        raise InvalidInput(
            f"{member.compress_size:,} bytes unpack to {member.file_size:,}: no image does that"
        )


class _Guarded(io.FileIO):
    """The archive's file, which rejects reads larger than any reasonable directory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_DIRECTORY:
            raise InvalidInput(f"the archive's directory has {size:,} bytes")
        return super().read(size) or b""
