"""From a model and somebody's own unlabelled crops to a better model of their cameras."""

from __future__ import annotations

import csv
import json
import math
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from service.errors import InvalidInput
from service.model.manifest import MANIFEST_NAME, read_manifest
from training.adapt.panel import Panel, choose_panel
from training.adapt.plan import Plan, choose_clustering, choose_plan
from training.core.checkpoint import (
    FILE_NAME,
    Checkpoint,
    Network,
    load_checkpoint,
    restore_network,
    save_checkpoint,
)
from training.core.config import TrainConfig
from training.core.options import DataOptions, EvaluationOptions, ScheduleOptions, WarmupOptions
from training.data.layouts import describe_skipped
from training.data.samples import DataSource, Images, load_images, read_dataset
from training.export.onnx_weights import read_exported
from training.hhcl.loop import run
from training.run.optional import UNWRITABLE, attempt

ROUNDS_NAME = "adaptation.jsonl"
_LIST = "crops.csv"

_FEWEST = 32


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How it ended.

    Attributes:
        checkpoint: the network to use, the start's where no round was better.
        best: its round; 0 is the start.
        start: cycle agreement of the start on the held-out crops.
        agreement: of the result.
        better: whether the gain is more than twice its standard error.
    """

    checkpoint: Path
    best: int
    start: float
    agreement: float
    better: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for.

    Attributes:
        model: a run's folder, a checkpoint file, or an exported ``models/<name>``.
        source: the crops; only those to train on are read, and no identity.
        output: the adaptation's folder.
        rounds: instead of the plan's.
        learning_rate: instead of the plan's.
        share: of the adapted weights in the result, 0..1; the rest is the start's.
        seed: source of every choice.
    """

    model: Path
    source: DataSource
    output: Path
    rounds: int | None = None
    learning_rate: float | None = None
    share: float = 0.5
    seed: int = 1

    def change(self, plan: Plan) -> Plan:
        """The plan as this person wants it."""
        rate = plan.learning_rate if self.learning_rate is None else self.learning_rate
        return replace(plan, rounds=self.rounds or plan.rounds, learning_rate=rate)


def adapt(request: Request, device: torch.device, *, resume: bool = False) -> Adaptation:
    """Train in short rounds for as long as cameras agree better on crops not trained on.

    Args:
        request: model, crops and folder.
        device: where the network runs.
        resume: continue what the folder holds.

    Returns:
        How it ended.

    Raises:
        ArtifactError: an exported model cannot be read back exactly.
        InvalidInput: model, data or folder do not allow it; the message says why.
    """
    _check_free(request.output, resume=resume)
    dataset = read_dataset(request.source)
    crops = load_images(dataset.train, *_size_of(request.model), skip_bad=request.source.skip_bad)
    for line in describe_skipped([*dataset.skipped, *crops.skipped]):
        tqdm.write(line)
    for remark in dataset.remarks:
        tqdm.write(remark)
    if len(crops.samples) < _FEWEST:
        raise InvalidInput(f"{len(crops.samples)} crops to train on, must be at least {_FEWEST}")
    cameras = len({sample.camera for sample in crops.samples})
    config = _keep_start(request, crops, device)
    start = restore_network(load_checkpoint(request.output / "start")).to(device)
    grouping = choose_clustering(len(crops.samples), cameras)
    panel = choose_panel(crops, start, grouping, request.seed, device)
    batch = config.batch.clusters * config.batch.crops
    plan = request.change(choose_plan(int((~panel.held).sum()), cameras, batch))
    _list_crops(request.output, crops, panel.held)
    tqdm.write(
        f"{request.source.path.name}: {len(crops.samples)} crops of {cameras} cameras, "
        f"{int(panel.held.sum())} held out; up to {plan.rounds} rounds of {plan.epochs} x "
        f"{plan.iterations} batches"
    )
    if cameras == 1:
        tqdm.write("one camera: its crops are dealt to two, and agreement is measured between them")
    return _Rounds(request, config, plan, panel, device).run()


@dataclass(frozen=True, slots=True)
class _Rounds:
    request: Request
    start: TrainConfig
    plan: Plan
    panel: Panel
    device: torch.device

    def run(self) -> Adaptation:
        output = self.request.output
        ways: list[NDArray[np.float64]] = []
        best = 0
        for number in range(self.plan.rounds + 1):
            ways.append(self._ways(number))
            best = int(np.argmax([each.mean() for each in ways]))
            _tell(ways, self.plan.rounds)
            listing = partial(_list_rounds, output, ways)
            attempt(f"{ROUNDS_NAME} cannot be written", listing, tqdm.write, UNWRITABLE)
            for old in range(1, number):
                if old != best:  # the newest is where the next round starts
                    shutil.rmtree(self._folder(old), ignore_errors=True)
            if number - best >= self.plan.patience:
                tqdm.write(f"no better for {self.plan.patience} rounds: stopped")
                break
        return self._finish(best, ways[0])

    def _finish(self, best: int, start: NDArray[np.float64]) -> Adaptation:
        """Blend the best round with the start, and keep that if it is better than the start."""
        known, found = (load_checkpoint(self._folder(number)) for number in (0, best))
        blended = blend(known, found, self.request.share)
        ways = self.panel.measure(restore_network(blended).to(self.device), self.device)
        gain, error = _gain(ways, start)
        better = best > 0 and gain > 2 * error
        checkpoint = self._keep_result(blended if better else known, best if better else 0)
        last = ways if better else start
        return Adaptation(
            checkpoint, best if better else 0, float(start.mean()), float(last.mean()), better
        )

    def _ways(self, number: int) -> NDArray[np.float64]:
        """Of a round; it is trained unless that is done already."""
        file = self.request.output / "ways" / f"{number:02}.npy"
        if file.exists():
            known: NDArray[np.float64] = np.load(file)
            return known
        folder = self._folder(number)
        if number > 0:
            run(self._config(number), folder, self.device, resume=folder.exists())
        network = restore_network(load_checkpoint(folder)).to(self.device)
        measured = self.panel.measure(network, self.device)
        if len(measured) == 0:
            raise InvalidInput(
                "no held-out crop has another of its group in its camera: nothing tells whether "
                "the model gets better; give more crops of each person"
            )
        file.parent.mkdir(exist_ok=True)
        unfinished = file.with_suffix(".unfinished.npy")
        np.save(unfinished, measured)
        unfinished.replace(file)
        return measured

    def _folder(self, number: int) -> Path:
        output = self.request.output
        return output / "rounds" / f"{number:02}" if number else output / "start"

    def _config(self, number: int) -> TrainConfig:
        plan, start = self.plan, self.start
        clustering = plan.clustering
        share = clustering.link_first + (clustering.link_last - clustering.link_first) * min(
            1.0, (number - 1) / 5
        )
        several = clustering.scheme == "camera-link"
        return replace(
            start,
            seed=self.request.seed + number,
            data=DataOptions(path=str(self.request.output / _LIST), layout="manifest"),
            model=replace(start.model, weights=str(self._folder(number - 1))),
            clustering=replace(clustering, link_first=share, link_last=share),
            memory=replace(start.memory, negatives="same-camera" if several else "all"),
            warmup=WarmupOptions(),
            schedule=replace(
                ScheduleOptions(),
                epochs=plan.epochs,
                iterations=plan.iterations,
                learning_rate=plan.learning_rate,
                weight_decay=start.schedule.weight_decay,
            ),
            evaluation=EvaluationOptions(every=0),
        )

    def _keep_result(self, result: Checkpoint, best: int) -> Path:
        """The result as a run's checkpoint, its config naming what the person gave."""
        given = load_checkpoint(self._folder(0)).config
        epochs = best * self.plan.epochs
        config = replace(
            result.config,
            data=given.data,
            model=replace(result.config.model, weights=given.model.weights),
            seed=self.request.seed,
            schedule=replace(result.config.schedule, epochs=max(1, epochs)),
        )
        save_checkpoint(self.request.output, replace(result, epoch=epochs, config=config))
        return self.request.output / FILE_NAME


def blend(start: Checkpoint, adapted: Checkpoint, share: float) -> Checkpoint:
    """The straight line between two networks (WiSE-FT, Wortsman et al., CVPR 2022).

    Half way, most of what adaptation won is there and most of what it forgot is back.

    Args:
        start: before.
        adapted: after, of the same shape.
        share: of the adapted weights, 0..1.

    Returns:
        The adapted checkpoint with the blended network.
    """
    network = {
        name: start.network[name] + share * (value - start.network[name])
        if value.is_floating_point()
        else value
        for name, value in adapted.network.items()
    }
    return replace(adapted, network=network)


def _gain(new: NDArray[np.float64], old: NDArray[np.float64]) -> tuple[float, float]:
    """Mean gain over the same ways, and its standard error."""
    difference = new - old
    return float(difference.mean()), float(difference.std() / math.sqrt(len(difference)))


def _list_rounds(output: Path, ways: list[NDArray[np.float64]]) -> None:
    """All rounds so far, a line each."""
    text = "".join(json.dumps(_round(ways, number)) + "\n" for number in range(len(ways)))
    (output / ROUNDS_NAME).write_text(text, encoding="utf-8")


def _round(ways: list[NDArray[np.float64]], number: int) -> dict[str, float]:
    gain, error = _gain(ways[number], ways[0])
    return {
        "round": number,
        "agreement": float(ways[number].mean()),
        "gain": gain,
        "error": error,
    }


def _tell(ways: list[NDArray[np.float64]], rounds: int) -> None:
    last = _round(ways, len(ways) - 1)
    told = f"agreement {last['agreement']:.3f}"
    if last["round"] == 0:
        tqdm.write(f"start        | {told} on held-out crops")
    else:
        mark = " | best so far" if len(ways) - 1 == np.argmax([e.mean() for e in ways]) else ""
        tqdm.write(
            f"round {last['round']:>3}/{rounds} | {told} | "
            f"{last['gain']:+.3f} +- {last['error']:.3f} against the start{mark}"
        )


def _check_free(output: Path, *, resume: bool) -> None:
    if output.exists() and any(output.iterdir()) and not resume:
        raise InvalidInput(f"{output} is not empty: --resume continues, or choose another --output")


def _is_exported(model: Path) -> bool:
    return (model / MANIFEST_NAME).exists()


def _size_of(model: Path) -> tuple[int, int]:
    if _is_exported(model):
        manifest = read_manifest(model)
        return manifest.input_height, manifest.input_width
    size = load_checkpoint(model).config.model
    return size.height, size.width


def _keep_start(request: Request, crops: Images, device: torch.device) -> TrainConfig:
    """Write the start network as a run's checkpoint, or check the one that lies there."""
    folder = request.output / "start"
    source = request.source
    data = DataOptions(
        path=str(source.path),
        layout=source.layout,
        pattern=source.pattern,
        skip_bad=source.skip_bad,
    )
    if (folder / FILE_NAME).exists():
        given = load_checkpoint(folder).config
        asked = (data, str(request.model), request.seed)
        if (given.data, given.model.weights, given.seed) != asked:
            raise InvalidInput(
                f"{request.output} was started from {given.model.weights} with the crops in "
                f"{given.data.path} and seed {given.seed}; resume with the same"
            )
        return given
    config, network = _read_start(request.model, crops, device)
    if config.method != "hhcl":
        raise InvalidInput(f"{request.model}: method {config.method}; only hhcl can be adapted")
    config = replace(
        config,
        data=data,
        model=replace(config.model, weights=str(request.model)),
        seed=request.seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder, Checkpoint(0, config, network.state_dict(), {}, {}))
    return config


def _read_start(model: Path, crops: Images, device: torch.device) -> tuple[TrainConfig, Network]:
    if _is_exported(model):
        return read_exported(model, crops.pixels, device=device)
    checkpoint = load_checkpoint(model)
    return checkpoint.config, restore_network(checkpoint)


def _list_crops(output: Path, crops: Images, held: NDArray[np.bool_]) -> None:
    """The crops to train on as a manifest: it has no column for an identity."""
    with (output / _LIST).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "camera"])
        for sample, out in zip(crops.samples, held, strict=True):
            if not out:
                writer.writerow([sample.path.resolve(), sample.camera])
