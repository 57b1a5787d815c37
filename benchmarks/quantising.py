"""How much faster a quantised model is than its float model, in one run and on one thread.

Quantises a model on drawn people (``python -m training quantize`` in a temporary folder), compares
the embeddings of both, and then runs them in turns: one crop, and batches of 32.

::

    python benchmarks/quantising.py
    python benchmarks/quantising.py --model models/hhcl-mobilenetv2 --rounds 100

Prints one JSON object as its last line. Ratios above 1 mean that the quantised model is faster.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.model.manifest import read_manifest
from training.data.datasets import Dataset, DataSource, read_dataset
from training.data.images import load_images
from training.export.quantising import QuantiseOptions, quantise_model
from training.synthetic import SyntheticOptions, synthesize

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (1, 32)
PEOPLE = SyntheticOptions(identities=60, cameras=4, crops=3, height=160, width=80, seed=1)


def drawn(folder: Path) -> Dataset:
    """Drawn people, with training crops, query and gallery."""
    synthesize(folder, PEOPLE)
    return read_dataset(DataSource(folder))


def opened(model: Path, threads: int) -> onnxruntime.InferenceSession:
    """A model's network on the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    file = model / read_manifest(model).file
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def medians(
    sessions: Sequence[onnxruntime.InferenceSession], crops: NDArray[np.uint8], rounds: int
) -> list[float]:
    """Median milliseconds of each session, run in turns."""
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(rounds):
        for session, own in zip(sessions, times, strict=True):
            begun = time.perf_counter()
            session.run(None, {"images": crops})
            own.append(1000 * (time.perf_counter() - begun))
    return [float(np.median(own)) for own in times]


def main() -> None:
    """Quantise, compare, measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models/hhcl-synthetic")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    with TemporaryDirectory() as temporary:
        dataset, model = drawn(Path(temporary) / "people"), Path(temporary) / "int8"
        manifest = quantise_model(chosen.model, [dataset], model, QuantiseOptions("int8"))
        sessions = [opened(chosen.model, chosen.threads), opened(model, chosen.threads)]
        size = (manifest.input_height, manifest.input_width)
        crops = load_images(dataset.query[: max(BATCHES)], *size, resize=manifest.resize).pixels
        embeddings = [session.run(None, {"images": crops})[0] for session in sessions]
        cosine = float(np.einsum("nd,nd->n", *embeddings).mean())
        assert cosine >= 0.95, f"the two models disagree: mean cosine {cosine:.4f}"
        result: dict[str, object] = {"model": manifest.name, "cosine": round(cosine, 4)}
        for batch in BATCHES:
            full, eight = medians(sessions, crops[:batch], chosen.rounds)
            print(f"batch {batch}: float {full:.2f} ms, 8 bits {eight:.2f} ms")
            result[f"faster_at_{batch}"] = round(full / eight, 2)
    assert manifest.quantised is not None
    result["convolutions"] = [manifest.quantised.convolutions, manifest.quantised.kept]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
