"""The runner of jobs of kind ``import``."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.access.caller import Caller
from service.crop_names import LeftOut, Naming, naming_of
from service.errors import InvalidInput
from service.gallery.base import GalleryStore
from service.imports.folders import FolderFile, folder_files, folder_items, folder_manifest
from service.imports.items import Bounds, Item, Items
from service.imports.listing import Listing
from service.imports.manifests import ManifestSource, folder_manifest_items, manifest_items
from service.imports.roots import ImportRoots, private_copy, roots_for
from service.imports.rows import count_rows, format_of
from service.imports.storing import store_items
from service.imports.tars import survey_tar, tar_items
from service.imports.zips import count_items, open_zip, zip_items, zip_members
from service.jobs.base import Order
from service.jobs.context import JobContext
from service.model_shelf import ModelShelf
from service.reading import Reading, Zones
from service.settings import Settings
from service.tally import Tally, told

_UNBOUND = "unbound"
_USED = ("created", "replaced", "unchanged", "failed")

RECEIVED = "received"
"""The uploaded file's name in the job's scratch folder."""


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports folders, archives and manifests.

    Attributes:
        settings: every setting.
        store: the galleries.
        shelf: the models.
    """

    settings: Settings
    store: GalleryStore
    shelf: ModelShelf

    def run(self, context: JobContext) -> None:
        """Do one import; safe to repeat from its start.

        Args:
            context: its spec holds ``source``, and what else the import was asked with.

        Raises:
            InvalidInput: nothing of what came could be used.
        """
        # Asked again: what the operator allows may have changed since the job was taken.
        with _roots(self.settings, context.job.order) as roots:
            run = _Run(self, context, Tally(), reading_of(context.spec), roots)
            with closing(run.items()) as items:  # lets go of its files, however this ends
                store_items(context, self.store, self.shelf, items)
        result = run.result()
        context.finish(result)
        counts = context.progress.counts()
        if not any(counts.get(outcome) for outcome in _USED):
            raise InvalidInput("; ".join(("nothing could be imported", *told(result))))

    @property
    def bounds(self) -> Bounds:
        """What one import may cost."""
        return Bounds(self.settings.max_image_bytes, self.settings.max_import_bytes)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of one import, and what it takes note of."""

    importer: Importer
    context: JobContext
    tally: Tally
    reading: Reading
    roots: ImportRoots

    def items(self) -> Generator[Item, None, None]:
        for item in self._read():
            if isinstance(item, LeftOut) and not item.is_error:
                self.tally.leave_out(item)
            yield item

    def result(self) -> dict[str, Any]:
        found = self.tally.result() | self.reading.result()
        return found | {"warnings": [*found["warnings"], *self.reading.warnings()]}

    def _read(self) -> Items:
        context, received = self.context, self.context.folder / RECEIVED
        bounds, encoding = self.importer.bounds, self.context.spec.get("encoding")
        match context.spec["source"]:
            case "folder":
                yield from self._folder_items()
            case "tar" | "tar.gz" as source:
                gzipped = source == "tar.gz"
                survey = survey_tar(received, bounds, gzipped=gzipped, encoding=encoding)
                context.expect(survey.items(self._asked))
                yield from tar_items(
                    received,
                    self._listing(),
                    bounds,
                    gzipped=gzipped,
                    encoding=encoding,
                    survey=survey,
                )
            case "zip":
                with open_zip(received) as archive:
                    context.expect(count_items(zip_members(archive, encoding), self._asked))
                    yield from zip_items(archive, self._listing(), bounds, encoding)
            case "ndjson" | "csv" | "parquet" as source:
                context.expect(count_rows(received, source))
                dimension = self.importer.store.open(context.gallery).dimension
                yield from manifest_items(received, source, self._source(), dimension)

    def _folder_items(self) -> Items:
        spec, roots, bounds = self.context.spec, self.roots, self.importer.bounds
        folder = roots.folder(spec["folder"])
        if spec.get("manifest"):
            yield from self._by_manifest(folder, _manifest(roots, spec))
            return
        files = folder_files(folder, roots, bounds)
        search = folder_manifest(folder, files)
        manifest = self._listing().choose_manifest(search)
        if manifest is not None:
            yield from self._by_own_manifest(folder, folder / manifest, files)
            return
        others = sum(isinstance(entry, LeftOut) and entry.is_other for entry in files)
        self.context.expect(len(files) - others)
        yield from folder_items(folder, files, self._naming(), roots, bounds, self.tally)

    def _by_manifest(self, folder: Path, manifest: Path) -> Items:
        scratch = self.context.folder
        with private_copy(manifest, self.roots, self.importer.bounds, scratch) as copy:
            self.context.expect(count_rows(copy, format_of(copy)))
            yield from folder_manifest_items(folder, copy, self._source())

    def _by_own_manifest(self, folder: Path, manifest: Path, files: Sequence[FolderFile]) -> Items:
        """What the manifest in a folder lists, then the pictures that it does not."""
        listed: set[Path] = set()
        base = manifest.parent
        for item in self._by_manifest(base, manifest):
            name = item.path if isinstance(item, LeftOut) else item.name
            listed.add(Path(os.path.normpath(base / name)))
            yield item
        others = [path for path in files if isinstance(path, Path) and path not in listed]
        self.context.expect((self.context.progress.total or 0) + len(others))
        for path in others:
            yield LeftOut(path.relative_to(folder), "the manifest does not list it")

    def _source(self) -> ManifestSource:
        return ManifestSource(self.roots, self.importer.bounds, self.reading)

    def _naming(self) -> Naming:
        spec = self.context.spec
        return naming_of(spec.get("pattern"), spec.get("layout"), self.reading)

    def _listing(self) -> Listing:
        return Listing(self._naming(), self.tally, self._asked, self.reading)

    @property
    def _asked(self) -> str | None:
        return next((way for way in ("pattern", "layout") if self.context.spec.get(way)), None)


def reading_of(spec: Mapping[str, Any]) -> Reading:
    """How an import reads times. Raises InvalidInput: a zone is none."""
    return Reading(Zones.read(spec.get("zone"), spec.get("zones")))


def check_folder(settings: Settings, order: Order) -> None:
    """Make sure that a server folder can be imported, before a job is made of it.

    Args:
        settings: every setting.
        order: of an import whose source is ``folder``.

    Raises:
        Forbidden: the caller is bound to galleries, and no folder is mapped to this one.
        InvalidInput: the folder, its manifest or the pattern cannot be used.
    """
    spec = order.spec
    with _roots(settings, order) as roots:
        roots.folder(spec["folder"])
        naming_of(spec.get("pattern"), spec.get("layout"))
        reading_of(spec)
        if spec.get("manifest"):
            format_of(_manifest(roots, spec))


def unbound(caller: Caller) -> dict[str, bool]:
    """What an import's spec says of a caller who may read the folders for every gallery.

    A job that does not say so counts as one of a caller who is bound, unless it has no owner:
    without keys, everyone may do everything.
    """
    return {_UNBOUND: True} if caller.key_id is not None and caller.galleries is None else {}


def _roots(settings: Settings, order: Order) -> ImportRoots:
    bound = order.owner is not None and not order.spec.get(_UNBOUND, False)
    return roots_for(settings.import_roots, order.gallery, bound=bound)


def _manifest(roots: ImportRoots, spec: Mapping[str, Any]) -> Path:
    return roots.file(f"{spec['folder']}/{spec['manifest']}")
