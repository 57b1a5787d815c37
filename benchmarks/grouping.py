"""Measure how well a gallery groups itself: right pairs, groups and people, time and memory.

The script embeds the test crops of a data set, hides their identities, and groups them as
``POST /galleries/{gallery}/cluster`` does. A pair of crops in one group is right if both show one
person. It measures every line twice: with all crops, and with half of the people seen only once, so
that they belong to no group; and the default once with tracks, for which a person's crops in one
camera stand in. Then it labels half of the people, all but one crop of each person in each camera.
The remaining crops and those of strangers arrive: which identity do they join?

::

    python benchmarks/grouping.py --model models/NAME --data FOLDER
    python benchmarks/grouping.py --large 10000

Without ``--data`` it draws people. ``--large N`` groups N made-up embeddings of the model's length
instead, and reports seconds and the growth of memory.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from service.cli.tables import table
from service.gallery.base import Crop
from service.gallery.disk.store import DiskGalleryStore
from service.identities.clustering import ClusterRule, group_crops
from service.ingest.joining import JoinRule, join_groups
from service.model.manifest import read_manifest
from training.measure.held_out import embed_held_out, load_held_out, read_held_out
from training.networks.embedder import open_embedder
from training.synthetic import SyntheticOptions, synthesize

Float32s = NDArray[np.float32]


@dataclass(frozen=True)
class Line:
    """One rule on one set of crops; shares are 0..1."""

    rule: str
    crops: int
    people: int
    groups: int
    precision: float
    recall: float
    f1: float
    ari: float
    outliers: float


@dataclass(frozen=True)
class Joins:
    """The outcome for arriving crops; shares are 0..1."""

    rule: str
    known: int
    right: float
    wrong: float
    strangers: int
    strangers_wrong: float


@dataclass(frozen=True)
class Seen:
    """Crops and their identities, which the grouping does not see."""

    crops: list[Crop]
    rows: Float32s
    people: NDArray[np.int64]


def main() -> None:
    arguments = parse()
    if arguments.large:
        print(json.dumps(measure_large(arguments.large, read_manifest(arguments.model).dimension)))
        return
    manifest = read_manifest(arguments.model)
    threshold = -1.0 if manifest.calibration is None else manifest.calibration.threshold
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or synthesize(Path(temporary, "people"), SyntheticOptions()).folder
        name, seen = embed(arguments.model, folder)
    lines = {
        kind: [measure(name, rule, those) for name, rule in rules(threshold)]
        for kind, those in {"all crops": seen, "half seen once": thinned(seen)}.items()
    }
    lines["with tracks"] = [
        measure(name, rule, tracked(seen)) for name, rule in rules(threshold)[:1]
    ]
    for kind, measured in lines.items():
        print(f"{name}, {kind}: {measured[0].crops} crops of {measured[0].people} people")
        print(table(HEAD, [cells(line) for line in measured]))
    joins = []
    if (rule := JoinRule.of(manifest.calibration)) is not None:
        joins = measure_joins(seen, rule)
        print("arriving crops of known people and of strangers")
        print(table(JOIN_HEAD, [join_cells(line) for line in joins]))
    report = {
        "model": manifest.name,
        "data": name,
        "joins": [asdict(line) for line in joins],
        "lines": {kind: [asdict(line) for line in measured] for kind, measured in lines.items()},
    }
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-mobilenetv2"))
    parser.add_argument("--data", type=Path, help="Market-1501 folder; default: drawn people")
    parser.add_argument(
        "--large", type=int, help="time the grouping of this many made-up crops instead"
    )
    return parser.parse_args()


def rules(threshold: float) -> list[tuple[str, ClusterRule]]:
    """Return the default rule, and rules with one change each."""
    default = ClusterRule(min_score=threshold)
    return [
        (f"default: eps {default.eps}, min_samples {default.min_samples}", default),
        *((f"eps {eps}", replace(default, eps=eps)) for eps in (0.4, 0.45, 0.55, 0.6)),
        *((f"min_samples {count}", replace(default, min_samples=count)) for count in (3, 4)),
        ("not standardised", replace(default, standardise=False)),
        ("any cosine", replace(default, min_score=-1.0)),
        ("k1 30, k2 6", replace(default, k1=30, k2=6)),
    ]


def embed(model: Path, folder: Path) -> tuple[str, Seen]:
    """Return the data set's name, and its embedded query and gallery."""
    (dataset,) = read_held_out([folder])
    embedder = open_embedder(model, torch.device("cpu"))
    held_out = embed_held_out(embedder, load_held_out(dataset, embedder))
    samples = [*held_out.dataset.query, *held_out.dataset.gallery]
    crops = [Crop(f"{i:06d}", camera=str(sample.camera)) for i, sample in enumerate(samples)]
    rows = np.concatenate([held_out.query, held_out.gallery])
    return dataset.name, Seen(crops, rows, np.array([sample.identity for sample in samples]))


def thinned(seen: Seen) -> Seen:
    """Leave every second person only one crop."""
    rng = np.random.default_rng(0)
    kept = np.ones(len(seen.crops), bool)
    for person in np.unique(seen.people)[::2]:
        own = np.flatnonzero(seen.people == person)
        kept[own] = False
        kept[rng.choice(own)] = True
    places = np.flatnonzero(kept)
    return Seen([seen.crops[i] for i in places], seen.rows[places], seen.people[places])


def tracked(seen: Seen) -> Seen:
    """Let a person's crops in one camera be a track."""
    who = zip(seen.crops, seen.people.tolist(), strict=True)
    return replace(seen, crops=[replace(crop, track=str(person)) for crop, person in who])


def measure(name: str, rule: ClusterRule, seen: Seen) -> Line:
    grouping = group_crops(seen.crops, seen.rows, rule, known=())
    # Each crop without a group counts as a separate group.
    found = [grouping.labels[crop.crop_id] or crop.crop_id for crop in seen.crops]
    people = seen.people.tolist()
    right = pairs(list(zip(found, people, strict=True)))
    precision, recall = right / max(pairs(found), 1), right / max(pairs(people), 1)
    return Line(
        rule=name,
        crops=len(found),
        people=len(set(people)),
        groups=grouping.persons,
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / max(precision + recall, 1e-9),
        ari=float(adjusted_rand_score(people, found)),
        outliers=grouping.outliers / len(found),
    )


def measure_joins(seen: Seen, rule: JoinRule) -> list[Joins]:
    """Let one crop per person and camera join the remaining crops of the known half."""
    order = np.random.default_rng(0).permutation(len(seen.crops)).tolist()
    first = {(int(seen.people[i]), seen.crops[i].camera): i for i in reversed(order)}
    arriving = sorted(first.values())
    known = set(np.unique(seen.people)[1::2].tolist())
    stored = [i for i in order if i not in set(arriving) and int(seen.people[i]) in known]
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        store = DiskGalleryStore(Path(temporary), device="cpu")
        gallery = store.create("known", "0" * 64, seen.rows.shape[1])
        gallery.upsert(
            [replace(seen.crops[i], identity=str(seen.people[i])) for i in stored],
            seen.rows[stored],
        )
        for name, one in (("the default", rule), ("the threshold alone", replace(rule, lead=0.0))):
            crops = [seen.crops[i] for i in arriving]
            joined = join_groups(gallery, crops, seen.rows[arriving], one).crops
            lines.append(judge(name, [int(seen.people[i]) for i in arriving], joined, known))
        store.close()
    return lines


def judge(name: str, people: Sequence[int], joined: Sequence[Crop], known: set[int]) -> Joins:
    """Compare the joined identities with the true ones."""
    mine = [(str(one), crop.identity) for one, crop in zip(people, joined, strict=True)]
    theirs = [identity for one, identity in mine if int(one) not in known]
    own = [entry for entry in mine if int(entry[0]) in known]
    return Joins(
        rule=name,
        known=len(own),
        right=sum(one == identity for one, identity in own) / len(own),
        wrong=sum(identity not in {None, one} for one, identity in own) / len(own),
        strangers=len(theirs),
        strangers_wrong=sum(identity is not None for identity in theirs) / len(theirs),
    )


def pairs(labels: Sequence[object]) -> int:
    """Count the pairs of equal labels."""
    return sum(count * (count - 1) // 2 for count in Counter(labels).values())


def measure_large(count: int, dimension: int) -> dict[str, float]:
    """Time the grouping of made-up crops, ten per person on four cameras, and measure memory."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((-(-count // 10), dimension), np.float32)
    rows = np.repeat(centres, 10, axis=0)[:count]
    rows += 0.7 * rng.standard_normal(rows.shape, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    crops = [Crop(f"{i:06d}", camera=f"c{i % 4}") for i in range(count)]
    before, start = resident(), time.perf_counter()
    grouping = group_crops(crops, rows, ClusterRule(min_score=0.3), known=())
    seconds = time.perf_counter() - start
    return {
        "crops": count,
        "dimension": dimension,
        "persons": grouping.persons,
        "seconds": round(seconds, 1),
        "embeddings_mib": round(rows.nbytes / 2**20),
        "grown_mib": round(resident() - before),
    }


def resident() -> float:
    """Return the peak memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


HEAD = ("", "groups", "precision", "recall", "F1", "ARI", "outliers")


JOIN_HEAD = ("joining", "known", "right", "wrong", "strangers", "wrong")


def join_cells(line: Joins) -> list[str]:
    own = [f"{100 * share:.0f}" for share in (line.right, line.wrong)]
    theirs = f"{100 * line.strangers_wrong:.0f}"
    return [line.rule, str(line.known), *own, str(line.strangers), theirs]


def cells(line: Line) -> list[str]:
    shares = (line.precision, line.recall, line.f1, line.ari, line.outliers)
    return [line.rule, str(line.groups), *(f"{100 * share:.1f}" for share in shares)]


if __name__ == "__main__":
    main()
