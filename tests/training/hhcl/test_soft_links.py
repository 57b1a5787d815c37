"""Soft links: who are likely partners, how likely, and what the loss makes of them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from pydantic import ValidationError

from training.core.method_options import ClusterOptions, MemoryOptions
from training.core.pseudo_labels import split_by_camera
from training.hhcl.memories.building import ClusteredCrops, build_memory
from training.hhcl.memories.contrast import Contrast, LeftOut
from training.hhcl.memories.proxies import CameraProxies, SoftProxies
from training.hhcl.soft_links import balance_with_dustbin, link_softly, similarity_of_nobody

CPU = torch.device("cpu")
SOFT = {"scheme": "camera-link", "links": "soft", "link_first": 0.0, "link_last": 0.0}


def soft(**options) -> ClusterOptions:
    return ClusterOptions(**SOFT | options)


def people(identities: int, cameras: int = 2, crops: int = 3, noise: float = 0.1, seed: int = 0):
    """Embeddings, cameras and identities of well separated people."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(identities), crops * cameras)
    camera = np.tile(np.repeat(np.arange(cameras), crops), identities)
    rows = rng.normal(size=(identities, 32))[identity] + noise * rng.normal(size=(len(camera), 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), camera, identity


# ---- the plan


def test_two_clear_pairs_and_one_ambiguous_view():
    """The third row is as similar to the third column as to the fourth: both get half of it."""
    cosine = np.full((4, 4), 0.0)
    cosine[0, 0] = cosine[1, 1] = 0.9
    cosine[2:, 2:] = 0.9
    plan = balance_with_dustbin(cosine, 0.3)
    np.testing.assert_allclose(np.diag(plan)[:2], 1, atol=1e-2)
    np.testing.assert_allclose(plan[2:4, 2:4], 0.5, atol=1e-2)
    assert plan[:4, 4].max() < 1e-2


def test_a_view_without_a_partner_goes_to_the_dustbin():
    """Without a dustbin, all rows and columns must share: the third row takes the second column."""
    cosine = np.array([[0.9, 0.1], [0.1, 0.9], [0.0, 0.2]])
    plan = balance_with_dustbin(cosine, 0.5)
    assert plan[2, 2] > 0.95
    assert plan[0, 0] > 0.95
    assert plan[1, 1] > 0.95
    open_to_all = balance_with_dustbin(cosine, -1.0)
    assert open_to_all[2, 1] > 0.1


@pytest.mark.parametrize("dustbin", [None, -0.2, 0.3])
@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (1, 5), (1, 1)])
def test_every_view_has_mass_one(shape, dustbin):
    cosine = np.random.default_rng(3).uniform(-0.3, 0.8, shape)
    plan = balance_with_dustbin(cosine, dustbin)
    assert (plan >= 0).all()
    np.testing.assert_allclose(plan[:, :-1].sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(plan[:-1].sum(axis=1), 1, atol=0.1)  # not balanced to the end


def test_nobody_is_as_similar_as_the_fifth_of_both_sides():
    similarity = np.random.default_rng(4).uniform(-0.3, 0.8, (7, 6))
    across, down = -np.sort(-similarity, axis=1)[:, 4], -np.sort(-similarity, axis=0)[4]
    found = similarity_of_nobody(similarity)
    assert found == pytest.approx((across.mean() + down.mean()) / 2)
    assert found == pytest.approx(similarity_of_nobody(similarity.T))
    assert similarity_of_nobody(np.array([[0.4, 0.2]])) == pytest.approx((0.2 + 0.3) / 2)


# ---- the links


def test_the_partner_in_each_other_camera_comes_first():
    rows, camera, identity = people(12, cameras=3)
    labels = identity * 3 + camera
    links = link_softly(rows, camera, labels, soft(soft_partners=2, left_out=4))
    assert links.partners.shape == (36, 4)
    assert links.left_out.shape == (36, 8)
    who, home = np.divmod(np.arange(36), 3)
    for block, step in ((slice(0, 2), 0), (slice(2, 4), 1)):
        other = step + (step >= home)
        first = links.partners[:, block][:, 0]
        assert (first == who * 3 + other).all()
        assert (links.masses[:, block][:, 0] > 0.8).all()
        assert (links.masses[:, block].sum(axis=1) <= 1 + 1e-6).all()
        assert (links.partners[:, block] // 3 != 0).any()
    assert (links.compared == ~np.eye(3, dtype=bool)).all()
    for view in range(36):
        assert set(links.partners[view]) <= set(links.left_out[view])


def test_people_seen_once_have_less_mass_than_people_seen_twice():
    rows, camera, identity = people(40, noise=0.3)
    seen = (camera == 0) | (identity < 20)
    rows, camera, identity = rows[seen], camera[seen], identity[seen]
    labels = np.unique(identity * 2 + camera, return_inverse=True)[1]
    clusters, home, _ = split_by_camera(labels, camera)
    mass = link_softly(rows, camera, labels, soft()).masses.sum(axis=1)
    who = np.array([identity[labels == label][0] for label in clusters])
    once = (home == 0) & (who >= 20)
    assert mass[once].mean() < 0.5
    assert mass[~once].mean() > 0.8


def test_views_of_one_cluster_get_no_partners_in_each_other():
    rows, camera, identity = people(8)
    labels = np.where(identity == 0, 0, 1 + identity * 2 + camera)
    labels = np.unique(labels, return_inverse=True)[1]
    links = link_softly(rows, camera, labels, soft(soft_partners=3, left_out=3))
    clusters, _, _ = split_by_camera(labels, camera)
    assert (links.masses[clusters == 0] == 0).all()
    assert (links.partners[clusters == 0] == -1).all()
    assert (links.left_out[clusters == 0] >= 0).all()
    assert (links.masses[clusters != 0].sum(axis=1) > 0.5).all()


def test_sites_are_not_compared_and_outliers_have_no_view():
    rows, camera, identity = people(10, cameras=4)
    labels, sites = identity * 4 + camera, camera // 2
    labels[(identity == 3) & (camera == 1)] = -1
    labels[labels >= 0] = np.unique(labels[labels >= 0], return_inverse=True)[1]
    links = link_softly(rows, camera, labels, soft(soft_partners=2, left_out=3), sites)
    _, home, _ = split_by_camera(labels, camera)
    assert len(links.partners) == 39
    for view, found in enumerate(links.left_out):
        assert {home[other] for other in found if other >= 0} == {home[view] ^ 1}
    assert links.compared.sum() == 4


def test_one_camera_or_no_cluster_has_no_partners():
    rows, camera, identity = people(5, cameras=1)
    links = link_softly(rows, camera, identity, soft())
    assert (links.masses.size, links.compared.any()) == (0, False)
    assert "no two cameras" in links.line()
    rows, camera, identity = people(5)
    nothing = link_softly(rows, camera, np.full(len(rows), -1), soft())
    assert len(nothing.partners) == 0
    assert "no two cameras" in nothing.line()


def test_fewer_views_than_partners_fill_up():
    rows, camera, identity = people(2)
    links = link_softly(rows, camera, identity * 2 + camera, soft())
    assert links.partners.shape == (4, 5)
    assert ((links.partners >= 0).sum(axis=1) == 2).all()
    assert "positives for 4 of 4 views" in links.line()


# ---- the loss

ROWS = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]  # camera 0, then three of camera 1
NONE = 4


def soft_proxies(partners, masses, left_out) -> SoftProxies:
    views = torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3]])
    return SoftProxies(
        torch.tensor([partners, [NONE] * len(partners)] + [[NONE] * len(partners)] * 2),
        torch.tensor([masses] + [[0.0] * len(masses)] * 3, dtype=torch.float64),
        LeftOut(views, torch.tensor([left_out] + [[NONE] * len(left_out)] * 3), 4),
        ~torch.eye(2, dtype=torch.bool),
    )


def proxies(partners=(1, 2), masses=(0.6, 0.2), left_out=(1, 2), **options) -> CameraProxies:
    """A cluster per view: 0 by camera 0; 1, 2 and 3 by camera 1."""
    return CameraProxies(
        torch.tensor(ROWS, dtype=torch.float64),
        torch.arange(4),
        torch.tensor([0, 1, 1, 1]),
        temperature=0.5,
        soft=soft_proxies(list(partners), list(masses), list(left_out)),
        **options,
    )


def crop():
    embedding = torch.tensor([[0.96, 0.28]], dtype=torch.float64, requires_grad=True)
    return embedding, torch.tensor([0]), torch.tensor([0])


def logits_of(embedding):
    return (torch.tensor(ROWS, dtype=torch.float64) @ embedding[0].detach()) / 0.5


def test_the_loss_is_the_masses_cross_entropy():
    embedding, labels, cameras = crop()
    log_p = logits_of(embedding)[1:].log_softmax(0)
    expected = -(0.6 * log_p[0] + 0.2 * log_p[1])
    loss = proxies().loss(embedding, labels, cameras)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-9)


def test_the_gradient_pulls_to_partners_in_proportion_to_their_mass():
    embedding, labels, cameras = crop()
    made = proxies()
    made.loss(embedding, labels, cameras).backward()
    p = logits_of(embedding)[1:].softmax(0)
    pull = 0.8 * p - torch.tensor([0.6, 0.2, 0.0], dtype=torch.float64)
    expected = pull @ torch.tensor(ROWS[1:], dtype=torch.float64) / 0.5
    np.testing.assert_allclose(embedding.grad[0], expected, atol=1e-9)


def test_half_the_mass_pulls_half_as_much():
    embedding, labels, cameras = crop()
    whole = proxies(masses=(0.8, 0.2)).loss(embedding, labels, cameras).item()
    half = proxies(masses=(0.4, 0.1)).loss(embedding, labels, cameras).item()
    assert half == pytest.approx(whole / 2)


def test_those_left_out_are_no_negatives():
    embedding, labels, cameras = crop()
    logits = logits_of(embedding)
    made = proxies(partners=(1,), masses=(1.0,), left_out=(1, 3))
    expected = -logits[[1, 2]].log_softmax(0)[0]
    assert made.loss(embedding, labels, cameras).item() == pytest.approx(expected.item(), abs=1e-9)
    alone = proxies(partners=(1,), masses=(1.0,), left_out=(1, 2, 3))
    assert alone.loss(embedding, labels, cameras).item() == pytest.approx(0, abs=1e-9)


def test_other_cameras_that_were_compared_give_negatives_whatever_they_saw():
    """Camera 0 saw cluster 0 alone, so same-camera negatives would be none."""
    embedding, labels, cameras = crop()
    seen_by = torch.tensor([[True, False], [False, True], [False, True], [False, True]])
    expected = proxies().loss(embedding, labels, cameras).item()
    assert proxies(seen_by=seen_by).loss(embedding, labels, cameras).item() == pytest.approx(
        expected
    )


def test_no_mass_adds_nothing():
    embedding, labels, cameras = crop()
    loss = proxies(partners=(NONE,), masses=(0.0,), left_out=(1,)).loss(embedding, labels, cameras)
    loss.backward()
    assert loss.item() == 0
    assert embedding.grad.abs().sum() == 0


def test_clusters_left_out_are_not_contrasted():
    left_out = LeftOut(torch.tensor([[0], [1], [1]]), torch.tensor([[2, 3], [3, 3]]), 3)
    contrast = Contrast(1.0, left_out=left_out)
    similarities = torch.tensor([[0.1, 0.5, 0.9], [0.3, 0.2, 0.7]])
    labels, cameras = torch.tensor([0, 1]), torch.tensor([0, 0])
    expected = -(similarities[0, :2].log_softmax(0)[0] + similarities[1].log_softmax(0)[1]) / 2
    assert contrast.loss(similarities, labels, cameras).item() == pytest.approx(expected.item())


# ---- the memory


def built(negatives: str, extra: int = 0):
    """The memory of eight people in two cameras; some synthetic people follow."""
    rows, camera, identity = people(8 + extra, crops=2)
    real = identity < 8
    labels = np.where(real, identity * 2 + camera, 8 + identity)
    camera = np.where(real, camera, camera + 2)
    links = link_softly(rows[real], camera[real], labels[real], soft(soft_partners=2, left_out=3))
    crops = ClusteredCrops(rows, labels, camera, soft_links=links)
    options = MemoryOptions(kind="centroid", negatives=negatives, proxy_weight=1.0)
    return build_memory(crops, options, 2, np.random.default_rng(0), CPU), links, labels, camera


@pytest.mark.parametrize("extra", [0, 3])
def test_the_memory_hands_links_to_the_proxies(extra):
    memory, links, labels, camera = built("all", extra)
    made = memory.other
    weights = made.soft.weights(torch.from_numpy(labels), torch.from_numpy(camera)).numpy()
    assert weights.shape == (len(labels), 16 + 2 * extra)
    for crop_, weight in enumerate(weights):
        expected = np.zeros(len(weight))
        if labels[crop_] < 16:
            expected[links.partners[labels[crop_]]] = links.masses[labels[crop_]]
        np.testing.assert_allclose(weight, expected)


def test_a_synthetic_crop_from_a_camera_that_was_not_embedded_has_no_partners():
    memory, _, labels, _ = built("all", 3)
    synthetic, unseen = torch.tensor([int(labels.max())]), torch.tensor([0])
    assert memory.other.soft.weights(synthetic, unseen).sum() == 0
    assert not memory.other.soft.left_out.mask(synthetic, unseen).any()
    assert not memory.memory._contrast.left_out.mask(synthetic, unseen).any()


def test_the_memory_leaves_likely_partners_out_of_its_own_contrast():
    memory, links, labels, camera = built("all")
    tensors = torch.from_numpy(labels), torch.from_numpy(camera)
    mask = memory.memory._contrast.left_out.mask(*tensors).numpy()
    for crop_, left_out in enumerate(mask):
        assert set(np.flatnonzero(left_out)) == set(links.left_out[labels[crop_]])
    assert built("same-camera")[0].memory._contrast.left_out is None


# ---- options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"link_last": 1.0}, "must be at most 0.5 if links is soft"),
        ({"soft_partners": 30}, "must be at least soft_partners = 30"),
        ({"dustbin": 1.5}, "less than or equal to 1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, named):
    with pytest.raises(ValidationError, match=named):
        soft(**options)
