"""Read tar archives member by member, without unpacking them to disk.

Only regular files are imported. Members with absolute paths or ``..``, links and devices are
rejected one by one. Anything that only a malicious archive contains (sparse members, endless
headers, more bytes than allowed) ends the import.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from service.errors import InvalidInput, ReidError, TooLarge
from service.imports.gunzip import HARMLESS, RATIO, gunzip
from service.imports.items import ImportLimits, Item, Items, Picture, refused
from service.imports.listing import Listing, check_manifest_size, manifest_beside
from service.imports.member_names import shown, tar_name
from service.ingest.crop_names import LeftOut
from service.ingest.manifest_files import ManifestSearch
from service.ingest.picture_files import not_data
from service.machine.durable import disk_errors

_MAX_HEADER = 32 << 10  # bytes per member, for names, owners and dates
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class TarSurvey:
    """What a tar archive contains, as far as it can be read.

    Attributes:
        count: number of members, without folders and manifests.
        search: has collected their names.
        manifest: a copy of the first manifest, next to the archive; None if there is none, or if it
            cannot be read.
        problem: why the first manifest cannot be read; None if it can.
    """

    count: int
    search: ManifestSearch
    manifest: Path | None
    problem: ReidError | None

    def items(self, asked: str | None) -> int:
        """Number of items; a manifest is not one unless ``asked`` reads the names instead."""
        return self.count + (self.search.count if asked is not None else 0)


def tar_items(
    archive: Path,
    listing: Listing,
    limits: ImportLimits,
    *,
    gzipped: bool,
    encoding: str | None = None,
    survey: TarSurvey | None = None,
) -> Items:
    """Read a tar archive.

    Args:
        archive: the file.
        listing: finds the crop of each member; takes the manifest, if there is one.
        limits: limits of the import.
        gzipped: whether it is compressed.
        encoding: encoding of names that are not UTF-8.
        survey: the answer of :func:`survey_tar`, if it was called before.

    Yields:
        One item per member that is not a folder.

    Raises:
        ReidError: the archive is truncated, damaged, too large or malicious, or its manifest cannot
            be used.
    """
    survey = survey or survey_tar(archive, limits, gzipped=gzipped, encoding=encoding)
    manifest = listing.choose_manifest(survey.search)
    if manifest is not None:
        if survey.problem is not None:
            raise survey.problem
        if survey.manifest is None:
            raise InvalidInput(f"{manifest[:80]}: the archive is damaged at this member")
        yield from listing.take_manifest(manifest, survey.manifest, limits)
    with _opened(archive, limits, gzipped=gzipped) as tar:
        for member in tar.members(limits):
            if not member.isdir() and _shown_name(member, encoding) != manifest:
                yield _item(tar, member, listing, limits, encoding)
    yield from listing.missing()


def survey_tar(
    archive: Path, limits: ImportLimits, *, gzipped: bool, encoding: str | None = None
) -> TarSurvey:
    """Read a tar archive once to find its manifest, which may be the last member.

    Args:
        archive: the file.
        limits: limits of the import.
        gzipped: whether it is compressed.
        encoding: encoding of names that are not UTF-8.

    Returns:
        What was found. If the archive is damaged, what precedes the damage.
    """
    count, search = 0, ManifestSearch()
    manifest: Path | None = None
    problem: ReidError | None = None
    try:
        with _opened(archive, limits, gzipped=gzipped) as tar:
            for member in tar.members(limits):
                if member.isdir():
                    continue
                known = search.count
                search.see(_shown_name(member, encoding))
                count += search.count == known
                if search.count > known == 0:
                    problem = _problem_of_manifest(member)
                    if problem is None:
                        manifest = tar.copy(member, manifest_beside(archive))
    except (InvalidInput, TooLarge):  # the second reading will report what is wrong
        pass
    return TarSurvey(count, search, manifest, problem)


def _problem_of_manifest(member: tarfile.TarInfo) -> ReidError | None:
    if not member.isreg():
        return InvalidInput(f"{member.name}: {_kind(member)}: only regular files are imported")
    try:
        check_manifest_size(member.name, member.size)
    except TooLarge as error:
        return error
    return None


def _shown_name(member: tarfile.TarInfo, encoding: str | None) -> str:
    try:
        return tar_name(member.name, encoding)
    except InvalidInput:
        return shown(member.name)


def _item(
    tar: _Tar, member: tarfile.TarInfo, listing: Listing, limits: ImportLimits, encoding: str | None
) -> Item:
    try:
        name = tar_name(member.name, encoding)
    except InvalidInput as error:
        return refused(shown(member.name), error)
    if not member.isreg():
        hidden = any(map(not_data, Path(name).parts))
        return refused(
            name, f"{_kind(member)}: only regular files are imported", is_error=not hidden
        )
    entry = listing.describe(name)
    if isinstance(entry, LeftOut):
        return entry
    try:
        limits.check_image(member.size)
    except ReidError as error:
        return refused(name, error)
    return Picture(name, entry.crop, tar.read(member))


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "a link"
    return "a device" if member.isdev() else "a member of unknown type"


@contextmanager
def _opened(archive: Path, limits: ImportLimits, *, gzipped: bool) -> Iterator[_Tar]:
    most = limits.unpacked_bytes
    if gzipped:
        most = min(most, max(HARMLESS, RATIO * archive.stat().st_size))
    with gunzip(archive) if gzipped else archive.open("rb") as file:
        tar = _Tar(_Bounded(file, most))
        try:
            yield tar
        except (tarfile.TarError, EOFError, OSError) as error:
            raise _damaged(tar.after, error) from error


def _damaged(after: str, error: Exception) -> InvalidInput:
    return InvalidInput(f"the archive is damaged{after}: {error}")


class _Tar:
    """A tar stream of which no more is read than the current member needs."""

    def __init__(self, stream: _Bounded) -> None:
        self._stream = stream
        self._tar: tarfile.TarFile
        self._last = ""
        self._taken = False

    @property
    def after(self) -> str:
        """How far the archive was read, for messages."""
        return f" after {self._last[:80]!r}" if self._last else ""

    def members(self, limits: ImportLimits) -> Iterator[tarfile.TarInfo]:
        """Yield every member; its content can be read until the next one is requested."""
        self._stream.allow(_MAX_HEADER)
        # In blocks of 512 bytes the last one read is a header, which shows whether the archive ends
        # or is truncated.
        source = cast("IO[bytes]", self._stream)
        with tarfile.open(fileobj=source, mode="r|", bufsize=512) as self._tar:
            count = 0
            while (member := self._tar.next()) is not None:
                count += 1
                limits.check_items(count)
                self._last = member.name
                if member.issparse():
                    raise InvalidInput(f"member {member.name[:80]!r} is sparse: not allowed")
                self._taken = False
                yield member
                if member.isreg() and not self._taken:
                    self._skip(member)
                self._require_modest_globals()
                # Otherwise TarFile keeps every member in memory.
                self._tar.members.clear()  # type: ignore[attr-defined]  # the stubs lack it
                self._stream.allow(_MAX_HEADER)
            if any(self._stream.last):
                raise InvalidInput(f"the archive is truncated or damaged{self.after}")

    def read(self, member: tarfile.TarInfo) -> bytes:
        """Read the content of the current member; call this once."""
        self._taken = True
        with self._content(member) as content:
            return content.read(member.size)

    def copy(self, member: tarfile.TarInfo, target: Path) -> Path:
        """Copy the content of the current member to a file, once; return the file's path."""
        self._taken = True
        with self._content(member) as content, disk_errors(target), target.open("wb") as file:
            for piece in iter(lambda: self._piece(content), b""):
                file.write(piece)
        return target

    def _piece(self, content: IO[bytes]) -> bytes:
        try:
            return content.read(_CHUNK)
        except OSError as error:  # from the archive, not from the disk of the copy
            raise _damaged(self.after, error) from error

    def _require_modest_globals(self) -> None:
        """Limit global headers, which accumulate and which TarFile copies for each member."""
        held = self._tar.pax_headers
        if sum(len(name) + len(value) for name, value in held.items()) > _MAX_HEADER:
            raise InvalidInput(f"the archive's global headers exceed {_MAX_HEADER:,} bytes")

    def _skip(self, member: tarfile.TarInfo) -> None:
        with self._content(member) as content:
            while content.read(_CHUNK):
                pass

    def _content(self, member: tarfile.TarInfo) -> IO[bytes]:
        self._stream.allow(member.size + _MAX_HEADER)
        content = self._tar.extractfile(member)
        if content is None:
            raise InvalidInput(f"member {member.name[:80]!r} has no content")
        return content


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Bounded:
    """The file that tarfile reads, limited in total and per member."""

    def __init__(self, file: _Readable, most: int) -> None:
        self._file = file
        self._most = most
        self._read = 0
        self._allowed = 0
        self.last = b""

    def allow(self, size: int) -> None:
        """Allow this many more bytes to be read."""
        self._allowed = size

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._read += len(data)
        self._allowed -= len(data)
        if self._read > self._most:
            raise TooLarge(f"the archive unpacks to more than {self._most:,} bytes")
        if self._allowed < 0:
            raise InvalidInput("the archive contains a header that does not end")
        self.last = data or self.last
        return data
