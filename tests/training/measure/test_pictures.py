"""Ranked lists of tiny pictures, each of one colour, are drawn and read back."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.data.datasets import Dataset, DataSource, read_dataset
from training.data.entries import DataError
from training.measure.evaluation import Ranking, rank_gallery
from training.measure.pictures import write_ranked_lists

GREEN, RED = (26, 152, 80), (215, 48, 39)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three people with one colour each; eve is in the query but not in the gallery."""
    colours = {"ada": (200, 0, 0), "bob": (0, 0, 200), "eve": (0, 200, 0)}
    for name in ("query/ada_1", "query/bob_1", "query/eve_1"):
        draw(tmp_path / f"{name}.png", colours[name[6:9]])
    for name in ("gallery/ada_2", "gallery/bob_2", "gallery/ada_3"):
        draw(tmp_path / f"{name}.png", colours[name[8:11]])
    return read_dataset(DataSource(tmp_path, pattern="{split}/{identity}_{camera}"))


def draw(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 16), colour).save(path)


def rankings(dataset: Dataset) -> list[Ranking]:
    # gallery in order: ada_2, ada_3, bob_2; bob's query looks like ada
    def at(*degrees: float) -> NDArray[np.float32]:
        angles = np.radians(degrees)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    return list(rank_gallery(at(0, 10, 45), dataset.query, at(5, 20, 90), dataset.gallery))


def read_back(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image)


def pixel(picture: NDArray[np.uint8], column: int, *, inside: bool) -> tuple[int, ...]:
    left = 6 + column * 78
    return tuple(picture[70, left + 36 if inside else left + 1].tolist())


def test_there_is_one_picture_per_query_and_a_contact_sheet(
    dataset: Dataset, tmp_path: Path
) -> None:
    paths = write_ranked_lists(tmp_path / "out", rankings(dataset), dataset)
    assert [path.name for path in paths] == [
        "0.3333_00001_bob_1.png",
        "1.0000_00000_ada_1.png",
        "contact-sheet.png",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [p.name for p in paths]
    sheet, *rows = (read_back(path) for path in (paths[-1], *paths[:-1]))
    np.testing.assert_array_equal(sheet, np.concatenate(rows))


def test_frames_show_which_crops_are_correct(dataset: Dataset, tmp_path: Path) -> None:
    paths = write_ranked_lists(tmp_path / "out", rankings(dataset), dataset)
    picture = read_back(paths[0])
    assert [pixel(picture, column, inside=False) for column in (1, 2, 3)] == [RED, RED, GREEN]
    assert pixel(picture, 0, inside=True) == (0, 0, 200)
    assert pixel(picture, 1, inside=True) == (200, 0, 0)
    assert pixel(picture, 3, inside=True) == (0, 0, 200)
    assert pixel(picture, 4, inside=True) == (255, 255, 255)


def test_captions_are_drawn(dataset: Dataset, tmp_path: Path) -> None:
    path = write_ranked_lists(tmp_path / "out", rankings(dataset), dataset, count=1)[0]
    caption = read_back(path)[144:180]
    columns = [caption[:, 6 + 78 * column : 78 + 78 * column] for column in range(5)]
    assert [bool((column < 128).any()) for column in columns] == [True, True, True, True, False]


def test_the_best_or_the_worst_queries_are_drawn_up_to_a_number(
    dataset: Dataset, tmp_path: Path
) -> None:
    ranked = rankings(dataset)
    worst = write_ranked_lists(tmp_path / "a", ranked, dataset, count=1)
    best = write_ranked_lists(tmp_path / "b", ranked, dataset, count=1, choose="best", top_k=1)
    assert [path.name[:6] for path in (worst[0], best[0])] == ["0.3333", "1.0000"]
    assert read_back(best[0]).shape[1] < read_back(worst[0]).shape[1]


def test_without_a_query_that_counts_nothing_is_drawn(dataset: Dataset, tmp_path: Path) -> None:
    assert write_ranked_lists(tmp_path / "out", rankings(dataset)[2:], dataset) == []
    assert not (tmp_path / "out").exists()


def test_captions_show_numbers_and_shorten_long_names(dataset: Dataset, tmp_path: Path) -> None:
    numbered = dataclasses.replace(dataset, identities=())
    named = dataclasses.replace(dataset, identities=("a very long name",) * 3)
    for data in (numbered, named):
        assert len(write_ranked_lists(tmp_path / "out", rankings(dataset), data)) == 3


def test_an_unreadable_crop_or_unwritable_folder_is_an_error(
    dataset: Dataset, tmp_path: Path
) -> None:
    ranked = rankings(dataset)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="file: cannot write ranked lists"):
        write_ranked_lists(tmp_path / "file", ranked, dataset)
    dataset.gallery[0].path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"ada_2\.png: "):
        write_ranked_lists(tmp_path / "out", ranked, dataset)
