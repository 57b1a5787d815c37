"""Measure whom arriving crops join: known people found, and strangers taken for one of them.

The script embeds the test crops of a data set. Some people are known: their crops in one camera are
in the gallery with their identity. Their crops in the other camera arrive, and all crops of the
other people, who are strangers, in a random order of tracks. A person's crops in one camera stand
in for a track: these data sets have none, and real tracks contain errors. Four ways to join:

- every crop that has an identity attracts others, also one that only joined, as before tracks;
- what joined attracts nobody;
- likewise, and crops come with their track, one crop per request;
- likewise, all crops of a track in one request.

::

    python benchmarks/joining.py --model models/NAME --data FOLDER

Without ``--data`` it draws people. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from grouping import Seen, embed

from service.cli.tables import table
from service.gallery.base import Crop
from service.gallery.disk.store import DiskGalleryStore
from service.gallery.protocol import Gallery
from service.ingest.joining import JoinRule, join_groups
from service.model.manifest import read_manifest
from training.synthetic import SyntheticOptions, synthesize

WAYS = ("what joined attracts", "crop by crop", "tracks, crop by crop", "whole tracks")
SEEDS = 3


@dataclass(frozen=True)
class Line:
    """Who joined in one way; shares are 0..1 and the mean over the seeds."""

    known: int
    way: str
    crops_found: float
    crops_wrong: float
    strangers_crops: int
    strangers_crops_joined: float
    tracks_found: float
    tracks_wrong: float
    strangers_tracks: int
    strangers_tracks_joined: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-synthetic"))
    parser.add_argument("--data", type=Path, help="Market-1501 folder; default: drawn people")
    arguments = parser.parse_args()
    rule = JoinRule.of(read_manifest(arguments.model).calibration)
    if rule is None:
        raise SystemExit(f"{arguments.model}: without a calibration no crop joins")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or synthesize(Path(temporary, "people"), SyntheticOptions()).folder
        name, seen = embed(arguments.model, folder)
    people = np.unique(seen.people)
    lines = []
    for known in (5, len(people) // 2):
        for way in WAYS:
            runs = [measure(seen, way, known, seed, rule) for seed in range(SEEDS)]
            means = np.mean(np.array(runs, float), axis=0).tolist()
            lines.append(Line(known, way, *means))
    print(f"{name}: {len(seen.crops)} crops of {len(people)} people")
    print(table(HEAD, [cells(line) for line in lines]))
    report = {"data": name, "model": str(arguments.model), "lines": [asdict(one) for one in lines]}
    print(json.dumps(report))


def measure(seen: Seen, way: str, known: int, seed: int, rule: JoinRule) -> list[float]:
    """Let everybody arrive in one way; the numbers of a :class:`Line`."""
    rng = np.random.default_rng(seed)
    friends = set(rng.permutation(np.unique(seen.people))[:known].tolist())
    tracks: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for place, (person, crop) in enumerate(zip(seen.people.tolist(), seen.crops, strict=True)):
        tracks[person, str(crop.camera)].append(place)
    first_camera = min(camera for _, camera in tracks)
    stored = [key for key in tracks if key[0] in friends and key[1] == first_camera]
    arriving = [key for key in tracks if key not in set(stored)]
    arriving = [arriving[at] for at in rng.permutation(len(arriving))]
    with tempfile.TemporaryDirectory() as temporary:
        store = DiskGalleryStore(Path(temporary), device="cpu")
        gallery = store.create("g", "0" * 64, seen.rows.shape[1])
        for person, camera in stored:
            places = tracks[person, camera]
            given = [replace(seen.crops[i], identity=str(person)) for i in places]
            gallery.upsert(given, seen.rows[places])
        for request in requests(way, [tracks[key] for key in arriving], rng):
            arrive(gallery, seen, request, way, rule)
        joined = [
            [gallery.get(seen.crops[i].crop_id).identity for i in tracks[key]] for key in arriving
        ]
        store.close()
    return judged([person for person, _ in arriving], joined, friends)


def requests(
    way: str, tracks: Sequence[Sequence[int]], rng: np.random.Generator
) -> Iterator[Sequence[int]]:
    """The places of the crops of each request; the crops of a track come in a random order."""
    for places in tracks:
        mixed = rng.permutation(places).tolist()
        if way == "whole tracks":
            yield mixed
        else:
            yield from ([place] for place in mixed)


def arrive(gallery: Gallery, seen: Seen, places: Sequence[int], way: str, rule: JoinRule) -> None:
    """Store crops, with the identity that they join."""
    crops = [tracked(seen, i) if "tracks" in way else seen.crops[i] for i in places]
    found = join_groups(gallery, crops, seen.rows[places], rule)
    if way == "what joined attracts":
        attracting = [
            replace(crop, origin="cluster") if crop.origin == "join" else crop
            for crop in found.crops
        ]
        found = replace(found, crops=attracting)
    gallery.upsert(found.crops, seen.rows[places])
    gallery.relabel(found.earlier, "join")


def tracked(seen: Seen, place: int) -> Crop:
    return replace(seen.crops[place], track=str(seen.people[place]))


def judged(
    people: Sequence[int], joined: Sequence[Sequence[str | None]], friends: set[int]
) -> list[float]:
    """Compare identities with the truth, by crop, and by track: a track is what most crops are."""
    by_crop = [(one, who) for one, crops in zip(people, joined, strict=True) for who in crops]
    by_track = [(one, most(crops)) for one, crops in zip(people, joined, strict=True)]
    numbers: list[float] = []
    for pairs in (by_crop, by_track):
        own = [(str(one), who) for one, who in pairs if one in friends]
        theirs = [who for one, who in pairs if one not in friends]
        numbers += [
            sum(one == who for one, who in own) / len(own),
            sum(who not in {None, one} for one, who in own) / len(own),
            len(theirs),
            sum(who is not None for who in theirs) / len(theirs),
        ]
    return numbers


def most(names: Sequence[str | None]) -> str | None:
    return max(sorted(set(names), key=str), key=names.count)


HEAD = ("known", "joining", *("found", "wrong", "strangers") * 2)


def cells(line: Line) -> list[str]:
    shares = (
        *(line.crops_found, line.crops_wrong, line.strangers_crops_joined),
        *(line.tracks_found, line.tracks_wrong, line.strangers_tracks_joined),
    )
    return [str(line.known), line.way, *(f"{100 * share:.0f}" for share in shares)]


if __name__ == "__main__":
    main()
