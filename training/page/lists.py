"""Draw ranked lists for the page: a query and the crops that it found."""

from __future__ import annotations

import base64
import math
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from training.measure.evaluation import Ranking, rank_gallery
from training.measure.held_out import HeldOutEmbeddings
from training.measure.pictures import write_ranked_lists

_EACH = 3
_TOP = 10


@dataclass(frozen=True, slots=True)
class RankedList:
    """The ranked list of one query.

    Attributes:
        text: what the picture shows, in words.
        source: the picture as a ``data:`` URL.
        width: in pixels.
        height: in pixels.
    """

    text: str
    source: str
    width: int
    height: int


def draw_lists(held_out: HeldOutEmbeddings) -> list[RankedList]:
    """Draw the three worst and the three best queries, by average precision.

    Args:
        held_out: embedded query and gallery.

    Returns:
        The lists, worst first.

    Raises:
        DataError: a crop cannot be read, or the data set cannot be evaluated.
    """
    data = held_out.dataset
    rankings = [
        ranking
        for ranking in rank_gallery(held_out.query, data.query, held_out.gallery, data.gallery)
        if not math.isnan(ranking.average_precision)
    ]
    rankings.sort(key=lambda ranking: ranking.average_precision)
    worst = _draw(held_out, rankings[:_EACH])
    best = rankings[max(_EACH, len(rankings) - _EACH) :]
    return worst + _draw(held_out, best)


def _draw(held_out: HeldOutEmbeddings, rankings: list[Ranking]) -> list[RankedList]:
    if not rankings:
        return []
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_ranked_lists(Path(folder), rankings, held_out.dataset, top_k=_TOP)
        return [
            _inline(picture, _describe(ranking))
            for ranking, picture in zip(rankings, pictures[:-1], strict=True)
        ]


def _describe(ranking: Ranking) -> str:
    top = ranking.correct[:_TOP]
    return (
        f"Average precision {100 * ranking.average_precision:.1f} %: {int(top.sum())} of the first "
        f"{len(top)} show the same person, the first of them at rank {ranking.first_hit}"
    )


def _inline(file: Path, text: str) -> RankedList:
    buffer = BytesIO()
    with Image.open(file) as picture:
        picture.save(buffer, "WEBP", quality=80)
        width, height = picture.size
    data = base64.b64encode(buffer.getvalue()).decode()
    return RankedList(text, f"data:image/webp;base64,{data}", width, height)
