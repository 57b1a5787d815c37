"""SCL's banks, selection, loss and writes: vector F, and pitfalls Q1 to Q8 (docs/training.md)."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.core.method_options import SclOptions
from training.scl.banks import (
    Banks,
    Selection,
    SelectiveContrast,
    multi_positive_loss,
    positive_weights,
)
from training.scl.network import Features

F_OPTIONS = {
    "stripes": 2,
    "global_size": 4,
    "local_size": 2,
    "positives": 2,
    "negatives": 2,
}
CAMERAS = [0, 0, 1, 1, 2, 0]
GLOBAL = [
    [1, 0, 0, 0],
    [0.8, 0.6, 0, 0],
    [0.6, 0.8, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 0],
    [0, 0, 0.6, 0.8],
]
LOCAL = [
    [[1, 0], [0.8, 0.6], [1, 0], [0, 1], [0, 1], [-1, 0]],
    [[1, 0], [1, 0], [0.6, 0.8], [0.6, 0.8], [0, 1], [0, -1]],
]
MIXTURE = [
    [1, 0, 0, 0],
    [0.8, 0.6, 0, 0],
    [0.6, 0, 0.8, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 0],
    [0, 0, 0, 1],
]
MIXTURE_AFTER = [
    [0.949865, 0.209297, 0.185821, 0.139365],
    [0.906992, 0.350274, 0.187058, 0.140294],
    [0.889883, 0.218540, 0.374940, 0.140603],
    *MIXTURE[3:],
]
CROP = torch.tensor([0])


def memory_f(**changes) -> SelectiveContrast:
    banks = Banks(
        torch.tensor(GLOBAL).float(),
        torch.tensor(LOCAL).float().transpose(0, 1).contiguous(),
        torch.tensor(MIXTURE).float(),
    )
    options = SclOptions(**(F_OPTIONS | changes))
    return SelectiveContrast(
        banks, torch.tensor(CAMERAS), torch.zeros(6, dtype=torch.long), options
    )


def features_f() -> Features:
    whole = torch.tensor([[0.96, 0.28, 0, 0]], requires_grad=True)
    return Features(whole, torch.tensor([[[0.96, 0.28], [0.8, 0.6]]], requires_grad=True))


def detached(features: Features) -> Features:
    return Features(*(tensor.detach() for tensor in features))


def close(found, wanted) -> None:
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=found.dtype), rtol=0, atol=1e-5)


def random_memory(count: int, seed: int = 0, **changes) -> SelectiveContrast:
    """A run with unit rows in every bank."""
    draw = torch.Generator().manual_seed(seed)
    options = SclOptions(**(F_OPTIONS | changes))
    banks = Banks(
        *(
            torch.nn.functional.normalize(torch.randn(*shape, generator=draw), dim=-1)
            for shape in ((count, 4), (count, 2, 2), (count, 4))
        )
    )
    return SelectiveContrast(
        banks, torch.arange(count) % 3, torch.zeros(count, dtype=torch.long), options
    )


def test_distances_and_selection_are_vector_f():
    memory, features = memory_f(), features_f()
    close(memory.distances(CROP, features)[0], [0.21, 0.246, 0.24, 1.1, 1.56, 2.83])
    selection = memory.select(CROP, features)
    assert selection.positives.tolist() == [[0, 2, 1]]
    assert selection.negatives.tolist() == [[3, 4]]


def test_only_the_camera_term_puts_crop_1_behind_crop_2():
    memory, features = memory_f(camera_weight=0.0), features_f()
    close(memory.distances(CROP, features)[0, :3], [0.16, 0.196, 0.24])
    assert memory.select(CROP, features).positives.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("writes", ["after", "released"])
def test_loss_and_banks_are_vector_f(writes):
    memory, features = memory_f(mixture_writes=writes), features_f()
    options = SclOptions(**F_OPTIONS)
    selection = memory.select(CROP, features)
    close(positive_weights(3, options), [0.5, 0.4375, 0.4375])
    mixture, local = memory.banks.mixture, features.stripes.flatten(1)
    logits = (10 * features.whole @ mixture[selection.compared[0]].T).detach()[0]
    close(logits, [9.6, 5.76, 9.36, 2.8, 0])
    logits = (10 * local @ mixture[selection.compared[0]].T).detach()[0]
    close(logits, [9.6, 12.16, 9.36, 2.8, 8])
    close(multi_positive_loss(features.whole, mixture, selection, options), 2.600295)
    close(multi_positive_loss(local, mixture, selection, options), 2.701719)
    loss = memory.loss(features, selection)
    close(loss, 2.651007)
    close(memory.banks.mixture, MIXTURE)
    loss.backward()
    memory.update(CROP, detached(features), selection)
    close(memory.banks.mixture, MIXTURE_AFTER)
    close(memory.banks.whole[0], [0.989949, 0.141421, 0, 0])
    close(memory.banks.stripes[0], [[0.989949, 0.141421], [0.948683, 0.316228]])
    close(memory.banks.whole[1:], GLOBAL[1:])


def test_warm_up_loss_and_the_zero_bank_are_vector_f():
    options = SclOptions(**F_OPTIONS)
    selection = Selection(torch.tensor([[0]]), torch.tensor([[3, 4, 5, 2]]))
    whole = features_f().whole
    close(multi_positive_loss(whole, torch.tensor(MIXTURE).float(), selection, options), 0.011244)
    close(multi_positive_loss(whole, torch.zeros(6, 4), selection, options), 0.804719)
    close(multi_positive_loss(whole, torch.zeros(6, 4), selection, options), math.log(5) / 2)


def test_the_defaults_give_the_known_floor_and_first_loss():
    options = SclOptions()
    weights = positive_weights(8, options)
    close(weights.sum(), 1.375)
    close((weights * (weights.sum() / weights).log()).sum(), 2.603959)
    selection = Selection(torch.tensor([[0]]), torch.arange(1, 508)[None])
    zeros = torch.zeros(508, 16)
    close(multi_positive_loss(torch.ones(1, 16), zeros, selection, options), 0.5 * math.log(508))


def test_both_orders_give_the_same_banks_but_different_gradients():
    """Q3: the released code computes later gradients from rows that it has already written."""
    gradients, mixtures = [], []
    for writes in ("after", "released"):
        memory = random_memory(12, positives=3, negatives=4, mixture_writes=writes)
        draw = torch.Generator().manual_seed(5)
        indices = torch.tensor([0, 4, 7])
        whole, stripes = (
            torch.nn.functional.normalize(torch.randn(*shape, generator=draw), dim=-1)
            for shape in ((3, 4), (3, 2, 2))
        )
        features = Features(whole.requires_grad_(), stripes.requires_grad_())
        selection = memory.select(indices, detached(features))
        memory.loss(features, selection).backward()
        memory.update(indices, detached(features), selection)
        gradients.append(torch.cat([whole.grad.flatten(), stripes.grad.flatten()]))
        mixtures.append(memory.banks.mixture)
    torch.testing.assert_close(mixtures[0], mixtures[1])
    assert (gradients[0] - gradients[1]).abs().max() > 0.01


def test_the_first_step_of_the_released_order_reads_unwritten_rows():
    """With one positive and only the local loss there is a single step, so no row has changed."""
    gradients = []
    for writes in ("after", "released"):
        memory = memory_f(mixture_writes=writes, local_weight=1.0)
        features = features_f()
        memory.loss(features, Selection(CROP[:, None], torch.tensor([[3, 4, 5, 2]]))).backward()
        gradients.append(features.stripes.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_the_released_gradient_computed_by_hand():
    """The crop's own term uses the row that its neighbour's term has written."""
    memory = memory_f(mixture_writes="released", local_weight=1.0, positives=1)
    features = features_f()
    selection = Selection(torch.tensor([[0, 2]]), torch.tensor([[3, 4]]))
    memory.loss(features, selection).backward()
    local = features.stripes.detach().flatten(1)[0]
    before = torch.tensor(MIXTURE).float()
    after = before.clone()
    after[2] = torch.nn.functional.normalize(before[2] + local, dim=0)
    probabilities = torch.softmax(10 * before[[0, 2, 3, 4]] @ local, dim=0)
    wanted = torch.zeros(4)
    for place, weight, rows in ((1, 0.875, before), (0, 0.5, after)):
        error = probabilities - torch.eye(4)[place]
        wanted += 10 * weight * error @ rows[[0, 2, 3, 4]]
    torch.testing.assert_close(features.stripes.grad.flatten(), wanted)


def test_two_crops_that_share_a_neighbour_are_both_written():
    """Q3: crops are written one by one, in the batch's order, on every device."""
    memory = memory_f()
    indices = torch.tensor([0, 1])
    features = Features(
        torch.eye(4)[:2].clone(), torch.tensor([[[1.0, 0], [1, 0]], [[0, 1.0], [0, 1]]])
    )
    selection = Selection(torch.tensor([[0, 5], [1, 5]]), torch.tensor([[3], [3]]))
    memory.update(indices, features, selection)
    row = torch.tensor(MIXTURE[5]).float()
    for feature in (*features.stripes.flatten(1), *features.whole):
        row = torch.nn.functional.normalize((row + feature) / 2, dim=0)
    torch.testing.assert_close(memory.banks.mixture[5], row)


def test_a_crop_is_never_its_own_neighbour_even_if_its_twin_is_nearer():
    memory = random_memory(30, positives=4, negatives=9)
    indices = torch.arange(30)
    features = Features(memory.banks.whole.clone(), memory.banks.stripes.clone())
    selection = memory.select(indices, features)
    assert selection.positives[:, 0].tolist() == list(range(30))
    others = torch.cat([selection.positives[:, 1:], selection.negatives], dim=1)
    assert not (others == indices[:, None]).any()
    assert all(len(set(row)) == 14 for row in selection.compared.tolist())
    order = memory.distances(indices, features).fill_diagonal_(9).argsort(dim=1)
    assert (
        others.tolist() == order[:, :13].tolist()
    )  # Q8: topk equals the beginning of the full sort


def test_warm_up_negatives_exclude_the_crop_itself():
    memory = random_memory(40, positives=3, negatives=20)
    indices = torch.tensor([0, 3, 39, 17])
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    selection = memory.select_any(indices, order)
    assert selection.positives.tolist() == [[0], [3], [39], [17]]
    for index, negatives in zip(indices.tolist(), selection.negatives.tolist(), strict=True):
        assert negatives == [other for other in order.tolist() if other != index][:23]


def test_the_released_warm_up_may_include_the_crop_itself():
    """Q2: the entry at the crop's position is left out, not the crop."""
    memory = random_memory(40, positives=3, negatives=20, warmup_negatives="released")
    indices = torch.tensor([0, 3, 39, 17])
    order = torch.arange(40).flip(0)
    negatives = memory.select_any(indices, order).negatives
    for index, row in zip(indices.tolist(), negatives.tolist(), strict=True):
        listed = order.tolist()
        del listed[index]
        assert row == listed[:23]
    assert 39 in negatives[2].tolist()
    assert 17 not in memory_others(indices, order)[3].tolist()


def memory_others(indices, order):
    return random_memory(40, positives=3, negatives=20).select_any(indices, order).negatives


def test_few_crops_limit_the_negatives_and_too_few_are_rejected():
    memory = random_memory(9, positives=3, negatives=500)
    features = Features(memory.banks.whole.clone(), memory.banks.stripes.clone())
    assert memory.select(torch.arange(9), features).negatives.shape == (9, 5)
    assert memory.select_any(torch.arange(9), torch.arange(9)).negatives.shape == (9, 8)
    with pytest.raises(InvalidInput, match="too few"):
        random_memory(4, positives=3)


def test_positives_come_from_the_crops_own_site():
    memory = memory_f()
    sites = torch.tensor([0, 1, 1, 0, 0, 1])
    apart = SelectiveContrast(memory.banks, torch.tensor(CAMERAS), sites, SclOptions(**F_OPTIONS))
    selection = apart.select(CROP, features_f())
    assert selection.positives.tolist() == [[0, 3, 4]]
    assert selection.negatives.tolist() == [[2, 1]]


def test_local_logits_are_larger_by_the_root_of_the_stripes():
    """Q5, kept as released: a longer feature acts like a lower temperature."""
    options = SclOptions(**F_OPTIONS)
    selection = Selection(CROP[:, None], torch.tensor([[1, 2]]))
    whole, stripes = detached(features_f())
    close(stripes.flatten(1).norm(), math.sqrt(2))
    alike = whole * stripes.flatten(1).norm()
    cooler = SclOptions(**F_OPTIONS, temperature=0.1 / math.sqrt(2))
    mixture = torch.tensor(MIXTURE).float()
    torch.testing.assert_close(
        multi_positive_loss(alike, mixture, selection, options),
        multi_positive_loss(whole, mixture, selection, cooler),
    )
