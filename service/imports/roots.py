"""The folders of this machine an import may read, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from service.errors import InvalidInput
from service.imports.items import Bounds, check_relative


class ImportRoots:
    """Finds files below some folders; where several have one, the first counts.

    Args:
        roots: the folders, as the operator named them.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [root.resolve() for root in roots]

    def folder(self, name: str) -> Path:
        """A folder below a root.

        Args:
            name: relative to the root; ``.`` is the root itself.

        Returns:
            Where it is, without symbolic links.

        Raises:
            InvalidInput: it is absolute, climbs, leads out of its root, or is not there.
        """
        found = self._find(name)
        if not found.is_dir():
            raise InvalidInput(f"folder {name[:80]!r}: not a folder")
        return found

    def file(self, name: str) -> Path:
        """A file below a root. Args, returns and raises as :meth:`folder`."""
        found = self._find(name)
        if not found.is_file():
            raise InvalidInput(f"path {name[:80]!r}: not a file")
        return found

    def own(self, path: Path) -> Path:
        """A path found by listing, once its symbolic links are followed.

        Args:
            path: below a root by its name.

        Returns:
            Where it is.

        Raises:
            InvalidInput: it leads out of every root.
        """
        resolved = path.resolve()
        if not any(resolved.is_relative_to(root) for root in self._roots):
            raise InvalidInput("a symbolic link that leads out of the import root")
        return resolved

    def _find(self, name: str) -> Path:
        if not self._roots:
            raise InvalidInput(
                "this service reads no folders: its operator has to name some in REID_IMPORT_ROOTS"
            )
        check_relative(name)
        for root in self._roots:
            candidate = root / name
            if not _exists(candidate):
                continue
            resolved = candidate.resolve()
            if not resolved.is_relative_to(root):
                raise InvalidInput(
                    f"path {name[:80]!r}: a symbolic link that leads out of the import root"
                )
            return resolved
        raise InvalidInput(f"path {name[:80]!r}: there is no such path in an import root")


def read_image(path: Path, bounds: Bounds) -> bytes:
    """Read an image file, never more than an image may have.

    Args:
        path: without symbolic links.
        bounds: knows the size.

    Returns:
        Its bytes.

    Raises:
        ImageTooLarge: it is larger.
        InvalidInput: it is not a file, or cannot be read.
    """
    try:
        # Not blocking: a pipe of that name would wait for a writer that never comes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise InvalidInput("not a file")
            bounds.check_image(state.st_size)
            data = file.read(bounds.image_bytes + 1)
    except OSError as error:
        raise InvalidInput(error.strerror or str(error)) from error
    bounds.check_image(len(data))
    return data


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name longer than the system takes
        return False
