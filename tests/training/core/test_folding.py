"""Folding a normalisation into its convolution changes the time, and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from training.core.backbone import PartlyFrozen, build_stages
from training.core.folding import FoldedStages, fold_norms
from training.hhcl.network import GhostBatchNorm2d, build_network


def settled(network: nn.Module, seed: int = 1) -> nn.Module:
    """Give normalisations statistics and weights unlike those of a new network."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.running_var, module.weight):
                values.data.uniform_(0.5, 2.0, generator=generator)
            for values in (module.running_mean, module.bias):
                values.data.uniform_(-0.2, 0.2, generator=generator)
    return network


def norms_in(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("backbone", "left"), [("mobilenet_v2", 1), ("resnet18", 1), ("resnet50", 1)]
)
def test_a_folded_network_computes_the_same(backbone, left):
    """Only the neck's normalisation, which follows the pooling, is left."""
    network = settled(build_network(backbone, weights="none"))
    folded = fold_norms(network)
    assert norms_in(folded) == left
    assert network.training
    assert not folded.training
    with torch.no_grad():
        torch.testing.assert_close(folded(images(3)), network.eval()(images(3)))


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18"])
def test_the_network_stays_as_it_was(backbone):
    """Its modules, their modes and tensors; only folded convolutions have weights of their own."""
    network = settled(build_network(backbone, weights="none"))
    before = copy.deepcopy(network)
    modes = {name: module.training for name, module in network.named_modules()}
    folded = fold_norms(network)
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert not set(folded.modules()) & set(network.modules())
    assert list(network.state_dict()) == list(before.state_dict())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name])


def test_a_module_that_occurs_twice_is_folded_once():
    twice = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
    network = settled(nn.Sequential(twice, twice)).eval()
    folded = fold_norms(network)
    assert folded[0] is folded[1]
    with torch.no_grad():
        torch.testing.assert_close(folded(images(2)), network(images(2)))


def test_halves_with_instance_norm_stay():
    network = settled(build_network("resnet50_ibn", weights="none"))
    folded = fold_norms(network)
    assert 0 < norms_in(folded) < norms_in(network)
    with torch.no_grad():
        torch.testing.assert_close(folded(images(2)), network.eval()(images(2)))


class Backwards(nn.Sequential):
    """Runs its layers in another order than a sequence does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[0](self[1](x))


def test_layers_in_another_order_stay():
    network = settled(Backwards(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))).eval()
    folded = fold_norms(network)
    assert norms_in(folded) == 1
    with torch.no_grad():
        torch.testing.assert_close(folded(images(2)), network(images(2)))


def test_the_copy_does_not_touch_the_network():
    network = settled(nn.Sequential(nn.Conv2d(3, 4, 3), GhostBatchNorm2d(4, group=2)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    FoldedStages(network.eval())(images(40))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def changed_in_place(stages: nn.Module) -> None:
    with torch.no_grad():
        for weight in stages.parameters():
            weight.mul_(1.1)


def loaded_anew(stages: nn.Module) -> None:
    stages.load_state_dict(settled(copy.deepcopy(stages), seed=3).state_dict())


@pytest.mark.parametrize("change", [changed_in_place, loaded_anew, nn.Module.float])
def test_frozen_stages_train_as_if_nothing_were_folded(change):
    """Same maps and gradients, also after the weights were replaced."""
    stages = settled(build_stages("mobilenet_v2", weights="none", last_stride=2).features)
    partly = PartlyFrozen(stages, 5).double().train()  # batch statistics magnify rounding
    partly(images(20).double())
    change(partly)
    partly.double()

    def gradients(maps: torch.Tensor) -> list[torch.Tensor]:
        partly.zero_grad()
        maps.square().mean().backward()
        return [each.grad.clone() for each in partly.parameters() if each.requires_grad]

    features = inputs = images(20).double()
    for stage in partly:
        features = stage(features)
    torch.testing.assert_close(partly(inputs), features)
    wanted, found = gradients(features), gradients(partly(inputs))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_copy_of_frozen_stages_is_on_its_own():
    stages = settled(build_stages("mobilenet_v2", weights="none", last_stride=2).features)
    first = PartlyFrozen(stages, 5).train()
    maps = first(images(8))
    second = copy.deepcopy(first)
    changed_in_place(first)
    torch.testing.assert_close(second(images(8)), maps)
    assert list(second.state_dict()) == list(stages.state_dict())
