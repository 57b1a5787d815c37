"""Short rounds of training, each judged on crops that were not trained on."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from service.errors import InvalidInput
from service.machine.durable import replaced_file
from training.adapt.judge import Judge
from training.adapt.plan import Plan
from training.adapt.request import Adaptation, Request
from training.adapt.start import START_NAME
from training.core.checkpoint import FILE_NAME, Checkpoint, load_checkpoint, save_checkpoint
from training.core.config import TrainConfig
from training.core.options import DataOptions, EvaluationOptions, ScheduleOptions, WarmupOptions
from training.hhcl.loop import run
from training.networks.blending import blend
from training.networks.building import restore_network
from training.run.optional import UNWRITABLE, attempt

ROUNDS_NAME = "adaptation.jsonl"
CROP_LIST = "crops.csv"


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds of an adaptation: each trains on from the one before and is judged.

    Attributes:
        request: what the user asks for.
        start: the config of the start network.
        plan: how the rounds train.
        judge: compares their networks.
        device: where they run.
    """

    request: Request
    start: TrainConfig
    plan: Plan
    judge: Judge
    device: torch.device

    def run(self) -> Adaptation:
        """Train rounds until none is better for a while, and keep the result.

        Returns:
            The result.
        """
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
                if old != best:  # the next round starts from the newest
                    shutil.rmtree(self._folder(old), ignore_errors=True)
            if number - best >= self.plan.patience:
                tqdm.write(f"stopped: the last {self.plan.patience} rounds were no better")
                break
        return self._finish(best, ways[0])

    def _finish(self, best: int, start: NDArray[np.float64]) -> Adaptation:
        """Blend the best round with the start, and keep the blend if it beats the start."""
        known, found = (load_checkpoint(self._folder(number)) for number in (0, best))
        blended = blend(known, found, self.request.share)
        ways = self.judge.measure(restore_network(blended).to(self.device), self.device)
        gain, error = _gain(ways, start)
        better = best > 0 and gain > 2 * error
        checkpoint = self._keep_result(blended if better else known, best if better else 0)
        last = ways if better else start
        return Adaptation(
            checkpoint, best if better else 0, float(start.mean()), float(last.mean()), better
        )

    def _ways(self, number: int) -> NDArray[np.float64]:
        """Judge a round; train it first unless an interrupted run has done so."""
        file = self.request.output / "ways" / f"{number:02}.npy"
        if file.exists():
            known: NDArray[np.float64] = np.load(file)
            return known
        folder = self._folder(number)
        if number > 0:
            run(self._config(number), folder, self.device, resume=folder.exists())
        network = restore_network(load_checkpoint(folder)).to(self.device)
        measured = self.judge.measure(network, self.device)
        if len(measured) == 0:
            raise InvalidInput(
                "no held-out crop shares a group with another crop of its camera, so nothing shows "
                "whether the model gets better; give more crops of each person"
            )
        file.parent.mkdir(exist_ok=True)
        with replaced_file(file) as stream:
            np.save(stream, measured)
        return measured

    def _folder(self, number: int) -> Path:
        output = self.request.output
        return output / "rounds" / f"{number:02}" if number else output / START_NAME

    def _config(self, number: int) -> TrainConfig:
        plan, start = self.plan, self.start
        clustering = plan.clustering
        share = clustering.link_first + (clustering.link_last - clustering.link_first) * min(
            1.0, (number - 1) / 5
        )
        several = clustering.scheme == "camera-link"
        negatives: Literal["all", "same-camera"] = "same-camera" if several else "all"
        return replace(
            start,
            seed=self.request.seed + number,
            data=DataOptions(path=str(self.request.output / CROP_LIST), layout="manifest"),
            model=replace(start.model, weights=str(self._folder(number - 1))),
            clustering=replace(clustering, link_first=share, link_last=share),
            # The triplet loss trusts every label; pseudo-labels are less certain than identities.
            memory=replace(
                start.memory,
                negatives=negatives,
                triplet_weight=0.0,
                proxy_weight=0.5 if several else 0.0,  # soft links act on the proxies
            ),
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
        """Save the result as a run's checkpoint, whose config names the user's data and model."""
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


def _gain(new: NDArray[np.float64], old: NDArray[np.float64]) -> tuple[float, float]:
    """Mean gain over the same ways, and its standard error."""
    difference = new - old
    return float(difference.mean()), float(difference.std() / math.sqrt(len(difference)))


def _list_rounds(output: Path, ways: list[NDArray[np.float64]]) -> None:
    """Write all rounds so far, one line each."""
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
