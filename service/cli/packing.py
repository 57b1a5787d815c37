"""Pack files of this machine into tar archives for imports; they are streamed."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from service.client import tar_stream
from service.ingest.crop_names import CropFile
from service.ingest.picture_files import SUFFIXES
from service.values.timestamps import as_input

_MAX_CROPS = 2000
_MAX_BYTES = 256 << 20
_MANIFEST = "manifest.ndjson"
_HEADER = 3 * 512  # a header, the padding behind the data, and its share of the manifest


@dataclass(slots=True)
class Part:
    """Files that are sent in one archive.

    Attributes:
        files: the members, by their names in the archive.
        size: bytes of the archive, rounded up.
        key: idempotency key, so that a part whose answer was lost can be sent again.
    """

    files: dict[str, CropFile] = field(default_factory=dict)
    size: int = 0
    key: str = field(default_factory=lambda: secrets.token_hex(16))

    def add(self, file: CropFile, size: int) -> None:
        """Append a file of ``size`` bytes."""
        # Our own names, because those of files may be absolute or too long for a tar header.
        suffix = file.path.suffix.lower()
        self.files[f"{len(self.files):06}{suffix if suffix in SUFFIXES else ''}"] = file
        self.size += size + _HEADER

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive; a file that has gone is left out, and the service reports it."""
        yield from tar_stream.member(_MANIFEST, _manifest(self.files))
        for name, file in self.files.items():
            try:
                data = file.path.read_bytes()
            except OSError:
                continue
            yield from tar_stream.member(name, data)
        yield tar_stream.END


def pack(files: Iterable[tuple[CropFile, int]], max_bytes: int) -> Iterator[Part]:
    """Divide files into parts of at most 2,000 crops and 256 MiB each.

    Args:
        files: with their sizes in bytes.
        max_bytes: largest archive that the service accepts.

    Yields:
        Parts that are not empty.
    """
    most = min(_MAX_BYTES, max_bytes - 16 * _HEADER)
    part = Part()
    for file, size in files:
        if part.files and (len(part.files) == _MAX_CROPS or part.size + size + _HEADER > most):
            yield part
            part = Part()
        part.add(file, size)
    if part.files:
        yield part


def _manifest(files: dict[str, CropFile]) -> bytes:
    rows: Sequence[dict[str, object]] = [
        {
            "path": name,
            "crop_id": file.crop.crop_id,
            "identity": file.crop.identity,
            "camera": file.crop.camera,
            "track": file.crop.track,
            "timestamp": None if file.crop.timestamp is None else as_input(file.crop.timestamp),
        }
        for name, file in files.items()
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
