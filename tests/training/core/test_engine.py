"""Optimisers, and embeddings that do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from torch import nn

from training.core.distributed import World
from training.core.engine import (
    build_learner,
    build_optimiser,
    build_scheduler,
    embed_together,
    extract_embeddings,
)
from training.core.options import ScheduleOptions
from training.core.pixels import Pixels

CPU = torch.device("cpu")


class Mean(nn.Module):
    """Colour means, of unit length; one parameter learns and one does not."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.fixed = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, images):
        return nn.functional.normalize(images.mean(dim=(2, 3)) * self.scale, dim=1)


@pytest.mark.parametrize("batch", [1, 7, None])
def test_row_i_belongs_to_image_i_whatever_the_batch(batch):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 4, 3), dtype=np.uint8)
    network = Mean().train()
    found = extract_embeddings(network, images, CPU, batch=batch)
    assert found.dtype == np.float32
    assert not network.training
    alone = [extract_embeddings(network, images[i : i + 1], CPU)[0] for i in range(40)]
    np.testing.assert_allclose(found, alone, atol=1e-6)
    np.testing.assert_array_equal(
        embed_together(network, Pixels(images, CPU), World(CPU)),
        extract_embeddings(network, images, CPU),
    )


def test_the_optimisers_are_those_of_the_papers():
    network = Mean()
    adam = build_optimiser(network, ScheduleOptions(), CPU)
    assert isinstance(adam, torch.optim.Adam)
    assert [len(group["params"]) for group in adam.param_groups] == [1]
    schedule = ScheduleOptions(optimiser="sgd", learning_rate=0.1, weight_decay=0.0)
    sgd = build_optimiser(network, schedule, CPU)
    assert isinstance(sgd, torch.optim.SGD)
    # Nesterov with momentum 0.9: two steps of gradient 1 move by 0.1 * (1.9 + 2.71).
    for _ in range(2):
        network.scale.grad = torch.ones(3)
        sgd.step()
    torch.testing.assert_close(network.scale.detach(), torch.full((3,), 1 - 0.461))


def test_alone_and_uncompiled_the_network_itself_is_trained():
    network = Mean()
    assert build_learner(network, ScheduleOptions(), World(CPU)).forward is network


def rates_of(scheduler, optimiser, epochs: int) -> list[float]:
    rates = []
    for _ in range(epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"step": 2, "decay": 0.5}, [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]),
        (
            {"step": 3, "decay": 0.5, "rate_warmup": 3},
            [0.025, 0.05, 0.075, 0.05, 0.05, 0.05],
        ),
        ({"shape": "cosine"}, [0.1, 0.0933013, 0.075, 0.05, 0.025, 0.0066987]),
        (
            {"shape": "cosine", "rate_warmup": 2},
            [0.1 / 3, 0.2 / 3, 0.1, 0.0853553, 0.05, 0.0146447],
        ),
    ],
)
@pytest.mark.parametrize("resumed", [None, 1, 2, 5])
def test_the_learning_rate_follows_the_schedule_also_when_resumed(options, wanted, resumed):
    schedule = ScheduleOptions(learning_rate=0.1, epochs=6, **options)
    optimiser = build_optimiser(Mean(), schedule, CPU)
    scheduler = build_scheduler(optimiser, schedule)
    rates = rates_of(scheduler, optimiser, resumed or 6)
    if resumed:
        again = build_optimiser(Mean(), schedule, CPU)
        continued = build_scheduler(again, schedule)
        again.load_state_dict(optimiser.state_dict())
        continued.load_state_dict(scheduler.state_dict())
        rates += rates_of(continued, again, 6 - resumed)
    assert rates == pytest.approx(wanted, abs=1e-6)


def test_the_papers_schedules_are_torchs_steps():
    schedule = ScheduleOptions()
    scheduler = build_scheduler(build_optimiser(Mean(), schedule, CPU), schedule)
    assert isinstance(scheduler, torch.optim.lr_scheduler.StepLR)


def test_a_warm_up_longer_than_the_run_is_rejected():
    with pytest.raises(ValueError, match=r"rate_warmup is 6, must be below epochs = 6"):
        ScheduleOptions(epochs=6, rate_warmup=6)
