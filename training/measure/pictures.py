"""Draw ranked lists: a query, and the gallery crops that it found.

Each picture shows the query at the left and the nearest gallery crops beside it. A green frame
means the query's identity, a red frame another. If the data shows real people, so do the pictures;
they are written only on request.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from service.embedding.imaging import decode
from service.errors import ReidError
from training.data.datasets import Dataset, Sample
from training.data.entries import DataError
from training.measure.evaluation import Ranking

Choice = Literal["worst", "best"]

CONTACT_SHEET = "contact-sheet.png"

_CROP = (64, 128)  # width, height
_FRAME = 4
_GAP = 6
_CAPTION = 36  # three lines
_CELL = (_CROP[0] + 2 * _FRAME + _GAP, _CROP[1] + 2 * _FRAME + _CAPTION + _GAP)
_SHEET_ROWS = 50  # a larger sheet is hard to open
_PAPER, _INK = "#ffffff", "#202020"
_RIGHT, _WRONG, _ASKED = "#1a9850", "#d73027", "#808080"


@dataclass(frozen=True, slots=True)
class _Row:
    """One query and its nearest crops: (index into the gallery, distance, correct) each."""

    query: int
    average_precision: float
    nearest: tuple[tuple[int, float, bool], ...]


def write_ranked_lists(
    folder: Path,
    rankings: Iterable[Ranking],
    dataset: Dataset,
    *,
    count: int | None = None,
    choose: Choice = "worst",
    top_k: int = 10,
) -> list[Path]:
    """Draw ranked lists: one PNG per query, and a contact sheet of the first fifty.

    File names begin with the query's average precision, so a folder lists the worst first. Queries
    without a correct image in the gallery are left out.

    Args:
        folder: where to write; created if missing. Files of the same name are replaced.
        rankings: from :func:`training.measure.evaluation.rank_gallery`.
        dataset: the data set whose ``query`` and ``gallery`` were ranked.
        count: number of queries; None draws all.
        choose: which queries come first, by average precision.
        top_k: number of gallery crops beside each query.

    Returns:
        The pictures in the order of ``choose``, then the contact sheet; empty if no query counts.

    Raises:
        DataError: a crop cannot be read, or the folder cannot be written.
    """
    rows = [_row(ranking, top_k) for ranking in rankings]
    rows = [row for row in rows if not math.isnan(row.average_precision)]
    rows.sort(key=lambda row: row.average_precision, reverse=choose == "best")
    rows = rows[:count]
    if not rows:
        return []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write(folder, rows, dataset, top_k)
    except OSError as error:
        raise DataError(f"{folder}: cannot write ranked lists: {error}") from error


def _row(ranking: Ranking, top_k: int) -> _Row:
    nearest = zip(
        ranking.gallery[:top_k].tolist(),
        ranking.distance[:top_k].tolist(),
        ranking.correct[:top_k].tolist(),
        strict=True,
    )
    return _Row(ranking.query, ranking.average_precision, tuple(nearest))


def _write(folder: Path, rows: Sequence[_Row], dataset: Dataset, top_k: int) -> list[Path]:
    sheet_rows = rows[:_SHEET_ROWS]
    width, height = (top_k + 1) * _CELL[0] + _GAP, _CELL[1] + _GAP
    sheet = Image.new("RGB", (width, len(sheet_rows) * height), _PAPER)
    paths = []
    for number, row in enumerate(rows):
        picture = Image.new("RGB", (width, height), _PAPER)
        _draw_row(picture, row, dataset)
        stem = dataset.query[row.query].path.stem
        path = folder / f"{row.average_precision:.4f}_{row.query:05d}_{stem}.png"
        picture.save(path)
        paths.append(path)
        if number < len(sheet_rows):
            sheet.paste(picture, (0, number * height))
    sheet.save(folder / CONTACT_SHEET)
    return [*paths, folder / CONTACT_SHEET]


def _draw_row(picture: Image.Image, row: _Row, dataset: Dataset) -> None:
    asked = dataset.query[row.query]
    lines = (*_labels(asked, dataset), f"AP {100 * row.average_precision:.1f} %")
    _draw_crop(picture, 0, asked, _ASKED, lines)
    for column, (index, distance, correct) in enumerate(row.nearest, start=1):
        found = dataset.gallery[index]
        lines = (*_labels(found, dataset), f"{distance:.3f}")
        _draw_crop(picture, column, found, _RIGHT if correct else _WRONG, lines)


def _labels(sample: Sample, dataset: Dataset) -> tuple[str, str]:
    names = dataset.identities
    identity = names[sample.identity] if names else str(sample.identity)
    return f"id {identity}", f"cam {dataset.cameras[sample.camera]}"


def _draw_crop(
    picture: Image.Image, column: int, sample: Sample, colour: str, lines: Sequence[str]
) -> None:
    left, top = _GAP + column * _CELL[0], _GAP
    right, bottom = left + _CROP[0] + 2 * _FRAME, top + _CROP[1] + 2 * _FRAME
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    picture.paste(_read_crop(sample.path), (left + _FRAME, top + _FRAME))
    font = ImageFont.load_default(10)
    for number, line in enumerate(lines):
        draw.text((left, bottom + 12 * number), _shorten(line), fill=_INK, font=font)


def _read_crop(path: Path) -> Image.Image:
    width, height = _CROP
    try:
        return Image.fromarray(decode(path.read_bytes(), height, width))
    except (OSError, ReidError) as error:
        raise DataError(f"{path}: {error}") from error


def _shorten(line: str, longest: int = 13) -> str:
    return line if len(line) <= longest else line[: longest - 1] + "…"
