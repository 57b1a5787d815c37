"""The runner of jobs of kind ``import``."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from service.crop_names import naming_of
from service.gallery.base import GalleryStore
from service.imports.folders import folder_files, folder_items
from service.imports.items import Bounds, Item, Items
from service.imports.listing import Listing
from service.imports.manifests import folder_manifest_items, manifest_items
from service.imports.roots import ImportRoots
from service.imports.rows import count_rows, format_of
from service.imports.storing import store_items
from service.imports.tars import count_members, tar_items
from service.imports.zips import open_zip, zip_items, zip_members
from service.jobs.context import JobContext
from service.model_shelf import ModelShelf
from service.settings import Settings

Upload = Literal["tar", "tar.gz", "zip", "ndjson", "csv", "parquet"]
"""What can be uploaded; a job's spec names it, or ``folder``, as its ``source``."""

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
            context: its spec holds ``source``, and ``folder``, ``pattern`` and ``manifest`` where
                they are given.
        """
        with closing(self._items(context)) as items:  # lets go of its files, however this ends
            store_items(context, self.store, self.shelf, items)

    def _items(self, context: JobContext) -> Generator[Item, None, None]:
        spec, received, bounds = context.spec, context.folder / RECEIVED, self._bounds()
        match spec["source"]:
            case "folder":
                yield from self._folder_items(context)
            case "tar" | "tar.gz" as source:
                gzipped = source == "tar.gz"
                context.expect(count_members(received, bounds, gzipped=gzipped))
                yield from tar_items(received, _listing(spec), bounds, gzipped=gzipped)
            case "zip":
                with open_zip(received) as archive:
                    context.expect(len(zip_members(archive)))
                    yield from zip_items(archive, _listing(spec), bounds)
            case "ndjson" | "csv" | "parquet" as source:
                context.expect(count_rows(received, source))
                dimension = self.store.open(context.gallery).dimension
                yield from manifest_items(received, source, self._roots(), bounds, dimension)

    def _folder_items(self, context: JobContext) -> Items:
        spec, roots, bounds = context.spec, self._roots(), self._bounds()
        folder = roots.folder(spec["folder"])
        if spec.get("manifest"):
            manifest = _manifest(roots, spec)
            context.expect(count_rows(manifest, format_of(manifest)))
            yield from folder_manifest_items(folder, manifest, roots, bounds)
        else:
            files = folder_files(folder, bounds)
            context.expect(len(files))
            yield from folder_items(folder, files, naming_of(spec.get("pattern")), roots, bounds)

    def _roots(self) -> ImportRoots:
        return ImportRoots(self.settings.import_roots)

    def _bounds(self) -> Bounds:
        return Bounds(self.settings.max_image_bytes, self.settings.max_import_bytes)


def check_folder(settings: Settings, spec: Mapping[str, Any]) -> None:
    """Make sure that a server folder can be imported, before a job is made of it.

    Args:
        settings: every setting.
        spec: of a job whose source is ``folder``.

    Raises:
        InvalidInput: the folder, its manifest or the pattern cannot be used.
    """
    roots = ImportRoots(settings.import_roots)
    roots.folder(spec["folder"])
    naming_of(spec.get("pattern"))
    if spec.get("manifest"):
        format_of(_manifest(roots, spec))


def _manifest(roots: ImportRoots, spec: Mapping[str, Any]) -> Path:
    return roots.file(f"{spec['folder']}/{spec['manifest']}")


def _listing(spec: Mapping[str, Any]) -> Listing:
    return Listing(naming_of(spec.get("pattern")))
