"""Read the items of an import from any source: a folder, an archive or a manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from service.imports.folders import FolderFile, FolderReader, folder_files, folder_manifest
from service.imports.items import ImportLimits, Item, Items, WholeFrame, refused
from service.imports.listing import Listing
from service.imports.manifests import ManifestSource, folder_manifest_items, manifest_items
from service.imports.root_files import private_copy
from service.imports.roots import ImportRoots, roots_for
from service.imports.tars import survey_tar, tar_items
from service.imports.videos import Apart, VideoReader, VideoRules, here
from service.imports.zips import count_items, open_zip, zip_items, zip_members
from service.ingest.crop_names import LeftOut, Naming, naming_of
from service.ingest.picture_files import is_video
from service.ingest.reading import Reading, Zones
from service.ingest.rows import Format, count_rows, format_of
from service.ingest.summary import ImportSummary

RECEIVED = "received"
"""Name of the uploaded file in the job's folder."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to read, and the limits for it; all values can be written as JSON.

    Attributes:
        spec: the job's spec.
        gallery: the gallery to import into.
        bound: whether the caller's key is bound to galleries.
        folder: the job's folder.
        roots: the setting ``import_roots``.
        image_bytes: largest image file.
        unpacked_bytes: most bytes that an archive may unpack to, and largest video.
        dimension: length of the gallery's embeddings.
        memory_bytes: most memory that the reader may use.
        image_pixels: most pixels of a frame of a video.
        no_videos: why videos cannot be used; empty if they can.
    """

    spec: Mapping[str, Any]
    gallery: str
    bound: bool
    folder: str
    roots: Sequence[str] | Mapping[str, Sequence[str]]
    image_bytes: int
    unpacked_bytes: int
    dimension: int
    memory_bytes: int
    image_pixels: int = 16_000_000
    no_videos: str = ""

    @property
    def limits(self) -> ImportLimits:
        """The limits of the import."""
        return ImportLimits(self.image_bytes, self.unpacked_bytes, image_pixels=self.image_pixels)

    def open_roots(self) -> ImportRoots:
        """The folders that may be read; close them after use."""
        if isinstance(self.roots, Mapping):
            mapped = {name: [*map(Path, paths)] for name, paths in self.roots.items()}
            return roots_for(mapped, self.gallery, bound=self.bound)
        return roots_for([*map(Path, self.roots)], self.gallery, bound=self.bound)


class ImportReader:
    """Reads one import and summarises it.

    Args:
        request: what to read.
        expect: called with the number of items once it is known, and when it changes.
        apart: where videos are decoded.

    Raises:
        InvalidInput: a zone is unknown.
    """

    def __init__(
        self, request: ImportRequest, expect: Callable[[int], object], apart: Apart = here
    ) -> None:
        self._request = request
        self._total = _Total(expect)
        self._apart = apart
        self._summary = ImportSummary()
        self._reading = reading_of(request.spec)

    def items(self) -> Generator[Item, None, None]:
        """Read every item.

        Yields:
            The items. One whose crop_id occurred before is rejected.

        Raises:
            ReidError: the import cannot be read any further.
        """
        seen: set[bytes] = set()
        with self._request.open_roots() as roots:
            run = _Run(
                *(self._request, self._total, self._summary, self._reading, roots, self._apart)
            )
            for item in run.items():
                if isinstance(item, LeftOut):
                    if not item.is_error:
                        self._summary.leave_out(item)
                    yield item
                    continue
                if isinstance(item, WholeFrame):  # no two videos have the same name
                    yield item
                    continue
                key = blake2b(
                    item.crop.crop_id.encode("utf-8", "surrogatepass"), digest_size=16
                ).digest()
                if key in seen:
                    reason = f"crop_id {item.crop.crop_id!r} belongs to an earlier item"
                    yield refused(item.name, reason)
                else:
                    seen.add(key)
                    yield item

    def result(self) -> dict[str, Any]:
        """The reader's part of the job's result, once every item was read."""
        found = self._summary.result() | self._reading.result()
        return found | {"warnings": [*found["warnings"], *self._reading.warnings()]}


@dataclass(slots=True)
class _Total:
    """The number of items; that of a video's frames is known when it is opened."""

    tell: Callable[[int], object]
    items: int = 0

    def __call__(self, items: int) -> None:
        self.items = items
        self.tell(items)

    def add(self, items: int) -> None:
        if items:
            self(self.items + items)


@dataclass(frozen=True, slots=True)
class _Run:
    """Chooses the source of the items, and reads it."""

    request: ImportRequest
    expect: _Total
    summary: ImportSummary
    reading: Reading
    roots: ImportRoots
    apart: Apart

    def items(self) -> Items:
        spec, received = self.request.spec, Path(self.request.folder) / RECEIVED
        match spec["source"]:
            case "folder":
                yield from self._folder_items()
            case "tar" | "tar.gz" as source:
                yield from self._tar_items(received, gzipped=source == "tar.gz")
            case "zip":
                yield from self._zip_items(received)
            case "video":
                self.expect(1)
                yield from self._videos().items(Path(spec["name"]), lambda: received.open("rb"))
            case "ndjson" | "csv" | "parquet" as source:
                self._expect_rows(received, source)
                yield from manifest_items(received, source, self._source(), self.request.dimension)

    def _tar_items(self, archive: Path, *, gzipped: bool) -> Items:
        limits, encoding = self.request.limits, self.request.spec.get("encoding")
        survey = survey_tar(archive, limits, gzipped=gzipped, encoding=encoding)
        self.expect(survey.items(self._asked))
        yield from tar_items(
            archive, self._listing(), limits, gzipped=gzipped, encoding=encoding, survey=survey
        )

    def _zip_items(self, path: Path) -> Items:
        encoding = self.request.spec.get("encoding")
        with open_zip(path) as archive:
            self.expect(count_items(zip_members(archive, encoding), self._asked))
            yield from zip_items(archive, self._listing(), self.request.limits, encoding)

    def _folder_items(self) -> Items:
        spec, roots, limits = self.request.spec, self.roots, self.request.limits
        folder = roots.folder(spec["folder"])
        if spec.get("manifest"):
            yield from self._by_manifest(folder, named_manifest(roots, spec))
            return
        files = folder_files(folder, roots, limits)
        search = folder_manifest(folder, files)
        manifest = self._listing().choose_manifest(search)
        if manifest is not None:
            yield from self._by_own_manifest(folder, folder / manifest, files)
            return
        others = sum(isinstance(entry, LeftOut) and entry.is_other for entry in files)
        self.expect(len(files) - others)
        yield from FolderReader(self._naming(), self._videos(), roots, limits, self.summary).items(
            folder, files
        )

    def _by_manifest(self, folder: Path, manifest: Path) -> Items:
        scratch = Path(self.request.folder)
        with private_copy(manifest, self.roots, self.request.limits, scratch) as copy:
            self._expect_rows(copy, format_of(copy))
            yield from folder_manifest_items(folder, copy, self._source())

    def _by_own_manifest(self, folder: Path, manifest: Path, files: Sequence[FolderFile]) -> Items:
        """Read the files that a folder's own manifest lists; report the images it does not list."""
        listed: set[Path] = set()
        base = manifest.parent
        rows = 0
        for item in self._by_manifest(base, manifest):
            name = item.path if isinstance(item, LeftOut) else item.name
            listed.add(Path(os.path.normpath(base / name)))
            rows += 1
            yield item
        usable = [path for path in files if isinstance(path, Path)]
        usable += [entry.path for entry in files if not isinstance(entry, Path) and is_video(entry)]
        others = [path for path in usable if path not in listed]
        self.expect(rows + len(others))
        for path in others:
            yield LeftOut(path.relative_to(folder), "the manifest does not list it")

    def _expect_rows(self, manifest: Path, format_: Format) -> None:
        """Count the rows, up to the limit."""
        self.expect(count_rows(manifest, format_, self.request.limits.items + 1))

    def _source(self) -> ManifestSource:
        return ManifestSource(self.roots, self.request.limits, self.reading)

    def _videos(self) -> VideoReader:
        return VideoReader(
            VideoRules.read(self.request.spec, self.reading),
            self.request.limits,
            self.apart,
            self.expect.add,
            self.summary,
            self.request.no_videos,
        )

    def _naming(self) -> Naming:
        spec = self.request.spec
        return naming_of(spec.get("pattern"), spec.get("layout"), self.reading)

    def _listing(self) -> Listing:
        return Listing(self._naming(), self.summary, self._asked, self.reading)

    @property
    def _asked(self) -> str | None:
        return next((way for way in ("pattern", "layout") if self.request.spec.get(way)), None)


def reading_of(spec: Mapping[str, Any]) -> Reading:
    """How an import reads times. Raises InvalidInput: a zone is unknown."""
    return Reading(Zones.read(spec.get("zone"), spec.get("zones")))


def named_manifest(roots: ImportRoots, spec: Mapping[str, Any]) -> Path:
    """The manifest that a folder's spec names. Raises InvalidInput: it does not exist."""
    return roots.file(f"{spec['folder']}/{spec['manifest']}")
