"""Labels of an epoch with synthetic people: their identities, kept; and mixed batches."""

from __future__ import annotations

import numpy as np
import pytest

from training.core.options import BatchOptions
from training.hhcl.labelling import contrasted_cameras, crops_to_embed, join_labels
from training.hhcl.sampler import identity_batches, mixed_batches

# Five unlabelled crops, then seven of three synthetic people.
IDENTITIES = np.array([-1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 2, 2])
CAMERAS = np.array([0, 0, 1, 1, 1, 2, 2, 3, 2, 3, 3, 3])
PSEUDO = np.array([0, 1, 0, -1, 1])
LABELS = np.array([0, 1, 0, -1, 1, 2, 2, 2, 3, 3, 4, 4])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_identities_follow_the_pseudo_labels():
    assert join_labels(PSEUDO, IDENTITIES).tolist() == LABELS.tolist()


def test_identities_alone_are_the_labels():
    identities = IDENTITIES[5:]
    assert join_labels(np.array([], dtype=np.int64), identities).tolist() == identities.tolist()


def test_all_outliers_leave_only_the_identities():
    labels = join_labels(np.full(5, -1), IDENTITIES)
    assert labels.tolist() == IDENTITIES.tolist()


@pytest.mark.parametrize(("wanted", "found"), [(1, 3), (2, 6), (9, 7)])
def test_a_few_crops_of_each_identity_are_embedded(wanted, found):
    chosen = crops_to_embed(IDENTITIES, wanted, rng())
    assert chosen[:5].tolist() == [0, 1, 2, 3, 4]
    synthetic = chosen[5:]
    assert len(set(synthetic.tolist())) == len(synthetic) == found
    assert set(IDENTITIES[synthetic]) == {0, 1, 2}
    assert chosen.tolist() == crops_to_embed(IDENTITIES, wanted, rng()).tolist()


def test_every_crop_of_an_identity_may_be_the_one_embedded():
    drawn = {int(crop) for seed in range(40) for crop in crops_to_embed(IDENTITIES, 1, rng(seed))}
    assert drawn == set(range(12))


def test_without_synthetic_people_no_random_number_is_drawn():
    random = rng()
    assert crops_to_embed(np.full(4, -1), 2, random).tolist() == [0, 1, 2, 3]
    assert random.random() == rng().random()


def test_same_camera_negatives_are_all_synthetic_people_and_never_the_other_kind():
    contrasted = contrasted_cameras(LABELS, CAMERAS, IDENTITIES >= 0)
    assert contrasted.astype(int).tolist() == [
        [1, 1, 0, 0],  # both real clusters were seen by both real cameras
        [1, 1, 0, 0],
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [0, 0, 1, 1],  # seen by camera 3 only, but nobody else can be this person
    ]


def test_without_synthetic_people_a_cluster_is_contrasted_where_it_was_seen():
    labels, cameras = np.array([0, 0, 1, -1]), np.array([0, 1, 1, 0])
    contrasted = contrasted_cameras(labels, cameras, np.zeros(4, dtype=bool))
    assert contrasted.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    ("share", "clusters", "synthetic"),
    [(0.5, 8, 4), (0.25, 8, 2), (0.75, 8, 6), (0.01, 8, 1), (0.99, 8, 7), (0.5, 2, 1)],
)
def test_batches_have_the_share_of_synthetic_clusters_that_was_asked_for(
    share, clusters, synthetic
):
    labels = np.arange(60) % 20  # ten clusters of each kind
    drawn = labels >= 10
    options = BatchOptions(clusters=clusters, crops=3, synthetic_share=share)
    batches = [*mixed_batches(labels, np.arange(60) % 3, drawn, options, 7, rng())]
    assert len(batches) == 7
    for batch in batches:
        groups = labels[batch].reshape(clusters, 3)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0])) == clusters
        assert (groups[:, 0] >= 10).tolist() == [False] * (clusters - synthetic) + [
            True
        ] * synthetic


@pytest.mark.parametrize("synthetic", [False, True])
def test_batches_of_one_kind_do_not_depend_on_the_share(synthetic):
    labels, cameras = np.arange(40) % 10, np.arange(40) % 3
    labels[:3] = -1
    kind = np.full(40, synthetic)
    options = BatchOptions(clusters=4, crops=2, synthetic_share=0.9)
    plain = identity_batches(
        labels, cameras, clusters_per_batch=4, crops_per_cluster=2, iterations=9, rng=rng()
    )
    mixed = mixed_batches(labels, cameras, kind, options, 9, rng())
    for one, other in zip(plain, mixed, strict=True):
        assert one.tolist() == other.tolist()
