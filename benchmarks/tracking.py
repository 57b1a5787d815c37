"""Measure how well persons are found, followed and chosen on frames whose truth is known.

The script looks at the frames of ``python -m training scenes`` with the service's own functions. It
compares the detector's boxes with the truth, follows the people on them (and on the true boxes) at
5 and at 2 frames per second, and searches the stored crops across cameras: all of them, those that
pass the gate, and those that thinning keeps.

::

    python -m training scenes SCENES --cameras 3 --seconds 60 --fps 5
    python benchmarks/tracking.py --scenes SCENES

Without ``--scenes`` it films two cameras for six seconds, which needs the extra ``people`` and
takes a minute or two; nobody comes to both cameras, so there is nothing to search.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from following.frames import Found, TruePerson, look, read_frames
from following.searching import Stored, searched, stored

from service.cli.tables import table
from service.detection.onnx_detector import OnnxDetector
from service.embedding.onnx_embedder import OnnxEmbedder
from service.tracking.options import TrackerOptions
from service.tracking.scoring import Following, Scene, hits, score
from service.tracking.tracker import Tracker
from training.synthetic.scenes import SceneOptions, make_scenes

SMALL = SceneOptions(12, 2, seconds=6, fps=5, people_per_minute=40, height=360, width=640)
VISIBLE = 0.25  # whoever is seen less neither has to be found nor counts as a false alarm
BINS = (0.25, 0.5, 0.75, 0.9, 1.001)
RATES = (5.0, 2.0)


@dataclass(frozen=True)
class Recall:
    """Share of people found, of those whose visibility lies between two bounds."""

    visible_from: float
    people: int
    recall: float


@dataclass(frozen=True)
class Line:
    """One way to follow."""

    boxes: str
    rate: float
    following: Following
    tracker_ms: float


def main() -> None:
    arguments = parse()
    detector = OnnxDetector(arguments.detector, device="cpu", threads=1)
    embedder = OnnxEmbedder(arguments.model, device="cpu", threads=1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.scenes
        if folder is None:
            folder = Path(temporary, "scenes")
            make_scenes(folder, SMALL)
        frames = [frame for frame in read_frames(folder) if kept(frame.camera, arguments.cameras)]
        found = list(look(frames, detector, embedder, TrackerOptions().low))
    report = measure(found, detector.manifest.score)
    print(json.dumps(report | {"detector": detector.manifest.name, "frames": len(found)}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--scenes", type=Path, help="folder of `training scenes`")
    parser.add_argument("--cameras", nargs="*", help="only these, such as camera-02")
    parser.add_argument("--detector", type=Path, default=Path("models/nanodet-person"))
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-synthetic"))
    return parser.parse_args()


def kept(camera: str, wanted: Sequence[str] | None) -> bool:
    return not wanted or camera in wanted


def measure(found: Sequence[Found], least: float) -> dict[str, object]:
    """Measure everything, and print it as tables."""
    recalls, precision = detection(found, least)
    print(table(("visibility from", "people", "recall"), [_cells(one) for one in recalls]))
    lines = [
        follow(found, boxes, rate)
        for boxes in ("truth", "detector", "detector, embeddings")
        for rate in RATES
    ]
    print(table(HEAD, [cells(line) for line in lines]))
    searches = searched(stored(found, least))
    print(table(Stored.head(), [one.cells() for one in searches]))
    seconds = sorted(one.seconds for one in found)
    return {
        "detection": {
            "score": least,
            "precision": precision,
            "by_visibility": [asdict(one) for one in recalls],
            "ms_per_frame": 1000 * seconds[len(seconds) // 2],
        },
        "following": [asdict(line) for line in lines],
        "stored": [asdict(one) for one in searches],
    }


def detection(found: Sequence[Found], least: float) -> tuple[list[Recall], float]:
    """Recall by visibility, and precision, of the boxes above a score."""
    seen: list[tuple[float, bool]] = []
    right = boxes = 0
    for one in found:
        said = [person.box for person in one.persons if person.score > least]
        people = one.frame.people
        on = {theirs: ours for ours, theirs in hits(said, [person.box for person in people])}
        seen += [(person.visibility, place in on) for place, person in enumerate(people)]
        right += sum(people[place].visibility >= VISIBLE for place in on)
        boxes += len(said) - sum(people[place].visibility < VISIBLE for place in on)
    recalls = []
    for begin, end in pairwise(BINS):
        inside = [hit for visibility, hit in seen if begin <= visibility < end]
        recalls.append(Recall(begin, len(inside), sum(inside) / max(1, len(inside))))
    return recalls, right / max(1, boxes)


def follow(found: Sequence[Found], boxes: str, rate: float) -> Line:
    """Follow the people of every camera at a rate of frames."""
    scenes: list[Scene] = []
    seconds = 0.0
    for camera in sorted({one.frame.camera for one in found}):
        tracker = Tracker(f"{camera}-")
        for one in at_rate([one for one in found if one.frame.camera == camera], rate):
            people = [person for person in one.frame.people if person.visibility >= VISIBLE]
            said = [(person.box, person.score) for person in one.persons]
            if boxes == "truth":
                said = [(person.box, 1.0) for person in people]
            began = time.perf_counter()
            names = tracker.update(
                one.frame.seconds,
                [box for box, _ in said],
                [value for _, value in said],
                one.embeddings if "embeddings" in boxes else None,
            )
            seconds += time.perf_counter() - began
            named = {name: box for name, (box, _) in zip(names, said, strict=True) if name}
            scenes.append(scene(camera, people, one.frame.people, named))
    return Line(boxes, rate, score(scenes), 1000 * seconds / len(scenes))


def at_rate(found: Sequence[Found], rate: float) -> list[Found]:
    """The frames nearest to a steady clock of a lower rate, so steps may differ."""
    times = np.array([one.frame.seconds for one in found])
    wanted = np.arange(0.0, times[-1] + 1e-6, 1.0 / rate)
    places = np.unique(np.abs(times[None] - wanted[:, None]).argmin(axis=1))
    return [found[place] for place in places.tolist()]


def scene(
    camera: str,
    people: Sequence[TruePerson],
    everybody: Sequence[TruePerson],
    named: dict[str, object],
) -> Scene:
    """The truth and the names of a frame, without boxes on people who hardly show."""
    truth = {f"{camera}/{person.track}": person.box for person in people}
    names = list(named)
    on = {place for place, _ in hits(list(named.values()), list(truth.values()))}
    hidden = [person.box for person in everybody if person.visibility < VISIBLE]
    rest = [place for place in range(len(names)) if place not in on]
    left = {rest[place] for place, _ in hits([named[names[at]] for at in rest], hidden)}
    said = {name: named[name] for place, name in enumerate(names) if place not in left}
    return Scene(dict(truth), dict(said))


HEAD = ("boxes", "frames/s", "IDF1", "switches", "fragments", "recall", "people", "names", "ms")


def cells(line: Line) -> list[str]:
    one = line.following
    shares = [f"{100 * share:.1f}" for share in (one.idf1, one.recall)]
    return [
        *(line.boxes, f"{line.rate:g}", shares[0], str(one.switches), str(one.fragments)),
        *(shares[1], str(one.people), str(one.names), f"{line.tracker_ms:.2f}"),
    ]


def _cells(one: Recall) -> list[str]:
    return [f"{one.visible_from:g}", str(one.people), f"{100 * one.recall:.1f}"]


if __name__ == "__main__":
    main()
