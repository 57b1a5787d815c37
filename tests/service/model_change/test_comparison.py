"""Two models are compared by labels that neither made, or by groups that both make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.gallery.base import Crop
from service.gallery.disk.store import DiskGalleryStore
from service.model_change.comparison import compare

PEOPLE, CROPS, SIZE = 30, 4, 32


@pytest.fixture
def two(tmp_path):
    store = DiskGalleryStore(tmp_path, device="cpu")
    yield store.create("a", "a" * 64, SIZE), store.create("b", "b" * 64, SIZE)
    store.close()


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def seen(people, rng):
    """(people x CROPS, SIZE): each person's crops in one camera, close together."""
    own = np.repeat(unit(people), CROPS, axis=0)
    return unit(own + 0.02 * rng.normal(size=own.shape))


def crops(identity=None, origin="given"):
    return [
        Crop(f"{camera}-{person:02}-{crop}", identity and identity(person), camera, origin=origin)
        for camera in ("c1", "c2")
        for person in range(PEOPLE)
        for crop in range(CROPS)
    ]


def embed(rng, *, confused):
    """Both cameras' embeddings; a confused model takes three people for one in the second camera.

    It tells them apart inside that camera by little more than the noise, yet enough.
    """
    people = unit(rng.normal(size=(PEOPLE, SIZE)))
    far = people
    if confused:
        far = people[np.arange(PEOPLE) // 3 * 3] + 0.6 * unit(rng.normal(size=(PEOPLE, SIZE)))
    return np.concatenate([seen(people, rng), seen(far, rng)])


def fill(two, labelled):
    served, candidate = two
    served.upsert(labelled, embed(np.random.default_rng(1), confused=True))
    candidate.upsert(labelled, embed(np.random.default_rng(2), confused=False))
    return compare(served, candidate)


def clustered(person):
    """What the confused model's clustering calls people: three are one."""
    return f"person-{person // 3}"


def test_a_models_own_clusters_do_not_make_it_win(two):
    found = fill(two, crops(clustered, "cluster"))
    assert (found.judged_by, found.labelled, found.grouped) == ("groups", 0, 2 * PEOPLE * CROPS)
    assert found.served.rank1 is found.candidate.rank1 is None
    assert found.candidate.agreement == 1.0
    assert found.served.agreement < 0.8


@pytest.mark.parametrize("origin", ["hand", "given"])
def test_labels_that_no_clustering_made_decide(two, origin):
    found = fill(two, crops(lambda person: f"p{person}", origin))
    assert (found.judged_by, found.labelled) == ("labels", 2 * PEOPLE * CROPS)
    assert found.candidate.rank1 == 1.0
    assert found.served.rank1 < 0.8


def test_a_few_labels_by_hand_are_searched_among_themselves(two):
    """The other crops have identities of the served model's clusters, which must not mislead."""
    made = crops(clustered, "cluster")
    labelled = [
        replace(crop, identity=f"p{crop.crop_id[3:5]}", origin="hand")
        if crop.crop_id.endswith(("-0", "-1")) and crop.crop_id[3:5] < "12"
        else crop
        for crop in made
    ]
    found = fill(two, labelled)
    assert (found.judged_by, found.labelled) == ("labels", 2 * 12 * 2)
    assert found.candidate.rank1 == 1.0
    assert found.served.rank1 < 0.8


def test_whom_one_camera_alone_knows_by_name_is_no_query(two):
    named = crops(lambda person: f"p{person}")
    found = fill(two, [c if c.camera == "c1" else replace(c, identity=None) for c in named])
    assert (found.judged_by, found.labelled, found.served.rank1) == ("groups", 0, None)


def test_without_labels_and_groups_nothing_is_judged(two):
    served, candidate = two
    alone = [Crop(camera, camera=camera) for camera in ("c1", "c2", "c3")]
    for gallery in two:
        gallery.upsert(alone, unit(np.eye(3, SIZE)))
    found = compare(served, candidate)
    assert (found.judged_by, found.grouped, found.labelled) == (None, 0, 0)
    assert found.candidate.agreement is found.candidate.rank1 is None


def test_the_two_models_may_change_places(two):
    served, candidate = two
    found = fill(two, crops())
    turned = compare(candidate, served)
    assert (turned.served, turned.candidate) == (found.candidate, found.served)
    assert (turned.grouped, turned.overlap) == (found.grouped, found.overlap)


def test_crops_that_one_version_lacks_are_ignored(two):
    """A crop without a picture cannot be embedded again, and one may be new since."""
    served, candidate = two
    found = fill(two, crops())
    rng = np.random.default_rng(3)
    extra = unit(rng.normal(size=(1, SIZE)) + served.embeddings(["c1-00-0"]))
    served.upsert([Crop("bare", camera="c1")], extra)
    candidate.upsert([Crop("new", camera="c1")], extra)
    again = compare(served, candidate)
    assert (again.queries, again.judged_by) == (found.queries, "groups")
    assert again.candidate.agreement == pytest.approx(found.candidate.agreement, abs=0.05)
