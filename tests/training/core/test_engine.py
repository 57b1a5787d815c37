"""Optimisers, and embeddings that do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from torch import nn

from training.core.distributed import World
from training.core.engine import build_learner, build_optimiser, embed_together, extract_embeddings
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
