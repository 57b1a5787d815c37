"""Adapt a model to a user's own unlabelled crops."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from service.errors import InvalidInput
from training.adapt.fitting import Fit, choose_cameras, fit_clustering, keep_fit, kept_fit
from training.adapt.judge import choose_judge
from training.adapt.plan import choose_plan
from training.adapt.request import Adaptation, Request
from training.adapt.rounds import CROP_LIST, Rounds
from training.adapt.start import START_NAME, crop_size, keep_start
from training.core.checkpoint import load_checkpoint
from training.core.engine import extract_embeddings
from training.data.datasets import read_dataset
from training.data.entries import describe_skipped
from training.data.images import Images, load_images
from training.networks.building import Network, restore_network

_FEWEST = 32


def adapt(request: Request, device: torch.device, *, resume: bool = False) -> Adaptation:
    """Train in short rounds until the cameras' agreement on held-out crops no longer grows.

    Args:
        request: model, crops and folder.
        device: where the network runs.
        resume: continue the adaptation in the folder.

    Returns:
        The result.

    Raises:
        ArtifactError: an exported model cannot be read back exactly.
        InvalidInput: model, data or folder do not allow the adaptation; the message says why.
    """
    _check_free(request.output, resume=resume)
    crops = _read_crops(request)
    count, cameras = len(crops.samples), len({sample.camera for sample in crops.samples})
    config = keep_start(request, crops, device)
    start = restore_network(load_checkpoint(request.output / START_NAME)).to(device)
    kept = kept_fit(request.output, request.asked)
    judge = choose_judge(crops, start, request.asked, request.seed, device)
    fit = kept or _fit(request, crops, start, ~judge.held_out, device)
    batch = config.batch.clusters * config.batch.crops
    plan = request.change(choose_plan(int((~judge.held_out).sum()), cameras, batch, fit))
    _list_crops(request.output, crops, judge.held_out)
    tqdm.write(
        f"{request.source.path.name}: {count} crops of {cameras} cameras, "
        f"{int(judge.held_out.sum())} held out; up to {plan.rounds} rounds of {plan.epochs} x "
        f"{plan.iterations} batches"
    )
    tqdm.write(f"clustering, {'as before' if kept else 'fitted to these crops'}: {fit}")
    if cameras == 1:
        tqdm.write(
            "one camera: its crops are divided between two imaginary cameras, and agreement is "
            "measured between those"
        )
    return Rounds(request, config, plan, judge, device).run()


def _read_crops(request: Request) -> Images:
    dataset = read_dataset(request.source)
    crops = load_images(dataset.train, *crop_size(request.model), skip_bad=request.source.skip_bad)
    for line in (*describe_skipped([*dataset.skipped, *crops.skipped]), *dataset.remarks):
        tqdm.write(line)
    if len(crops.samples) < _FEWEST:
        raise InvalidInput(f"{len(crops.samples)} crops to train on, must be at least {_FEWEST}")
    return crops


def _fit(
    request: Request,
    crops: Images,
    start: Network,
    trained_on: NDArray[np.bool_],
    device: torch.device,
) -> Fit:
    """Fit the clustering to the crops to train on, and keep it for ``--resume``."""
    own = np.flatnonzero(trained_on)
    cameras = np.array([crops.samples[i].camera for i in own])
    chosen = choose_cameras(cameras, request.seed)
    embeddings = extract_embeddings(start, crops.pixels[own[chosen]], device)
    fit = fit_clustering(embeddings, cameras[chosen], request.asked)
    keep_fit(request.output, request.asked, fit)
    return fit


def _check_free(output: Path, *, resume: bool) -> None:
    if output.exists() and any(output.iterdir()) and not resume:
        raise InvalidInput(f"{output} is not empty: --resume continues, or choose another --output")


def _list_crops(output: Path, crops: Images, held_out: NDArray[np.bool_]) -> None:
    """List the crops to train on in a manifest, which has no column for an identity."""
    with (output / CROP_LIST).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "camera", "track", "frame"])
        for sample, out in zip(crops.samples, held_out, strict=True):
            if not out:
                # An unknown track or frame is -1, which a manifest reads as unknown.
                place = sample.camera, sample.track, sample.frame
                writer.writerow([sample.path.resolve(), *place])
