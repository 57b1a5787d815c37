"""Draw a contact sheet: one row per person, one block of columns per camera."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from service.errors import InvalidInput
from training.data.benchmark_sets import list_market1501
from training.data.entries import Record

GAP, HEADER = 6, 18
PAPER, INK = (255, 255, 255), (60, 60, 60)
COLOURS = 256

Shelf = dict[tuple[int, int], list[Path]]


def contact_sheet(folder: Path, path: Path, *, people: int = 5, crops: int = 3) -> None:
    """Draw a PNG with people as rows and cameras as columns.

    Args:
        folder: a data set in the layout of Market-1501 whose pictures all have the same size.
        path: the PNG to write.
        people: maximum number of rows, lowest identities first.
        crops: pictures per person and camera.

    Raises:
        InvalidInput: the folder contains no pictures of people.
    """
    shelf = _collect(folder)
    identities = sorted({identity for identity, _ in shelf})[:people]
    cameras = sorted({camera for _, camera in shelf})
    if not identities:
        raise InvalidInput(f"{folder}: no pictures of people")
    with Image.open(shelf[next(iter(shelf))][0]) as first:
        width, height = first.size
    block = crops * width + GAP
    sheet_size = len(cameras) * block - GAP, HEADER + len(identities) * (height + GAP) - GAP
    sheet = Image.new("RGB", sheet_size, PAPER)
    write, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for column, camera in enumerate(cameras):
        write.text((column * block, 2), f"camera {camera}", fill=INK, font=font)
        for row, identity in enumerate(identities):
            for index, file in enumerate(shelf[identity, camera][:crops]):
                with Image.open(file) as crop:
                    place = column * block + index * width, HEADER + row * (height + GAP)
                    sheet.paste(crop, place)
    # A palette makes the file a third as large, and drawn people still look the same.
    small = sheet.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=2)
    small.save(path, "PNG", optimize=True)


def _collect(folder: Path) -> Shelf:
    """Group files by identity and camera, without distractors and junk."""
    shelf: Shelf = defaultdict(list)
    for entry in list_market1501(folder):
        if isinstance(entry, Record) and isinstance(entry.identity, int) and entry.identity > 0:
            shelf[entry.identity, int(entry.camera)].append(entry.path)
    for files in shelf.values():
        files.sort(key=lambda file: file.name)
    return shelf
