"""Find the manifest among the files of a folder or an archive, for the service and training.

A manifest describes the images next to it. It may lie in any folder that contains all images. One
that cannot be used stops the import; otherwise every image would be stored without its metadata.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from service.errors import InvalidInput
from service.ingest.picture_files import SUFFIXES, UNREAD, VIDEOS, not_data

MANIFEST_SUFFIXES = (".ndjson", ".jsonl", ".csv", ".parquet")
_NAMES = frozenset(f"manifest{suffix}" for suffix in MANIFEST_SUFFIXES)
RESEMBLING = re.compile(r"(^|[^a-z])manifests?([^a-z]|$)")
_MOST_KEPT = 10  # names of each kind; even a second manifest is one too many
_REMEDY = "or set a layout or a pattern that reads the names"


def is_manifest(name: str) -> bool:
    """Whether the last part of a path is the name of a manifest, in upper or lower case."""
    return PurePosixPath(name).name.lower() in _NAMES


def resembles_manifest(name: str) -> bool:
    """Whether a file may be meant as a manifest: ``manifest.json``, ``my_manifest (1).csv``."""
    path = PurePosixPath(name)
    other = path.suffix.lower() in SUFFIXES | UNREAD | VIDEOS
    return not other and RESEMBLING.search(path.name.lower()) is not None


@dataclass(slots=True)
class ManifestSearch:
    """Collects the names of all files, then finds the manifest among them."""

    _found: list[str] = field(default_factory=list)
    _resembling: list[str] = field(default_factory=list)
    _count: int = 0
    _common: tuple[str, ...] | None = None

    def see(self, name: str) -> None:
        """Add a file.

        Args:
            name: its path relative to the top folder, with forward slashes. Files in hidden and
                generated folders are ignored.
        """
        parts = PurePosixPath(name).parts
        if any(map(not_data, parts)):
            return
        if is_manifest(name):
            self._keep(name, self._found)
        elif resembles_manifest(name):
            self._keep(name, self._resembling)
        elif PurePosixPath(name).suffix.lower() in SUFFIXES:
            self._common = parts[:-1] if self._common is None else _shared(self._common, parts)

    def _keep(self, name: str, names: list[str]) -> None:
        self._count += 1
        if len(names) < _MOST_KEPT:
            names.append(name)

    @property
    def count(self) -> int:
        """Number of files that are a manifest or resemble one."""
        return self._count

    @property
    def candidates(self) -> list[str]:
        """The first files that are a manifest, then the first that resemble one."""
        return [*self._found, *self._resembling]

    def manifest(self) -> str | None:
        """The manifest's name; None if there is none.

        Raises:
            InvalidInput: there are two, or one that cannot be used; the message names it.
        """
        match self.candidates:
            case []:
                return None
            case [first, second, *_]:
                raise InvalidInput(
                    f"two manifests, {first} and {second}: name the one to use, {_REMEDY}"
                )
            case [name]:
                return self._usable(name)
        raise AssertionError("a list has none, one or more")

    def unused(self, asked: str) -> list[str]:
        """Warn that manifests are not used.

        Args:
            asked: what reads the names instead.

        Returns:
            One warning per file that is a manifest or resembles one, at most nine.
        """
        return [f"{name} is not used: the {asked} reads the names" for name in self.candidates[:9]]

    def _usable(self, name: str) -> str:
        if self._resembling:
            raise InvalidInput(
                f"{name} resembles a manifest but is not named like one: rename it to "
                f"manifest{', manifest'.join(MANIFEST_SUFFIXES)}, remove it, {_REMEDY}"
            )
        folder = PurePosixPath(name).parent.parts
        if self._common is not None and self._common[: len(folder)] != folder:
            raise InvalidInput(
                f"{name} does not cover the images outside its folder: move it up, import its "
                f"folder separately, {_REMEDY}"
            )
        return name


def _shared(common: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...]:
    folder = parts[:-1]
    length = 0
    while length < min(len(common), len(folder)) and common[length] == folder[length]:
        length += 1
    return common[:length]
