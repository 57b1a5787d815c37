"""Measure how long the service takes to load a gallery into memory, and to fill it.

The script writes a gallery of random unit rows in batches, as an import does. A separate process
then opens it as the service does at start-up. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np

from service.gallery.base import Crop, Filter
from service.gallery.disk.store import DiskGalleryStore

MODEL = "0" * 64
NAME = "benchmark"
TIMED = 10_000


def main() -> None:
    options = arguments()
    if options.open is not None:
        print(json.dumps(opened(options.open)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = {
            "benchmark": "gallery_start",
            "crops": options.crops,
            "dimension": options.dimension,
            **filled(Path(folder), options.crops, options.dimension, options.batch),
        }
        if options.cold:
            result["cold"] = drop_cache(Path(folder))
        program = [sys.executable, __file__, "--open", folder]
        answer = subprocess.run(program, check=True, capture_output=True, text=True)
        result |= json.loads(answer.stdout.splitlines()[-1])
    print(json.dumps(result))


def arguments() -> Any:
    parser = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    parser.add_argument("--crops", type=int, default=10_000)
    parser.add_argument(
        "--dimension",
        type=int,
        default=1280,
        help="length of an embedding; the shipped model has 1280",
    )
    parser.add_argument("--batch", type=int, default=1000, help="crops per write")
    parser.add_argument("--folder", help="folder for the temporary gallery")
    parser.add_argument(
        "--cold", action="store_true", help="read from the disk, not from the page cache"
    )
    parser.add_argument("--open", type=Path, help="only open the galleries of this data folder")
    return parser.parse_args()


def filled(root: Path, count: int, dimension: int, batch: int) -> dict[str, float]:
    """Write a gallery: the first crops as an import does, timed; the others only to the file."""
    rng, seconds, timed = np.random.default_rng(0), 0.0, min(count, TIMED)
    store = DiskGalleryStore(root, device="cpu")
    gallery = store.create(NAME, MODEL, dimension)
    for start in range(0, count, batch):
        stop = min(start + batch, count)
        rows = rng.standard_normal((stop - start, dimension), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        crops = [crop(number) for number in range(start, stop)]
        begun = time.perf_counter()
        if stop <= timed:
            gallery.upsert(crops, rows)
            seconds += time.perf_counter() - begun
        else:
            gallery.database.upsert(crops, rows, None)
    store.close()
    return {"write_seconds": round(seconds, 2), "crops_per_second": round(timed / seconds)}


def crop(number: int) -> Crop:
    """Return metadata of the usual size."""
    return Crop(
        crop_id=f"2026-11-21/camera-{number % 16}/{number:08d}.jpg",
        identity=f"{number % 5000:05d}" if number % 4 else None,
        camera=f"c{number % 16}",
        timestamp=1.79e9 + number,
        digest=f"{number:064x}",
    )


def opened(root: Path) -> dict[str, float]:
    """Open the store as the service does at start-up."""
    begun, worked = time.perf_counter(), time.process_time()
    store = DiskGalleryStore(root, device="cpu")
    seconds, worked = time.perf_counter() - begun, time.process_time() - worked
    gallery = store.open(NAME)
    query = gallery.embeddings([crop(0).crop_id])
    assert gallery.query(query, 1, Filter())[0][0].crop.crop_id == crop(0).crop_id
    stats = gallery.stats()
    store.close()
    return {
        "start_seconds": round(seconds, 2),
        "start_processor_seconds": round(worked, 2),
        "served": stats.crops,
        "damaged": stats.damaged,
        "memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def drop_cache(root: Path) -> bool:
    """Drop the files from the system's page cache."""
    for path in root.rglob("*.sqlite3"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


if __name__ == "__main__":
    main()
