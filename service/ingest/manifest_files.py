"""Finding the manifest among the files of a folder or an archive, for service and training.

A manifest says what the pictures beside it show. It is used wherever it lies, as long as it speaks
for all of them. One that cannot be used stops the reading: without it every picture would be stored
without its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from service.errors import InvalidInput
from service.ingest.picture_files import SUFFIXES, UNREAD, no_data

MANIFEST_SUFFIXES = (".ndjson", ".jsonl", ".csv", ".parquet")
_NAMES = frozenset(f"manifest{suffix}" for suffix in MANIFEST_SUFFIXES)
RESEMBLING = re.compile(r"(^|[^a-z])manifests?([^a-z]|$)")
_MOST_KEPT = 10  # names of each kind; one manifest is used, two are too many
_CURE = "or say how names are read, with a layout or a pattern"


def is_manifest(name: str) -> bool:
    """Whether a file is called as a manifest is, in capitals or not; by the end of its path."""
    return PurePosixPath(name).name.lower() in _NAMES


def resembles_manifest(name: str) -> bool:
    """Whether somebody may have meant a manifest: ``manifest.json``, ``my_manifest (1).csv``."""
    path = PurePosixPath(name)
    other = path.suffix.lower() in SUFFIXES | UNREAD
    return not other and RESEMBLING.search(path.name.lower()) is not None


@dataclass(slots=True)
class ManifestSearch:
    """Sees the names of all files, then says which one is the manifest."""

    _found: list[str] = field(default_factory=list)
    _resembling: list[str] = field(default_factory=list)
    _count: int = 0
    _common: tuple[str, ...] | None = None

    def see(self, name: str) -> None:
        """Look at a file.

        Args:
            name: path relative to where the data starts, with forward slashes. Files in hidden and
                generated folders do not count.
        """
        parts = PurePosixPath(name).parts
        if any(map(no_data, parts)):
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
        """How many files are a manifest or resemble one."""
        return self._count

    @property
    def candidates(self) -> list[str]:
        """The first files that are a manifest, then the first that resemble one."""
        return [*self._found, *self._resembling]

    def manifest(self) -> str | None:
        """The manifest's name, None where there is none.

        Raises:
            InvalidInput: there are two, or one that cannot be used; the message names it.
        """
        match self.candidates:
            case []:
                return None
            case [first, second, *_]:
                raise InvalidInput(
                    f"two manifests, {first} and {second}: name the one that counts, {_CURE}"
                )
            case [name]:
                return self._usable(name)
        raise AssertionError("a list has none, one or more")

    def unused(self, asked: str) -> list[str]:
        """What to say where something else was asked for.

        Args:
            asked: what reads the names instead.

        Returns:
            A text for each file that is a manifest or resembles one.
        """
        return [f"{name} is not used: the {asked} reads the names" for name in self.candidates[:9]]

    def _usable(self, name: str) -> str:
        if self._resembling:
            raise InvalidInput(
                f"{name} resembles a manifest but is none: call it "
                f"manifest{', '.join(MANIFEST_SUFFIXES)}, take it away, {_CURE}"
            )
        folder = PurePosixPath(name).parent.parts
        if self._common is not None and self._common[: len(folder)] != folder:
            raise InvalidInput(
                f"{name} does not speak for the pictures outside of its folder: move it up, read "
                f"its folder by itself, {_CURE}"
            )
        return name


def _shared(common: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...]:
    folder = parts[:-1]
    length = 0
    while length < min(len(common), len(folder)) and common[length] == folder[length]:
        length += 1
    return common[:length]
