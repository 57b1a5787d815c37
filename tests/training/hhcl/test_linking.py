"""Linking clusters across cameras: which may be joined, and by which score."""

from __future__ import annotations

import numpy as np
import pytest

from training.hhcl.linking import link_cameras, partner_ranks, standardise_cameras
from training.hhcl.similarity import Clusters, balance, compare_cameras, scale_locally


def units(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def people(identities: int, crops: int, cameras: int, seed: int = 0, shift: float = 0.0):
    """Well separated people; each camera adds a constant of its own to all embeddings."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities, 32))
    offsets = shift * rng.normal(size=(cameras, 32))
    identity = np.repeat(np.arange(identities), crops * cameras)
    camera = np.tile(np.repeat(np.arange(cameras), crops), identities)
    rows = centres[identity] + offsets[camera] + 0.1 * rng.normal(size=(len(identity), 32))
    return units(rows), identity, camera


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


def test_linking_never_merges_two_clusters_of_one_camera():
    rows, identity, camera = people(6, 4, 3)
    per_camera = identity * 3 + camera
    linked = link_cameras(rows, camera, per_camera.astype(np.int64))
    for label in np.unique(linked):
        mine = linked == label
        assert len(set(per_camera[mine])) == len(set(camera[mine]))
    assert same_partition(linked, identity)


def test_linking_keeps_outliers_and_accepts_no_clusters_at_all():
    rows, identity, camera = people(4, 3, 2)
    labels = (identity * 2 + camera).astype(np.int64)
    labels[0] = -1
    assert link_cameras(rows, camera, labels)[0] == -1
    nothing = np.full(len(rows), -1)
    assert (link_cameras(rows, camera, nothing) == -1).all()


def test_standardised_cameras_have_unit_rows_and_no_offset():
    rows, _, camera = people(30, 4, 2, shift=2.0)
    standard = standardise_cameras(rows, camera)
    np.testing.assert_allclose(np.linalg.norm(standard, axis=1), 1, atol=1e-5)
    assert np.abs(standard[camera == 0].mean(axis=0)).max() < 0.05
    one_crop = standardise_cameras(rows[:1], camera[:1])
    assert np.isfinite(one_crop).all()


def test_without_links_every_camera_keeps_its_own_clusters():
    rows, identity, camera = people(6, 4, 2)
    labels = identity * 2 + camera
    assert same_partition(link_cameras(rows, camera, labels, share=0.0), labels)
    half = link_cameras(rows, camera, labels, share=0.5)
    assert len(set(half.tolist())) == 9  # three of the six pairs are joined


def test_sites_are_never_linked_and_a_site_may_be_empty():
    rows, identity, camera = people(8, 3, 4)
    labels, sites = identity * 4 + camera, camera // 2
    linked = link_cameras(rows, camera, labels, sites=sites)
    assert same_partition(linked, identity * 2 + sites)
    alone = link_cameras(rows, camera, np.where(sites == 0, -1, labels), sites=sites)
    assert (alone[sites == 0] == -1).all()
    assert same_partition(alone[sites == 1], identity[sites == 1])


def seen_differently(change: np.ndarray, cameras: int, seed: int, crops: int = 3):
    """People whom every camera but the first changes, each by a size of its own."""
    rng, people = np.random.default_rng(seed), len(change)
    centre = rng.normal(size=(people, 1, 24)).repeat(cameras, axis=1)
    centre[:, 1:] += change[:, None, None] * rng.normal(size=(people, cameras - 1, 24))
    rows = np.repeat(centre.reshape(-1, 24), crops, axis=0)
    identity = np.repeat(np.arange(people), crops * cameras)
    camera = np.tile(np.repeat(np.arange(cameras), crops), people)
    return units(rows + 0.2 * rng.normal(size=rows.shape)), identity, camera


def changed_people(seed: int):
    """40 people, each as different between the two cameras as people are from each other."""
    return seen_differently(np.ones(40), 2, seed)


def test_one_wrong_link_does_not_join_two_people_of_a_camera():
    """Of three cameras, links that are each right for two may contradict each other."""
    rows, identity, camera = seen_differently(np.full(40, 1.5), 3, seed=0)
    per_camera = identity * 3 + camera
    linked = link_cameras(rows, camera, per_camera)
    for label in np.unique(linked):
        mine = linked == label
        assert len(set(per_camera[mine])) == len(set(camera[mine]))
    assert not same_partition(linked, identity)  # otherwise no link would contradict another


def test_people_whom_only_one_camera_saw_make_no_links():
    rows, identity, camera = people(12, 4, 2)
    seen = (camera == 0) | (identity < 4)
    rows, camera, identity = rows[seen], camera[seen], identity[seen]
    labels = identity * 2 + camera
    # Four links are mutual, so half of them are two. One per person would be twelve.
    half = link_cameras(rows, camera, labels, share=0.5)
    assert len(set(labels)) - len(set(half)) == 2
    assert same_partition(link_cameras(rows, camera, labels), identity)


def test_the_most_similar_are_linked_first():
    change = np.where(np.arange(20) < 10, 0.1, 0.8)  # the second half looks different
    rows, identity, camera = seen_differently(change, 2, seed=1)
    linked = link_cameras(rows, camera, identity * 2 + camera, share=0.4)
    pairs = zip(linked[camera == 0][::3], linked[camera == 1][::3], strict=True)
    joined = [who for who, (one, other) in enumerate(pairs) if one == other]
    assert len(joined) == 8
    assert max(joined) < 10


def test_directions_in_which_crops_of_a_person_differ_count_less():
    """Without whitening, some two thirds of these people find their partner."""
    rng = np.random.default_rng(3)
    identity, camera = np.repeat(np.arange(60), 6), np.tile(np.repeat([0, 1], 3), 60)
    rows = rng.normal(size=(60, 30))[identity]
    rows[:, 6:] += 4 * rng.normal(size=(360, 24))  # pose, say
    linked = link_cameras(units(rows), camera, identity * 2 + camera, score="sinkhorn")
    assert (linked[camera == 0][::3] == linked[camera == 1][::3]).mean() > 0.9


def test_local_scaling_takes_both_sides_neighbourhoods_off():
    cosine = np.array([[0.9, 0.7, 0.2], [0.5, 0.1, 0.3]])
    across, down = [[0.8], [0.4]], [0.7, 0.4, 0.25]
    np.testing.assert_allclose(scale_locally(cosine, 2), 2 * cosine - across - down)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_balanced_assignment_finds_what_mutual_neighbours_miss(seed):
    rows, identity, camera = changed_people(seed)
    labels = identity * 2 + camera
    nearest = link_cameras(rows, camera, labels)
    assert not same_partition(nearest, identity)
    assert same_partition(link_cameras(rows, camera, labels, score="sinkhorn"), identity)


def test_balancing_prefers_the_best_assignment_to_the_best_single_pair():
    cosine = np.array([[0.60, 0.55, 0.1], [0.50, 0.10, 0.1], [0.59, 0.10, 0.3]])
    assert cosine.argmax(axis=1).tolist() == [0, 0, 0]  # all have the same nearest
    plan = balance(cosine, 0.05)
    assert plan.argmax(axis=1).tolist() == plan.argmax(axis=0).tolist() == [1, 0, 2]
    np.testing.assert_allclose(plan.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(plan.sum(axis=1), 1, atol=1e-2)


def test_partners_are_ranked_by_what_links_use():
    rows, identity, camera = people(30, 3, 2)
    assert (partner_ranks(rows, camera, identity) == 1).all()
    rows, identity, camera = changed_people(0)
    ranks = partner_ranks(rows, camera, identity)
    assert len(ranks) == 2 * 40
    assert ranks.min() == 1
    shuffled = np.random.default_rng(1).permutation(identity)
    by_chance = partner_ranks(rows, camera, shuffled)
    assert (ranks <= 5).mean() > 0.9
    assert (by_chance <= 5).mean() < 0.5


def test_people_of_one_camera_only_have_no_partner_to_rank():
    rows, identity, camera = people(6, 3, 2)
    seen = (camera == 0) | (identity < 2)
    ranks = partner_ranks(rows[seen], camera[seen], identity[seen])
    assert ranks.tolist() == [1] * 4
    assert len(partner_ranks(rows[camera == 0], camera[camera == 0], identity[camera == 0])) == 0


def test_a_partner_has_a_rank_in_each_pair_of_cameras_that_saw_it():
    rows, identity, camera = people(10, 3, 3)
    assert len(partner_ranks(rows, camera, identity)) == 10 * 3 * 2


def scores_of(rows, camera, identity):
    labels = identity * 2 + camera
    standard = standardise_cameras(rows, camera)
    for score in ("sinkhorn", "consensus"):
        (pair,) = compare_cameras(standard, camera, labels, score)
        yield (pair.similarity.argmax(axis=1) == np.arange(len(pair.rows))).mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_consensus_learns_how_two_cameras_differ(seed):
    """The second camera changes half of all directions for each person, but crops do not vary."""
    rng = np.random.default_rng(seed)
    identity, camera = np.repeat(np.arange(120), 4), np.tile([0, 0, 1, 1], 120)
    rows = rng.normal(size=(120, 48))[identity]
    changed = 4 * rng.normal(size=(120, 24))[identity]
    rows[:, :24] += np.where(camera[:, None] == 1, changed, 0)
    rows += 0.6 * rng.normal(size=(480, 48))
    balanced, agreed = scores_of(units(rows), camera, identity)
    assert balanced < 0.7
    assert agreed > 0.9


def test_consensus_finds_clear_partners_among_few_and_in_many_cameras():
    rows, identity, camera = people(6, 4, 3)
    linked = link_cameras(rows, camera, identity * 3 + camera, score="consensus")
    assert same_partition(linked, identity)
    for few in (1, 2):
        rows, identity, camera = people(few, 3, 2)
        linked = link_cameras(rows, camera, identity * 2 + camera, score="consensus")
        assert len(set(linked)) in (few, 2 * few)


def test_linked_clusters_add_the_scatter_of_their_union():
    rows, identity, camera = people(5, 3, 2, shift=0.5)
    apart = Clusters.gather(rows, camera, identity * 2 + camera)
    whole = Clusters.gather(rows, camera, identity)
    links = [(np.arange(5) * 2, np.arange(5) * 2 + 1)]
    np.testing.assert_allclose(apart.linked(links, 1.0).scatter, whole.scatter, atol=1e-5)


def test_whitening_divides_by_the_deviation_along_the_axes_of_the_scatter():
    """Only cosines count, so the rows may be turned."""
    rows, identity, camera = people(identities=20, crops=3, cameras=2)
    clusters = Clusters.gather(rows, camera, 20 * camera + identity)
    variance, axes = np.linalg.eigh(clusters.scatter / len(rows))
    wanted = clusters.centres @ axes / np.sqrt(variance + 0.3 * variance.mean())
    found, wanted = clusters.whitened(ridge=0.3), units(wanted)
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-6)
