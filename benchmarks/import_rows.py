"""Measure how fast ready-made embeddings are imported, beside what the gallery alone takes.

The script writes made-up embeddings of people from several cameras as Parquet and as NDJSON, once
with numbers and once with base64. It sends each file to a service, reads the gallery's files back,
and compares every crop and embedding with those of a gallery that was filled directly. Then it
fills a gallery and imports the files in turns. A time begins with the request and ends when the
job is done, so it covers upload, reading, checking and storing; every row is then durable.

::

    python benchmarks/import_rows.py --rows 20000 --rounds 5

The exit status is 1 if an import stored something else. The last line is one JSON object: rows per
second of each way, and the gallery's time as a share of each import's.
"""

from __future__ import annotations

from service.machine.processors import one_thread_per_call

one_thread_per_call()  # as `python -m service serve` does, before NumPy is imported

import argparse  # noqa: E402
import base64  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from importing import serving  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from pyarrow import parquet  # noqa: E402

from service.client import Client  # noqa: E402
from service.gallery.base import Crop, Filter  # noqa: E402
from service.gallery.disk.store import DiskGalleryStore  # noqa: E402
from service.gallery.protocol import Gallery  # noqa: E402
from service.model.manifest import read_manifest  # noqa: E402
from service.settings import Settings  # noqa: E402

Float32s = NDArray[np.float32]

COMPARED = 600
"""Rows that are imported and compared before any time counts."""
AT_ONCE = 1000
"""Rows per call of the gallery alone."""
CAMERAS, PEOPLE = 6, 500


@dataclass(frozen=True, slots=True)
class Rows:
    """Crops and their embeddings (N, D)."""

    crops: Sequence[Crop]
    vectors: Float32s

    def first(self, count: int) -> Rows:
        """The first ``count`` rows."""
        return Rows(self.crops[:count], self.vectors[:count])


def main() -> None:
    arguments = parse()
    manifest = read_manifest(arguments.model)
    rows = made_up(arguments.rows, manifest.dimension)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        differ = wrong_imports(
            folder / "compared", rows.first(COMPARED), manifest.sha256, arguments
        )
        report = {
            "benchmark": "import_rows",
            "rows": arguments.rows,
            "dimension": manifest.dimension,
            "load": os.getloadavg()[0],
            "wrong_imports": differ,
        }
        if not differ:
            report |= in_turns(folder / "timed", rows, manifest.sha256, arguments)
    print(json.dumps(report))
    sys.exit(1 if differ else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, default=Settings().model, help="model folder")
    return parser.parse_args()


def made_up(count: int, dimension: int) -> Rows:
    """Unit rows in float32 of people before cameras."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, dimension), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    crops = [
        Crop(f"crop-{place:07d}", f"p{place % PEOPLE}", f"c{place % CAMERAS}", 1.7e9 + place)
        for place in range(count)
    ]
    return Rows(crops, vectors)


# ---- files


def as_parquet(rows: Rows, path: Path) -> None:
    """Write Parquet with embeddings as lists of float32."""
    count, dimension = rows.vectors.shape
    offsets = pa.array(np.arange(count + 1) * dimension, pa.int32())
    table = {
        "crop_id": [crop.crop_id for crop in rows.crops],
        "identity": [crop.identity for crop in rows.crops],
        "camera": [crop.camera for crop in rows.crops],
        "timestamp": [crop.timestamp for crop in rows.crops],
        "embedding": pa.ListArray.from_arrays(offsets, pa.array(rows.vectors.ravel())),
    }
    parquet.write_table(pa.table(table), path)


def as_ndjson(rows: Rows, path: Path, embedding: Callable[[Float32s], object]) -> None:
    """Write NDJSON, each embedding as ``embedding`` gives it."""
    with path.open("w", encoding="ascii") as file:
        for crop, vector in zip(rows.crops, rows.vectors, strict=True):
            row = {
                "crop_id": crop.crop_id,
                "identity": crop.identity,
                "camera": crop.camera,
                "timestamp": crop.timestamp,
                "embedding": embedding(vector),
            }
            file.write(json.dumps(row) + "\n")


def as_base64(vector: Float32s) -> str:
    """Little-endian float32 as text."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


PARQUET, NDJSON = "application/vnd.apache.parquet", "application/x-ndjson"
WAYS: dict[str, tuple[str, Callable[[Rows, Path], None]]] = {
    "parquet": (PARQUET, as_parquet),
    "ndjson_base64": (NDJSON, lambda rows, path: as_ndjson(rows, path, as_base64)),
    "ndjson_numbers": (NDJSON, lambda rows, path: as_ndjson(rows, path, np.ndarray.tolist)),
}


def write_all(rows: Rows, folder: Path) -> dict[str, Path]:
    """Write every file."""
    folder.mkdir()
    files = {name: folder / name for name in WAYS}
    for name, (_, write) in WAYS.items():
        write(rows, files[name])
    return files


# ---- the ways to store them


def fill(gallery: Gallery, rows: Rows) -> float:
    """Fill a gallery directly; return the seconds."""
    start = time.time()
    for at in range(0, len(rows.crops), AT_ONCE):
        gallery.upsert(rows.crops[at : at + AT_ONCE], rows.vectors[at : at + AT_ONCE])
    return time.time() - start


def bring_in(client: Client, gallery: str, content_type: str, file: Path, count: int) -> float:
    """Import a file; return the seconds from the request to the end of the job."""
    client.galleries.provide(gallery)
    body, start = file.read_bytes(), time.time()
    job = client.imports.upload(gallery, iter([body]), content_type=content_type)
    job = client.jobs.wait(job.job_id)
    if job.finished is None or job.counts != {"created": count}:
        raise RuntimeError(f"an import ended as {job}")
    return job.finished - start


def wrong_imports(
    folder: Path, rows: Rows, sha256: str, arguments: argparse.Namespace
) -> list[str]:
    """Import every file; name those whose gallery differs from one that was filled directly."""
    folder.mkdir()
    files = write_all(rows, folder / "files")
    with serving(folder, arguments.model) as (url, _), Client(url) as client:
        for name, (content_type, _) in WAYS.items():
            bring_in(client, name, content_type, files[name], len(rows.crops))
    store = DiskGalleryStore(folder / "data", device="cpu")
    try:
        direct = store.create("direct", sha256, rows.vectors.shape[1])
        fill(direct, rows)
        return [name for name in WAYS if not same(direct, store.open(name))]
    finally:
        store.close()


def same(direct: Gallery, imported: Gallery) -> bool:
    """Whether two galleries hold the same crops, apart from digests, and embeddings."""
    expected, found = (gallery.crops(Filter()) for gallery in (direct, imported))
    if expected != [replace(crop, digest=None) for crop in found]:
        return False
    ids = [crop.crop_id for crop in expected]
    # An import scales rows before it stores them, so they are rounded once more.
    return np.allclose(direct.embeddings(ids), imported.embeddings(ids), rtol=0, atol=1e-7)


def in_turns(
    folder: Path, rows: Rows, sha256: str, arguments: argparse.Namespace
) -> dict[str, object]:
    """Fill a new gallery and import every file, once per round."""
    folder.mkdir()
    files, count = write_all(rows, folder / "files"), len(rows.crops)
    seconds: dict[str, list[float]] = {name: [] for name in ("gallery", *WAYS)}
    store = DiskGalleryStore(folder / "alone", device="cpu")
    try:
        with serving(folder, arguments.model) as (url, _), Client(url) as client:
            for number in range(arguments.rounds):
                gallery = store.create(f"g{number}", sha256, rows.vectors.shape[1])
                seconds["gallery"].append(fill(gallery, rows))
                store.delete(gallery.name)
                for name, (content_type, _) in WAYS.items():
                    gone = f"{name}-{number}"
                    seconds[name].append(bring_in(client, gone, content_type, files[name], count))
                    client.galleries.delete(gone)
    finally:
        store.close()
    shares = {
        name: round(median(np.divide(seconds["gallery"], own).tolist()), 2)
        for name, own in seconds.items()
    }
    return {
        "rows_per_second": {name: round(count / median(own)) for name, own in seconds.items()},
        "of_the_gallery": shares,
    }


if __name__ == "__main__":
    main()
