"""The config decides which network is built, and with which weights it starts."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.core.checkpoint import Checkpoint, save_checkpoint
from training.core.config import TrainConfig, read_config
from training.hhcl.network import EmbeddingNetwork
from training.networks.building import new_network, restore_network
from training.scl.network import PartNetwork

SMALL = {"model.backbone": "resnet18", "model.weights": "none"}


def config(**changes: object) -> TrainConfig:
    return read_config(None, SMALL | changes)


def checkpoint_of(settings: TrainConfig, network: torch.nn.Module) -> Checkpoint:
    return Checkpoint(1, settings, network.state_dict(), {}, {})


@pytest.mark.parametrize(("method", "kind"), [("hhcl", EmbeddingNetwork), ("scl", PartNetwork)])
def test_each_method_has_its_own_network(method, kind):
    settings = config(method=method)
    network = new_network(settings)
    assert type(network) is kind
    assert network.training
    restored = restore_network(checkpoint_of(settings, network))
    assert type(restored) is kind
    assert not restored.training
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(restored.state_dict()[name], tensor, rtol=0, atol=0)


def test_an_earlier_run_gives_the_start_weights(tmp_path):
    earlier = new_network(config())
    save_checkpoint(tmp_path, checkpoint_of(config(), earlier))
    for weights in (tmp_path, tmp_path / "checkpoint.pt"):
        started = new_network(config(), weights=str(weights))
        for name, tensor in earlier.state_dict().items():
            torch.testing.assert_close(started.state_dict()[name], tensor, rtol=0, atol=0)


def test_start_weights_of_another_network_are_an_error(tmp_path):
    save_checkpoint(tmp_path, checkpoint_of(config(), new_network(config())))
    with pytest.raises(InvalidInput, match="its network differs from this run's"):
        new_network(config(method="scl"), weights=str(tmp_path))


@pytest.mark.parametrize("method", ["hhcl", "scl"])
def test_frozen_stages_keep_weights_and_statistics_and_the_others_learn(method):
    settings = config(**{"method": method, "model.weights": "w.pt", "model.frozen_stages": 5})
    network = new_network(settings, weights="none")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    learning = [each for each in network.parameters() if each.requires_grad]
    optimiser = torch.optim.SGD(learning, lr=0.1)
    network.eval().train()
    torch.manual_seed(0)
    network(torch.randn(4, 3, 64, 32))[:, 0].sum().backward()
    optimiser.step()
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[1] for name in changed if name.startswith("features.")} >= {"5"}
    assert not any(name.startswith(tuple(f"features.{i}." for i in range(5))) for name in changed)


def test_frozen_stages_leave_names_and_embeddings_as_they_are():
    plain = new_network(config())
    frozen = new_network(
        config(**{"model.weights": "w.pt", "model.frozen_stages": 3}), weights="none"
    )
    frozen.load_state_dict(plain.state_dict())
    crops = torch.randn(2, 3, 64, 32)
    torch.testing.assert_close(frozen.eval()(crops), plain.eval()(crops), rtol=0, atol=0)


def test_frozen_stages_have_to_exist_and_to_know_something():
    with pytest.raises(InvalidInput, match="frozen_stages = 9: this backbone has 8 stages"):
        new_network(config(**{"model.weights": "w.pt", "model.frozen_stages": 9}), weights="none")
    with pytest.raises(InvalidInput, match="frozen_stages is 2, must be 0 if weights is none"):
        config(**{"model.frozen_stages": 2})
