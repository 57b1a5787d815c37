"""Forward passes in bfloat16: where, how close to float32, and what stays float32."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from torch import nn

from training.core.config import read_config
from training.core.distributed import World
from training.core.engine import Batch, build_learner, embed_together
from training.core.method_options import MemoryOptions
from training.core.options import AugmentOptions, ScheduleOptions
from training.core.pixels import Pixels
from training.core.precision import number_type
from training.hhcl import loop
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.network import EmbeddingNetwork, GhostBatchNorm2d

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LABELS, CAMERAS = np.repeat(np.arange(4), 4), np.arange(16) % 2
WIDTHS = (3, 8, 16)


def small_network() -> EmbeddingNetwork:
    torch.manual_seed(2)
    stages = [
        nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), GhostBatchNorm2d(o, 64), nn.ReLU())
        for i, o in pairwise(WIDTHS)
    ]
    return EmbeddingNetwork(nn.Sequential(*stages), WIDTHS[-1], "gem")


def note_types(network: EmbeddingNetwork) -> dict[str, set]:
    """The types that go into the neck and come out of the backbone, from now on."""
    seen: dict[str, set] = {"map": set(), "neck": set()}
    network.features.register_forward_hook(lambda *a: seen["map"].add(a[2].dtype))
    network.neck.register_forward_hook(lambda *a: seen["neck"].add(a[1][0].dtype))
    return seen


def crops() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (16, 32, 16, 3), dtype=np.uint8)


def learn(precision: str):
    """One step: the loss, the network after it, and the types it computed in."""
    network = small_network()
    seen = note_types(network)
    schedule = ScheduleOptions(optimiser="sgd", learning_rate=0.01)
    learner = build_learner(network, schedule, World(CPU), precision=precision)
    rng = np.random.default_rng(0)
    # Rows of another network: with its own, the loss would start near zero.
    rows = rng.normal(size=(16, WIDTHS[-1])).astype(np.float32)
    options = MemoryOptions(temperature=0.5)
    memory = build_memory(ClusteredCrops(rows, LABELS, CAMERAS), options, 4, rng, CPU)
    batch = Batch(torch.from_numpy(crops()), LABELS, CAMERAS, 4)
    network.train()
    loss = loop.train_step(learner, memory, batch, AugmentOptions(padding=0), rng)
    return loss, network, memory, seen


@pytest.mark.parametrize(
    ("precision", "device", "native", "wanted"),
    [
        ("auto", CPU, True, torch.float32),
        ("auto", CUDA, True, torch.bfloat16),
        ("auto", CUDA, False, torch.float32),  # T4, V100, RTX 2080 Ti
        ("float32", CUDA, True, torch.float32),
        ("bfloat16", CUDA, False, torch.bfloat16),
        ("bfloat16", CPU, False, torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_only_where_it_is_native(monkeypatch, precision, device, native, wanted):
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert number_type(precision, device) == wanted


def test_a_step_in_bfloat16_is_close_to_one_in_float32():
    (exact, plain, rows, wide), (close, rounded, near, narrow) = map(learn, ("auto", "bfloat16"))
    assert (wide["map"], narrow["map"]) == ({torch.float32}, {torch.bfloat16})
    assert wide["neck"] == narrow["neck"] == {torch.float32}
    assert close.dtype == torch.float32
    assert 0 < abs(exact - close) < 0.02 * exact
    torch.testing.assert_close(near.mean, rows.mean, rtol=0, atol=0.05)
    for (name, one), other in zip(
        plain.state_dict().items(), rounded.state_dict().values(), strict=True
    ):
        assert one.dtype == other.dtype, name
        if one.is_floating_point():
            torch.testing.assert_close(other, one, rtol=0.05, atol=0.01, msg=name)
    for parameter in rounded.parameters():
        if parameter.requires_grad:
            assert parameter.grad.dtype == torch.float32


def test_embeddings_in_bfloat16_are_float32_unit_rows_close_to_the_exact_ones():
    network, pixels, world = small_network(), Pixels(crops(), CPU), World(CPU)
    exact = embed_together(network, pixels, world)
    close = embed_together(network, pixels, world, None, torch.bfloat16)
    assert close.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(close, axis=1), 1, atol=1e-6)
    assert ((exact * close).sum(axis=1) > 0.999).all()
    assert not np.array_equal(exact, close)


def test_ghost_groups_of_bfloat16_maps_have_float32_statistics():
    torch.manual_seed(1)
    # The mean is large beside the deviation, which bfloat16 sums would lose.
    maps = (20 + torch.randn(12, 3, 16, 8)).bfloat16()
    narrow, wide = GhostBatchNorm2d(3, group=4), GhostBatchNorm2d(3, group=4)
    found, wanted = narrow(maps), wide(maps.float())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0.01, atol=0.01)
    torch.testing.assert_close(narrow.running_mean, wide.running_mean)
    torch.testing.assert_close(narrow.running_var, wide.running_var)


@pytest.mark.parametrize(
    ("precision", "kind"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)]
)
def test_a_whole_run_computes_in_the_type_asked_for(drawn, monkeypatch, tmp_path, precision, kind):
    """Warm-up, embedding and training do; what is measured is embedded in float32."""
    network = small_network()
    seen: dict[str, set] = {}
    for name in ("warm_up_together", "embed_together", "train_one_epoch", "measure_epoch"):
        note_types_during(monkeypatch, network, name, seen)
    monkeypatch.setattr(loop, "start_network", lambda *_, **__: network)
    quick = {
        "data.path": str(drawn),
        "model.height": 64,
        "model.width": 32,
        "model.weights": "none",
        "model.precision": precision,
        "clustering.k1": 8,
        "clustering.min_samples": 2,
        "batch.clusters": 4,
        "batch.crops": 2,
        "schedule.epochs": 1,
        "schedule.iterations": 2,
        "warmup.epochs": 1,
        "warmup.batch": 8,
    }
    loop.run(read_config(None, quick), tmp_path / "run", CPU)
    assert seen.pop("measure_epoch") == {torch.float32}
    assert seen == {name: {kind} for name in seen}
    assert len(seen) == 3


def note_types_during(monkeypatch, network, name: str, seen: dict[str, set]) -> None:
    """Note the types of the backbone's maps while a function of the loop runs."""
    whole = getattr(loop, name)

    def noting(*arguments, **options):
        types = seen.setdefault(name, set())

        def note(_, images, maps) -> None:
            if len(images[0]) > 1:  # the warm-up asks for the dimension with a single crop
                types.add(maps.dtype)

        hook = network.features.register_forward_hook(note)
        try:
            return whole(*arguments, **options)
        finally:
            hook.remove()

    monkeypatch.setattr(loop, name, noting)
