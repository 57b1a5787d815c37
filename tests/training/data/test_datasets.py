"""Every layout is written to disk with tiny pictures and read back."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.embedding.imaging import decode
from training.data.datasets import Dataset, DataSource, Sample, read_dataset
from training.data.entries import IMAGE_SUFFIXES, DataError
from training.data.folders_and_manifests import compile_pattern
from training.data.images import load_images


def draw(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16), (number * 40 % 256, 90, 30)).save(path)


def read(path: Path, **options: object) -> Dataset:
    return read_dataset(DataSource(path, **options))  # type: ignore[arg-type]


def labels(samples: tuple[Sample, ...]) -> list[tuple[str, int, int]]:
    return [(s.path.name, s.identity, s.camera) for s in samples]


@pytest.fixture
def market(tmp_path: Path) -> Path:
    draw(
        tmp_path,
        "bounding_box_train/0007_c10s1_000001_00.jpg",
        "bounding_box_train/0002_c2s1_000451_03.jpg",
        "bounding_box_train/0000_c2s1_000451_03.jpg",
        "query/0005_c1s1_000001_00.png",
        "bounding_box_test/0005_c2s1_000001_00.jpg",
        "bounding_box_test/0000_c2s1_000001_00.jpg",
        "bounding_box_test/-1_c2s1_000001_00.jpg",
    )
    (tmp_path / "query" / "Thumbs.db").write_bytes(b"not a picture")
    return tmp_path


def test_market1501_keeps_distractors_in_the_gallery_only(market: Path) -> None:
    dataset = read(market)
    assert dataset.layout == "market1501"
    assert dataset.cameras == ("1", "2", "10")
    assert dataset.identities == ()
    assert labels(dataset.train) == [
        ("0002_c2s1_000451_03.jpg", 2, 1),
        ("0007_c10s1_000001_00.jpg", 7, 2),
    ]
    assert labels(dataset.query) == [("0005_c1s1_000001_00.png", 5, 0)]
    assert labels(dataset.gallery) == [
        ("0000_c2s1_000001_00.jpg", 0, 1),
        ("0005_c2s1_000001_00.jpg", 5, 1),
    ]
    assert dataset.left_out == {
        "junk (identity -1)": 1,
        "distractor (identity 0000) in train": 1,
        f"not an image file ({' '.join(IMAGE_SUFFIXES)})": 1,
    }
    assert dataset.skipped == ()


def test_msmt17_renamed_to_market_style_counts_people_from_zero(market: Path) -> None:
    draw(market, "query/0000_c15_0001.jpg")
    assert [s.identity for s in read(market).train] == [0, 2, 7]


def test_summary_names_splits_cameras_and_what_is_missing(market: Path) -> None:
    summary = read(market).summary
    assert summary.startswith(f"{market.name} (market1501): train 2 images of 2 identities, ")
    assert "3 cameras" in summary
    assert "left out 1: junk (identity -1)" in summary


def test_market1501_without_one_of_its_folders_is_an_error(market: Path) -> None:
    (market / "query" / "0005_c1s1_000001_00.png").unlink()
    with pytest.raises(DataError, match="no usable image in query as layout market1501"):
        read(market)
    (market / "query" / "Thumbs.db").unlink()
    (market / "query").rmdir()
    with pytest.raises(DataError, match="query: no such folder"):
        read(market)


def test_a_name_that_fits_no_rule_is_an_error_or_is_listed(market: Path) -> None:
    draw(market, "query/holiday.jpg")
    with pytest.raises(DataError, match=r"holiday\.jpg: name does not begin with <identity>_c<"):
        read(market)
    dataset = read(market, skip_bad=True)
    assert [s.path.name for s in dataset.skipped] == ["holiday.jpg"]
    assert len(dataset.query) == 1
    assert "skipped 1" in dataset.summary


@pytest.fixture
def msmt17(tmp_path: Path) -> Path:
    lists = {
        "list_train.txt": ("train", ["0001/0001_000_14_0303morning_0035_0.jpg 1"]),
        "list_val.txt": ("train", ["0000/0000_013_04_0303morning_0020_2.jpg 0"]),
        "list_query.txt": ("test", ["0000/0000_001_04_0303noon_0020_2.jpg 0"]),
        "list_gallery.txt": ("test", ["0000/0000_002_01_0303noon_0020_2.jpg 0"]),
    }
    for name, (folder, lines) in lists.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        draw(tmp_path / folder, *(line.split()[0] for line in lines))
    return tmp_path


def test_msmt17_merges_val_into_train_and_takes_cameras_from_names(msmt17: Path) -> None:
    dataset = read(msmt17)
    assert dataset.layout == "msmt17"
    assert dataset.cameras == ("1", "4", "14")
    assert [(s.identity, s.camera) for s in dataset.train] == [(0, 1), (1, 2)]
    assert [(s.identity, s.camera) for s in dataset.query] == [(0, 1)]
    assert [(s.identity, s.camera) for s in dataset.gallery] == [(0, 0)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0002/0002_000_01_0303_0_0.jpg 2", "listed, but there is no such file"),
        ("0002/somebody.jpg 2", "name is not <identity>_<index>_<camera>"),
        ("0002/0002_000_01_0303_0_0.jpg", "is not '<path> <identity>'"),
    ],
)
def test_a_bad_line_of_msmt17_is_an_error_or_is_listed(
    msmt17: Path, line: str, reason: str
) -> None:
    with (msmt17 / "list_query.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=reason):
        read(msmt17)
    assert len(read(msmt17, skip_bad=True).skipped) == 1


def test_msmt17_without_a_list_or_a_folder_is_an_error(msmt17: Path) -> None:
    (msmt17 / "list_val.txt").unlink()
    with pytest.raises(DataError, match=r"list_val\.txt: No such file"):
        read(msmt17)
    (msmt17 / "train").rename(msmt17 / "other")
    with pytest.raises(DataError, match="train: no such folder"):
        read(msmt17)


def test_unlabelled_folders_are_enough_to_train(tmp_path: Path) -> None:
    draw(tmp_path, "hall/b.jpg", "hall/a.jpg", "door/a.v2.jpg")
    dataset = read(tmp_path, pattern="{camera}/{name}")
    assert dataset.layout == "folders"
    assert dataset.cameras == ("door", "hall")
    assert labels(dataset.train) == [("a.v2.jpg", -1, 0), ("a.jpg", -1, 1), ("b.jpg", -1, 1)]
    assert "train 3 images without identities" in dataset.summary


def test_named_identities_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    draw(tmp_path, "p10/c1_0.jpg", "p2/c1_0.jpg", "p2/c2_0_1.jpg", "-1/c2_0.jpg")
    dataset = read(tmp_path, pattern="{identity}/{camera}_{name}")
    assert dataset.identities == ("p2", "p10")
    assert dataset.cameras == ("c1", "c2")
    assert [(s.identity, s.camera) for s in dataset.train] == [(-1, 1), (1, 0), (0, 0), (0, 1)]


def test_one_camera_is_enough_and_paths_may_give_the_split(tmp_path: Path) -> None:
    draw(tmp_path, "train/a_1.jpg", "query/a_1.jpg", "gallery/a_1.jpg")
    dataset = read(tmp_path, pattern="{split}/{identity}_{name}")
    assert dataset.cameras == ("0",)
    assert len(dataset.train) == len(dataset.query) == len(dataset.gallery) == 1
    draw(tmp_path, "test/a_1.jpg")
    with pytest.raises(DataError, match="split 'test' is not one of train, query, gallery"):
        read(tmp_path, pattern="{split}/{identity}_{name}")


def test_folders_follow_links(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", "a.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hall").symlink_to(tmp_path / "elsewhere")
    assert len(read(tmp_path / "data", pattern="{camera}/{name}").train) == 1


@pytest.mark.parametrize(
    "pattern", ["", "{person}/{name}", "{camera}/{camera}", "{name", "{name}.jpg"]
)
def test_a_pattern_that_breaks_a_rule_is_an_error(pattern: str) -> None:
    with pytest.raises(DataError, match="pattern"):
        compile_pattern(pattern)


def test_pattern_fields_stay_within_a_path_component() -> None:
    rule = compile_pattern("{identity}_{name}_{camera}_{name}")
    found = rule.fullmatch("0000_013_04_0303morning_0020_2")
    assert found is not None
    assert found.groupdict() == {"identity": "0000", "camera": "04"}
    assert rule.fullmatch("0000/013_04_0303_1") is None


def test_a_path_that_does_not_fit_the_pattern_is_an_error_or_is_listed(tmp_path: Path) -> None:
    draw(tmp_path, "hall/a.jpg", "b.jpg")
    with pytest.raises(DataError, match=r"b\.jpg: path does not fit the pattern"):
        read(tmp_path, pattern="{camera}/{name}")


def write_csv(folder: Path, *rows: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_csv_manifest_is_read(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg", "in folder/c.jpg")
    write_csv(
        tmp_path,
        "\ufeffpath,camera,identity,split,timestamp",
        "b.jpg,door,ada,query,3",
        "a.jpg,door,ada,,4",
        "in folder/c.jpg,hall,,gallery,5",
    )
    dataset = read(tmp_path)
    assert dataset.layout == "manifest"
    assert dataset.identities == ("ada",)
    assert labels(dataset.train) == [("a.jpg", 0, 0)]
    assert labels(dataset.query) == [("b.jpg", 0, 0)]
    assert labels(dataset.gallery) == [("c.jpg", -1, 1)]


def test_numbers_in_a_json_lines_manifest_are_names(tmp_path: Path) -> None:
    draw(tmp_path, "a.jpg", "b.jpg")
    rows = [{"path": "b.jpg", "camera": 2, "identity": 11}, {"path": "a.jpg", "camera": 10}]
    path = tmp_path / "crops.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)))
    dataset = read(path)
    assert dataset.name == "crops"
    assert dataset.cameras == ("2", "10")
    assert labels(dataset.train) == [("a.jpg", -1, 1), ("b.jpg", 0, 0)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("gone.jpg,door", "line 3: there is no such file"),
        ("a.jpg,", "line 3: path and camera must not be empty"),
        (",door", "line 3: path and camera must not be empty"),
        ("a.jpg,hall", "listed twice in train"),
    ],
)
def test_a_manifest_row_that_breaks_a_rule_is_an_error_or_is_listed(
    tmp_path: Path, row: str, reason: str
) -> None:
    draw(tmp_path, "a.jpg")
    path = write_csv(tmp_path, "path,camera", "a.jpg,door", row)
    with pytest.raises(DataError, match=reason):
        read(path)
    dataset = read(path, skip_bad=True)
    assert len(dataset.train) == len(dataset.skipped) == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("m.csv", b"path,cam\na.jpg,1\n", "the header lacks camera; it has"),
        ("m.csv", b"", "the header lacks path and camera"),
        ("m.csv", b"path,camera\n\xff\xfe,1\n", "not UTF-8"),
        ("m.jsonl", b"{'path': 1}\n", "line 1: not JSON"),
        ("m.jsonl", b"[1]\n", r"line 1: must be a JSON object"),
        ("m.txt", b"", r"ends in \.csv or \.jsonl"),
    ],
)
def test_a_file_that_is_not_a_manifest_is_an_error(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read(tmp_path / name, skip_bad=True)


def test_a_path_that_is_not_a_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no known layout"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"no usable image in any split .* \(nothing there\)"):
        read(tmp_path, pattern="{camera}/{name}")
    with pytest.raises(DataError, match="folders needs a pattern"):
        read(tmp_path, layout="folders")
    with pytest.raises(DataError, match="no other layout takes one"):
        read(tmp_path, layout="market1501", pattern="{name}")
    with pytest.raises(DataError, match="nowhere: No such file"):
        read(tmp_path / "nowhere", layout="folders", pattern="{name}")
    with pytest.raises(DataError, match=r"holds no manifest\.csv, \.jsonl"):
        read(tmp_path, layout="manifest")


def test_images_stay_aligned_with_samples(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{index}.png" for index in range(5)))
    (tmp_path / "1.png").write_bytes(b"no picture")
    dataset = read(tmp_path, pattern="{name}")
    with pytest.raises(DataError, match=r"1\.png: "):
        load_images(dataset.train, 16, 8)
    images = load_images(dataset.train, 16, 8, skip_bad=True)
    assert images.pixels.shape == (4, 16, 8, 3)
    assert images.pixels.dtype == np.uint8
    assert [s.path.name for s in images.samples] == ["0.png", "2.png", "3.png", "4.png"]
    assert [s.path.name for s in images.skipped] == ["1.png"]
    for sample, pixels in zip(images.samples, images.pixels, strict=True):
        np.testing.assert_array_equal(pixels, decode(sample.path.read_bytes(), 16, 8))


def test_no_readable_image_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    samples = read(tmp_path, pattern="{name}").train
    with pytest.raises(DataError, match=r"a\.jpg"):
        load_images(samples, 16, 8, skip_bad=True)
    gone = [Sample(tmp_path / "gone.jpg", -1, 0)]
    with pytest.raises(DataError, match=r"gone\.jpg: No such file"):
        load_images(gone, 16, 8)


def test_no_samples_give_no_images() -> None:
    assert load_images([], 16, 8).pixels.shape == (0, 16, 8, 3)
