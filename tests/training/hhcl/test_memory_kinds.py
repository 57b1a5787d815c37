"""The other kinds of memory (vectors B and C, hand-computed), and every option with each kind."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core.method_options import MemoryOptions
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.memories.contrast import Contrast
from training.hhcl.memories.instances import InstanceMemory, draw_instances
from training.hhcl.memories.prototypes import PrototypeMemory, follow_each, follow_hardest

KINDS = ["hybrid", "hybrid-instances", "centroid", "hardest"]
EMBEDDINGS = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]
ROWS = [[0.96, 0.28], [0.28, 0.96]]
MEAN = [[0.8, 0.6], [0.0, 1.0]]
INSTANCES = [[[1.0, 0.0], [0.96, 0.28]], [[0.28, 0.96], [0.6, 0.8]]]
MEAN_AFTER = [[0.937622, 0.347657], [0.284447, 0.958692]]


def doubles(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def batch():
    return (
        doubles(EMBEDDINGS, requires_grad=True),
        torch.tensor([0, 0, 1, 1]),
        torch.zeros(4).long(),
    )


def instance_memory(temperature=0.05) -> InstanceMemory:
    made = InstanceMemory(torch.eye(2).double(), doubles(INSTANCES), Contrast(temperature))
    made.mean = doubles(MEAN)
    return made


@pytest.mark.parametrize("follow", [follow_each, follow_hardest])
def test_vector_b_loss(follow):
    rows = PrototypeMemory(doubles(ROWS), Contrast(), follow)
    assert rows.loss(*batch()).item() == pytest.approx(0.031898534, abs=1e-5)


@pytest.mark.parametrize(
    ("follow", "order", "expected"),
    [
        (follow_each, [0, 1, 2, 3], [[0.833844, 0.552001], [0.552001, 0.833844]]),
        (follow_each, [0, 2, 1, 3], [[0.833844, 0.552001], [0.552001, 0.833844]]),
        (follow_each, [1, 0, 3, 2], [[0.998312, 0.058075], [0.058075, 0.998312]]),
        (follow_hardest, [0, 1, 2, 3], [[0.820741, 0.571300], [0.571300, 0.820741]]),
        (follow_hardest, [1, 0, 3, 2], [[0.820741, 0.571300], [0.571300, 0.820741]]),
    ],
)
def test_vector_b_update_and_whether_the_order_matters(follow, order, expected):
    rows = PrototypeMemory(doubles(ROWS), Contrast(), follow)
    rows.update(doubles(EMBEDDINGS)[order], torch.tensor([0, 0, 1, 1])[order])
    np.testing.assert_allclose(rows.rows, expected, atol=1e-5)


def test_following_each_crop_takes_one_step_per_crop():
    rng = np.random.default_rng(5)
    rows = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(4, 3))), dim=1)
    embeddings = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(9, 3))), dim=1)
    labels = torch.tensor([2, 0, 2, 2, 3, 0, 3, 2, 2])
    expected = rows.clone()
    for row, label in zip(embeddings, labels, strict=True):
        mixed = 0.1 * expected[label] + 0.9 * row
        expected[label] = mixed / mixed.norm()
    follow_each(rows, embeddings, labels, 0.1)
    torch.testing.assert_close(rows, expected)


@pytest.mark.parametrize(("temperature", "expected"), [(0.5, 0.490439), (0.05, 0.818144)])
def test_vector_c_loss(temperature, expected):
    assert instance_memory(temperature).loss(*batch()).item() == pytest.approx(expected, abs=1e-5)


def test_vector_c_hardest_logits():
    embeddings, labels, _ = batch()
    hardest = instance_memory()._hardest(embeddings.detach(), labels) / 0.5
    np.testing.assert_allclose(hardest, [[1.92, 1.2], [1.6, 1.92], [0.56, 1.6], [1.6, 1.872]])


def test_vector_c_update():
    rows = instance_memory()
    embeddings, labels, _ = batch()
    rows.update(embeddings.detach(), labels)
    assert rows.instances.tolist() == [EMBEDDINGS[:2], EMBEDDINGS[2:]]
    np.testing.assert_allclose(rows.mean, MEAN_AFTER, atol=1e-5)


def test_more_crops_than_slots_stay_in_their_own_cluster():
    rows = instance_memory()
    rows.update(doubles(EMBEDDINGS), torch.tensor([0, 0, 0, 0]))
    assert rows.instances.tolist() == [EMBEDDINGS[:2], INSTANCES[1]]
    assert rows.mean[1].tolist() == MEAN[1]


def test_fewer_crops_than_slots_leave_the_last_slots():
    rows = instance_memory()
    rows.update(doubles(EMBEDDINGS[3:]), torch.tensor([0]))
    assert rows.instances.tolist() == [[EMBEDDINGS[3], INSTANCES[0][1]], INSTANCES[1]]


def test_instances_are_drawn_with_replacement_from_their_own_cluster():
    embeddings = np.arange(5, dtype=np.float32)[:, None]
    labels = np.array([0, 1, -1, 0, 0])
    drawn = draw_instances(embeddings, labels, 20, np.random.default_rng(2))
    assert drawn.shape == (2, 20, 1)
    assert set(drawn[0].ravel()) == {0, 3, 4}
    assert set(drawn[1].ravel()) == {1}
    again = draw_instances(embeddings, labels, 20, np.random.default_rng(2))
    np.testing.assert_array_equal(drawn, again)


def crops() -> ClusteredCrops:
    """Eight clusters, each seen by two of three cameras; the last four crops are outliers."""
    rng = np.random.default_rng(4)
    embeddings = rng.normal(size=(52, 6))
    labels = np.concatenate([np.repeat(np.arange(8), 6), np.full(4, -1)])
    cameras = np.concatenate([(labels[:48] % 4 + 1 + np.arange(48) % 2) % 3, [0, 1, 2, 0]])
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return ClusteredCrops(unit.astype(np.float32), labels, cameras)


def everything(kind: str) -> MemoryOptions:
    return MemoryOptions(
        kind=kind,
        weighting="convex",
        temperature=0.2,
        negatives="same-camera",
        smoothing=True,
        camera_entropy=True,
        proxy_weight=0.5,
        proxy_negatives=3,
    )


def built(options: MemoryOptions):
    return build_memory(crops(), options, 3, np.random.default_rng(7), torch.device("cpu"))


def draw_batch():
    index = np.concatenate([np.arange(first, first + 3) for first in (12, 0, 30, 42)])
    known = crops()
    embeddings = torch.from_numpy(known.embeddings[index]).double().requires_grad_()
    return embeddings, torch.from_numpy(known.labels[index]), torch.from_numpy(known.cameras[index])


def tensors(memory) -> dict:
    inner = getattr(memory, "memory", memory)
    return {name: value for name, value in vars(inner).items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_works_with_every_kind_of_memory(kind):
    memory = built(everything(kind))
    for name, value in tensors(memory).items():
        setattr(memory.memory, name, value.double())
    rows = memory.other.rows.double()
    object.__setattr__(memory.other, "rows", rows)
    embeddings, labels, cameras = draw_batch()
    assert torch.autograd.gradcheck(lambda e: memory.loss(e, labels, cameras), (embeddings,))
    before = copy.deepcopy(tensors(memory))
    memory.loss(embeddings, labels, cameras).backward()
    assert (embeddings.grad.abs().sum(dim=1) > 0).all()
    for name, value in tensors(memory).items():
        assert torch.equal(value, before[name])
    memory.update(embeddings.detach() + 0.1, labels)
    absent = torch.tensor([c not in labels for c in range(8)])
    for name, value in tensors(memory).items():
        assert torch.equal(value[absent], before[name][absent])
        assert (value[~absent] != before[name][~absent]).any(dim=-1).all()
    assert torch.equal(memory.other.rows, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_each_option_changes_the_loss(kind):
    embeddings, labels, cameras = draw_batch()
    base = {"kind": kind, "temperature": 0.2}
    changes = [{}, {"negatives": "same-camera"}, {"smoothing": True}]
    changes += [{"camera_entropy": True}, {"proxy_weight": 0.5}]
    # One cluster of the batch has crops of one camera only, so that the entropies differ.
    cameras = torch.where(labels == 2, cameras[0], cameras)
    losses = [
        built(MemoryOptions(**base, **change)).loss(embeddings.float(), labels, cameras).item()
        for change in changes
    ]
    assert all(np.isfinite(losses))
    assert all(b - a > 1e-6 for a, b in pairwise(sorted(losses)))


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_see_the_same_batch_keep_equal_memories(kind):
    one, other = built(everything(kind)), built(everything(kind))
    embeddings, labels, _ = draw_batch()
    for shift in (0.1, 0.2):
        batch = torch.nn.functional.normalize(embeddings.detach().float() + shift, dim=1)
        one.update(batch, labels)
        other.update(batch, labels)
    for name, value in tensors(one).items():
        assert torch.equal(value, tensors(other)[name])
