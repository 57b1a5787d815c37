"""Search the crops that a gate and thinning leave across cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from following.frames import Found
from numpy.typing import NDArray

from service.tracking.gate import Gate
from service.tracking.scoring import hits
from service.tracking.thinning import Thinner
from service.tracking.tracker import Tracker
from service.values.quality import Quality
from training.data.datasets import Sample
from training.data.entries import DataError
from training.measure.evaluation import evaluate

VISIBLE = 0.25
NOBODY = 0
"""The identity of a crop that shows no person; it stays in the gallery."""


@dataclass(frozen=True)
class CropOf:
    """A crop that could be stored."""

    identity: int
    camera: int
    seconds: float
    track: str | None
    quality: Quality
    embedding: NDArray[np.float32]


@dataclass(frozen=True)
class Stored:
    """What is stored, and how well it is found again across cameras.

    Attributes:
        what: which crops are stored.
        crops: how many.
        nobody: how many of them show no person.
        people: how many different people they show.
        rank1: of the stored crops as queries, in the crops of other cameras; None if nobody was
            seen by two cameras.
        map: the same.
        rank1_of_all: with all crops as queries.
        map_of_all: the same.
    """

    what: str
    crops: int
    nobody: int
    people: int
    rank1: float | None
    map: float | None
    rank1_of_all: float | None
    map_of_all: float | None

    @staticmethod
    def head() -> tuple[str, ...]:
        """The columns of the table."""
        return (
            *("stored", "crops", "nobody", "people"),
            *("rank-1", "mAP", "rank-1 of all", "mAP of all"),
        )

    def cells(self) -> list[str]:
        """A row of the table."""
        shares = (self.rank1, self.map, self.rank1_of_all, self.map_of_all)
        numbers = (self.crops, self.nobody, self.people)
        texts = ["-" if share is None else f"{100 * share:.1f}" for share in shares]
        return [self.what, *map(str, numbers), *texts]


def stored(found: Sequence[Found], least: float) -> list[CropOf]:
    """Every person above a score, with the track and the truth."""
    crops: list[CropOf] = []
    for number, camera in enumerate(sorted({one.frame.camera for one in found})):
        tracker = Tracker(f"{camera}-")
        for one in (one for one in found if one.frame.camera == camera):
            boxes = [person.box for person in one.persons]
            names = tracker.update(
                one.frame.seconds, boxes, [person.score or 0.0 for person in one.persons]
            )
            seen = [person for person in one.frame.people if person.visibility >= VISIBLE]
            on = {ours: seen[at].identity for ours, at in hits(boxes, [p.box for p in seen])}
            crops += [
                CropOf(
                    on.get(place, NOBODY),
                    number,
                    one.frame.seconds,
                    names[place],
                    one.qualities[place],
                    one.embeddings[place],
                )
                for place, person in enumerate(one.persons)
                if (person.score or 0.0) > least
            ]
    return crops


def searched(crops: Sequence[CropOf]) -> list[Stored]:
    """Search what is stored in several ways."""
    passed = gated(crops)
    ways = {
        "all": list(crops),
        "gate": passed,
        "thinning": thinned(crops, looks=True),
        "gate, thinning by time": thinned(passed, looks=False),
        "gate, thinning": thinned(passed, looks=True),
    }
    for least in (0.2, 0.4, 0.6):
        ways[f"min_quality {least}"] = [one for one in crops if one.quality.value >= least]
    return [_searched(what, kept, crops) for what, kept in ways.items()]


def gated(crops: Sequence[CropOf]) -> list[CropOf]:
    """The crops that pass; prints why the others do not."""
    gate = Gate()
    passed = [crop for crop in crops if gate.check(crop.quality) is None]
    print("dropped by the gate:", gate.dropped)
    return passed


def thinned(crops: Sequence[CropOf], *, looks: bool) -> list[CropOf]:
    """The crops that thinning keeps; persons without a track are not stored."""
    kept: list[CropOf] = []
    for camera in sorted({crop.camera for crop in crops}):
        thinner = Thinner[CropOf]()
        for crop in (crop for crop in crops if crop.camera == camera and crop.track):
            embedding = crop.embedding if looks else None
            thinner.add(str(crop.track), crop, crop.quality.value, crop.seconds, embedding)
            kept += [one.item for one in thinner.finished(crop.seconds)]
        kept += [one.item for one in thinner.flush()]
    return kept


def _searched(what: str, kept: Sequence[CropOf], crops: Sequence[CropOf]) -> Stored:
    people = {crop.identity for crop in kept} - {NOBODY}
    nobody = sum(crop.identity == NOBODY for crop in kept)
    own, every = _accuracy(kept, kept), _accuracy(crops, kept)
    return Stored(what, len(kept), nobody, len(people), *own, *every)


def _accuracy(
    queries: Sequence[CropOf], gallery: Sequence[CropOf]
) -> tuple[float, float] | tuple[None, None]:
    queries = [crop for crop in queries if crop.identity != NOBODY]
    try:
        scores = evaluate(
            _rows(queries),
            _samples(queries),
            _rows(gallery),
            _samples(gallery),
            protocol="cross-camera",
        )
    except DataError:
        return None, None
    return scores.cmc(1), scores.map


def _rows(crops: Sequence[CropOf]) -> NDArray[np.float32]:
    return np.array([crop.embedding for crop in crops], dtype=np.float32)


def _samples(crops: Sequence[CropOf]) -> list[Sample]:
    return [Sample(Path(), crop.identity, crop.camera) for crop in crops]
