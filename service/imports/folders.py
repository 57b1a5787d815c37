"""A folder of this machine, below an import root."""

from __future__ import annotations

from pathlib import Path

from service.crop_names import LeftOut, Naming, images_in
from service.errors import ReidError
from service.imports.items import Bounds, Item, Items, Picture, refused
from service.imports.roots import ImportRoots, read_image


def folder_files(folder: Path, bounds: Bounds) -> list[Path]:
    """The image files of a folder, to its leaves. Raises TooLarge."""
    files = images_in(folder)
    bounds.check_items(len(files))
    return files


def folder_items(
    folder: Path, files: list[Path], naming: Naming, roots: ImportRoots, bounds: Bounds
) -> Items:
    """Read the image files of a folder.

    Args:
        folder: below a root, without symbolic links.
        files: what :func:`folder_files` found.
        naming: reads their names, relative to the folder.
        roots: no symbolic link may lead out of them.
        bounds: what the import may cost.

    Yields:
        An item a file.

    Raises:
        InvalidInput: a pattern takes too long.
    """
    for path in files:
        yield _item(path, folder, naming, roots, bounds)


def _item(path: Path, folder: Path, naming: Naming, roots: ImportRoots, bounds: Bounds) -> Item:
    relative = path.relative_to(folder)
    entry = naming(relative, Path())
    if isinstance(entry, LeftOut):
        return entry
    try:
        data = read_image(roots.own(path), bounds)
    except ReidError as error:
        return refused(relative, error)
    return Picture(str(relative), entry.crop, data)
