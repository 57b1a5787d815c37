"""Measure what each knob of three-dimensional people costs a model, on people it has never seen.

The same identities are made once as they are, once with each knob off and once with each knob
turned up; the model's cross-camera mAP is measured on each. Needs the extra ``people``.

::

    python benchmarks/synthetic_knobs.py

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from synthetic_people import model_embeddings, score

from training.data.datasets import DataSource, read_dataset
from training.synthetic import SyntheticOptions, synthesize
from training.synthetic.bodies.knobs import Knobs, parse_knobs

# Off (or the least), and strong.
TURNS = {
    "people.alike": ("0", "1"),
    "people.accessories": ("0", "3"),
    "people.shift": ("0", "1"),
    "scene.passers_by": ("0", "3"),
    "scene.occlusion": ("0", "1"),
    "scene.daylight": ("0", "3"),
    "scene.backdrop": ("0", "3"),
    "picture.exposure": ("0", "3"),
    "picture.levels": ("0", "1"),
    "picture.colour": ("0", "3"),
    "picture.blur": ("0", "3"),
    "picture.noise": ("0", "3"),
    "picture.compression": ("0", "3"),
    "picture.low_resolution": ("0", "3"),
    "picture.box": ("0", "3"),
    "picture.tightness": ("0", "1"),
}


def main() -> None:
    arguments = parse()
    plain = measure(Knobs(), arguments)
    print(f"{'as they are':28s} {plain:.3f}")
    figures: dict[str, dict[str, float]] = {}
    for knob, (off, strong) in TURNS.items():
        figures[knob] = {
            name: round(measure(parse_knobs({knob: value}), arguments), 4)
            for name, value in (("off", off), ("strong", strong))
            if parse_knobs({knob: value}) != Knobs()
        }
        print(f"{knob:28s} {figures[knob]}", flush=True)
    report = {
        "data": f"bodies, {arguments.people} identities, {arguments.cameras} cameras, "
        f"2 crops, seed {arguments.seed}",
        "model": arguments.model.name,
        "cross_camera_map": {"plain": round(plain, 4), **figures},
    }
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-synthetic"))
    parser.add_argument("--people", type=int, default=60, help="identities")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2, help="that make the people")
    return parser.parse_args()


def measure(knobs: Knobs, arguments: argparse.Namespace) -> float:
    """Return the model's cross-camera mAP on people made with these knobs."""
    options = SyntheticOptions(
        identities=arguments.people,
        cameras=arguments.cameras,
        crops=2,
        seed=arguments.seed,
        train_share=0.02,
        height=160,
        width=80,
        kind="bodies",
        knobs=knobs,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "people")
        synthesize(folder, options, processes=arguments.processes)
        dataset = read_dataset(DataSource(folder))
        return score(dataset, model_embeddings(dataset, arguments.model))["mAP"]


if __name__ == "__main__":
    main()
