"""Several processes learn what one process would: rows, losses, weights, running statistics."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from torch import nn

from service.errors import InvalidInput
from training.core.camera_colours import mix_palette
from training.core.distributed import World, open_world
from training.core.engine import Batch, build_learner, embed_together
from training.core.method_options import MemoryOptions
from training.core.options import AugmentOptions, ScheduleOptions
from training.core.pixels import Pixels
from training.core.transforms import Donors
from training.hhcl.loop import train_one_epoch
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.network import GhostBatchNorm2d
from training.hhcl.sampler import identity_batches

CPU = torch.device("cpu")
SHARE = 8  # crops of one process: two clusters of four
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


class Tiny(nn.Module):
    """Two convolutions and a neck with ghost groups of one process's share."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, bias=False),
            GhostBatchNorm2d(8, SHARE),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, bias=False),
        )
        self.neck = GhostBatchNorm2d(16, SHARE)

    def forward(self, images):
        return nn.functional.normalize(self.neck(self.features(images).mean(dim=(2, 3))), dim=1)


def learn(world: World, *, clusters: int = 4, compiled: bool = False) -> dict:
    """Three batches of an epoch; everything a process holds afterwards."""
    rng = np.random.default_rng(5)
    torch.manual_seed(5)
    crops = rng.integers(0, 256, (41, 24, 12, 3), dtype=np.uint8)
    labels, cameras = np.arange(41) % 6, np.arange(41) // 6 % 2
    pixels, network = Pixels(crops, CPU), Tiny()
    # SGD: Adam turns the rounding of a gradient near zero into a whole step.
    schedule = ScheduleOptions(optimiser="sgd", learning_rate=0.05, average=0.5)
    learner = build_learner(network, schedule, world, compiled=compiled)
    before = embed_together(network, pixels, world)
    memory = build_memory(ClusteredCrops(before, labels, cameras), MemoryOptions(), 4, rng, CPU)
    palette = mix_palette(pixels, cameras, np.zeros_like(cameras), print)
    assert palette is not None
    assert learner.average is not None
    drawn = identity_batches(
        labels, cameras, clusters_per_batch=clusters, crops_per_cluster=4, iterations=3, rng=rng
    )
    batches = (
        Batch(
            pixels.take(i[world.share(len(i), 4)]),
            labels[i],
            cameras[i],
            4,
            Donors(palette, cameras[i]),
        )
        for i in drawn
    )
    options = AugmentOptions(padding=2, brightness=0.2, camera_colours=0.5)
    loss = train_one_epoch(learner, memory, batches, options, rng)
    return {
        "before": torch.from_numpy(before),
        "loss": torch.tensor(loss),
        "hard": memory.hard,
        "mean": memory.mean,
        "next draw": torch.tensor(rng.random()),
        **network.state_dict(),
        **{f"average {k}": v for k, v in learner.average.network.state_dict().items()},
    }


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> list[dict]:
    """The results of each of two processes."""
    folder = tmp_path_factory.mktemp("ranks")
    result = subprocess.run(
        [*TORCHRUN, __file__, str(folder)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("spoken") == 1
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("split", ["even", "uneven"])
def test_two_processes_end_like_one(two_processes, split):
    """An uneven split has other ghost groups than one process, so only ranks are compared."""
    first, second = (held[split] for held in two_processes)
    for name, value in second.items():
        torch.testing.assert_close(value, first[name], rtol=0, atol=1e-6, msg=name)
    if split == "even":
        for name, value in learn(World(CPU)).items():
            torch.testing.assert_close(first[name], value, rtol=0, atol=1e-5, msg=name)


def test_an_uneven_gather_keeps_every_row_and_counts_it_once(two_processes):
    for rank, held in enumerate(two_processes):
        np.testing.assert_array_equal(held["gathered"], np.arange(10.0))
        # d/dx of sum(x^2), for this process's own rows only
        np.testing.assert_array_equal(
            held["gradient"], 2 * np.arange(10.0)[World(CPU, rank, 2).share(10, 2)]
        )


def test_ghost_groups_change_the_result_of_this_comparison():
    """If groups of another size gave the same result, the comparison above could not fail."""
    one = learn(World(CPU))
    other = learn(World(CPU), clusters=3)
    assert (one["neck.running_mean"] - other["neck.running_mean"]).abs().max() > 1e-3


def test_shares_are_whole_clusters_in_order():
    worlds = [World(CPU, rank, 3) for rank in range(3)]
    assert worlds[0].sizes(64, 4) == [20, 20, 24]
    assert [w.share(64, 4) for w in worlds] == [slice(0, 20), slice(20, 40), slice(40, 64)]
    assert World(CPU).share(7) == slice(0, 7)


def test_a_single_process_exchanges_nothing():
    with open_world(CPU) as world, world.together():
        assert world.from_first(max, 1, 2) == 2
        assert world.first
    rows = torch.ones(2)
    assert world.gather(rows, 2) is rows
    with pytest.raises(InvalidInput, match="told"), world.together():
        raise InvalidInput("told")


def test_compiling_changes_neither_names_nor_results():
    plain, compiled = learn(World(CPU)), learn(World(CPU), compiled=True)
    assert list(plain) == list(compiled)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.path=missing"], "missing"),
        (["batch.clusters=1"], "batch.clusters = 1 for 2 processes: each process needs"),
    ],
)
def test_an_error_is_one_line_with_any_number_of_processes(tmp_path, changes, message):
    settings = [part for text in ["data.path=x", *changes] for part in ("--set", text)]
    command = ["-m", "training", "train", "--device", "cpu", "--output", str(tmp_path / "run")]
    result = subprocess.run(
        [*TORCHRUN, *command, *settings, "--set", "model.weights=none"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode != 0
    told = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert message in told[0]
    # torchrun itself reports which process ended; none of them ended in a traceback of ours
    assert "training/" not in result.stderr


def main(folder: Path) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    with open_world(CPU) as world:
        print("spoken")  # only by the first process
        own = torch.arange(10.0)[world.share(10, 2)].requires_grad_()
        gathered = world.gather(own, 10, 2)
        (gathered**2).sum().backward()
        held = {"even": learn(world), "uneven": learn(world, clusters=3)}
        held |= {"gathered": gathered.detach(), "gradient": own.grad}
        torch.save(held, folder / f"{world.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
