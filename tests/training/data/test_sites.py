"""Several data sets in one run: cameras and identities are renumbered so that none is shared."""

from __future__ import annotations

from pathlib import Path

from training.data.datasets import UNKNOWN, Dataset, DataSource, Sample
from training.data.sites import join_sites


def dataset(name: str, cameras: int, *train: tuple[int, int]) -> Dataset:
    """A data set whose training crops have these identities and cameras."""
    samples = tuple(
        Sample(Path(name, f"{index}.jpg"), identity, camera)
        for index, (identity, camera) in enumerate(train)
    )
    source, names = DataSource(Path(name)), tuple(str(number) for number in range(cameras))
    return Dataset(source, "market1501", samples, (), (), names, (), (), {})


def numbers(*datasets: Dataset) -> list[tuple[int, int]]:
    return [(sample.identity, sample.camera) for sample in join_sites(datasets)[0]]


def test_a_single_site_is_not_renumbered():
    only = dataset("a", 2, (7, 0), (7, 1), (2, 1))
    samples, site_of_camera = join_sites([only])
    assert samples == only.train
    assert site_of_camera.tolist() == [0, 0]


def test_neither_cameras_nor_identities_are_shared_between_sites():
    one, two = dataset("a", 2, (0, 0), (3, 1)), dataset("b", 3, (0, 0), (3, 2), (1, 1))
    assert numbers(one, two) == [(0, 0), (3, 1), (4, 2), (7, 4), (5, 3)]
    samples, site_of_camera = join_sites([one, two])
    assert site_of_camera.tolist() == [0, 0, 1, 1, 1]
    assert [sample.path.parent.name for sample in samples] == ["a", "a", "b", "b", "b"]


def test_unknown_identities_stay_unknown_and_use_up_no_numbers():
    one = dataset("a", 1, (UNKNOWN, 0), (5, 0))
    two = dataset("b", 1, (UNKNOWN, 0), (UNKNOWN, 0))
    three = dataset("c", 1, (0, 0), (UNKNOWN, 0))
    expected = [(-1, 0), (5, 0), (-1, 1), (-1, 1), (6, 2), (-1, 2)]
    assert numbers(one, two, three) == expected
    assert numbers(two, three) == [(-1, 0), (-1, 0), (0, 1), (-1, 1)]


def test_cameras_only_in_query_and_gallery_keep_their_number():
    one, two = dataset("a", 4, (1, 2)), dataset("b", 1, (1, 0))
    assert numbers(one, two) == [(1, 2), (3, 4)]
    assert join_sites([one, two])[1].tolist() == [0, 0, 0, 0, 1]
