"""Fit a finished model's threshold and probabilities on data of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.errors import InvalidInput
from service.machine.durable import replaced_file
from service.model.manifest import (
    MANIFEST_NAME,
    Accuracy,
    Calibration,
    Manifest,
    format_manifest,
    read_manifest,
)
from training.data.datasets import Dataset
from training.data.times import read_times
from training.export.card import update_card
from training.measure.calibration import (
    NO_PAIRS,
    calibrate,
    calibrate_without_labels,
    count_pairs,
)
from training.measure.cannot_match import count_apart, parse_apart
from training.measure.held_out import (
    HeldOutEmbeddings,
    embed_held_out,
    load_as,
    load_held_out,
    measure_each,
)
from training.networks.embedder import open_onnx

NEW_PEOPLE = "identities not trained on"
_PERHAPS_KNOWN = "whether the network was trained on these people is not known"


def calibrate_on(
    held_out: Sequence[HeldOutEmbeddings], false_match_rate: float, people: str = NEW_PEOPLE
) -> Calibration:
    """Calibrate on the query and gallery of labelled data sets.

    Args:
        held_out: one embedded data set or more.
        false_match_rate: share of impostor pairs that may reach the threshold, 0..1.
        people: whether the network has seen these people in training, in words.

    Returns:
        The record for the manifest.

    Raises:
        InvalidInput: the pairs allow no calibration.
    """
    pairs = NO_PAIRS
    for each in held_out:
        pairs += count_pairs(each.query, each.dataset.query, each.gallery, each.dataset.gallery)
    names = ", ".join(each.dataset.name for each in held_out)
    data = f"{names}: query and gallery across cameras, {people}"
    return calibrate(pairs, data, false_match_rate=false_match_rate)


def calibrate_model(model: Path, datasets: Sequence[Dataset], false_match_rate: float) -> Manifest:
    """Fit threshold and probabilities on labelled pairs, and measure the accuracy there.

    Args:
        model: ``models/<name>``; its manifest and card get the new figures.
        datasets: one labelled data set or more, with query and gallery.
        false_match_rate: share of impostor pairs that may reach the threshold, 0..1.

    Returns:
        The new manifest.

    Raises:
        ArtifactError: the model breaks the contract.
        InvalidInput: the data cannot be read, or allows no calibration.
    """
    manifest = read_manifest(model)
    embedder = open_onnx(model / manifest.file, manifest)
    held_out = [embed_held_out(embedder, load_held_out(each, embedder)) for each in datasets]
    people = NEW_PEOPLE if manifest.wrapped is None else _PERHAPS_KNOWN
    calibration = calibrate_on(held_out, false_match_rate, people)
    return _write(model, manifest, calibration, measure_each(held_out))


def calibrate_model_without_labels(
    model: Path, dataset: Dataset, apart: Sequence[str], within: float, false_match_rate: float
) -> Manifest:
    """Fit the threshold on pairs of crops that cannot match; identities are not read.

    Args:
        model: ``models/<name>``; its manifest and card get the new figures.
        dataset: crops with times in a manifest.
        apart: which cameras are apart, see :func:`~training.measure.cannot_match.parse_apart`.
        within: nobody gets from one of them to the other in this many seconds.
        false_match_rate: share of these pairs that may reach the threshold, 0..1.

    Returns:
        The new manifest.

    Raises:
        ArtifactError: the model breaks the contract.
        InvalidInput: the data cannot be read, or has too few such pairs.
    """
    manifest = read_manifest(model)
    far = parse_apart(apart, dataset.cameras, within)
    times = read_times(dataset.source.path)
    samples = [
        sample
        for sample in (*dataset.train, *dataset.query, *dataset.gallery)
        if sample.path in times
    ]
    if not samples:
        raise InvalidInput(f"{dataset.name}: no crop has a time in the column timestamp")
    embedder = open_onnx(model / manifest.file, manifest)
    crops = load_as(embedder, samples, skip_bad=dataset.source.skip_bad)
    cameras = np.array([sample.camera for sample in crops.samples], np.int64)
    taken = np.array([times[sample.path] for sample in crops.samples])
    counts = count_apart(embedder.embed(crops.pixels), cameras, taken, far)
    named = sorted(f"{dataset.cameras[a]} and {dataset.cameras[b]}" for a, b in far.cameras)
    data = (
        f"{dataset.name}, without labels: pairs of crops taken within {within:g} s by cameras that "
        f"were said to be too far apart for one person ({'; '.join(named)})"
    )
    calibration = calibrate_without_labels(counts, data, false_match_rate=false_match_rate)
    return _write(model, manifest, calibration, ())


def _write(
    model: Path, manifest: Manifest, calibration: Calibration, measured: tuple[Accuracy, ...]
) -> Manifest:
    """Put new figures into manifest and card; other data sets' accuracy stays."""
    names = {line.data for line in measured}
    kept = tuple(line for line in manifest.accuracy if line.data not in names)
    changes = {"calibration": calibration, "accuracy": (*kept, *measured)}
    changed = manifest.model_copy(update=changes)
    try:
        with replaced_file(model / MANIFEST_NAME) as file:
            file.write(format_manifest(changed).encode())
        update_card(model, changed)
    except OSError as error:
        raise InvalidInput(f"{model}: {error.strerror or error}") from error
    return changed
