"""A program that upserts, replaces and deletes crops, and prints each acknowledged change."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from service.gallery.base import Crop, Filter
from service.gallery.disk.store import DiskGalleryStore

DIMENSION = 16


def vector(seed: int) -> np.ndarray:
    row = np.random.default_rng(seed).standard_normal(DIMENSION)
    return (row / np.linalg.norm(row)).astype(np.float32)


def main(root: Path) -> None:
    gallery = DiskGalleryStore(root, device="cpu").create("g", "a" * 64, DIMENSION)
    print("ready", flush=True)
    for step in range(1_000_000):
        crop_id = f"{step % 37}"
        if step % 5 == 4:
            gallery.delete(Filter(crop_ids=frozenset({crop_id})))
            print("delete", step, crop_id, flush=True)
        else:
            gallery.upsert([Crop(crop_id, identity=str(step))], vector(step)[None])
            print("upsert", step, crop_id, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
