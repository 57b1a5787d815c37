import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from waiting import wait_until

from service.errors import Conflict, InvalidInput
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.measure.evaluation import evaluate
from training.synthetic import SyntheticOptions, contact_sheet, synthesize
from training.synthetic.artists import draw_identity
from training.synthetic.dataset import NOTE
from training.synthetic.drawn.person import BagKind
from training.synthetic.drawn.pose import ANKLE_HEIGHT, Pose, skeleton
from training.synthetic.shots import GALLERY, QUERY, TRAIN

SMALL = SyntheticOptions(identities=6, cameras=2, crops=2, seed=3)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")
    }


def names(folder, part):
    return sorted(path.name for path in (folder / part).iterdir())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "small"
    synthesize(folder, SMALL)
    return folder


def test_same_options_give_the_same_bytes(small, tmp_path):
    synthesize(tmp_path / "again", SMALL)
    assert contents(tmp_path / "again") == contents(small)
    assert (tmp_path / "again" / NOTE).read_bytes() == (small / NOTE).read_bytes()


def test_another_seed_gives_other_pictures(small, tmp_path):
    synthesize(tmp_path / "other", SyntheticOptions(identities=6, cameras=2, crops=2, seed=4))
    ours, others = contents(small), contents(tmp_path / "other")
    assert ours.keys() == others.keys()
    assert all(ours[name] != others[name] for name in ours)


def test_more_identities_do_not_change_the_first_pictures(small, tmp_path):
    synthesize(tmp_path / "more", SyntheticOptions(identities=9, cameras=2, crops=2, seed=3))
    few = {name.split("/")[1]: data for name, data in contents(small).items()}
    many = {name.split("/")[1]: data for name, data in contents(tmp_path / "more").items()}
    assert len(many) == 36
    assert few.items() <= many.items()


def test_more_cameras_and_crops_do_not_change_the_others(small, tmp_path):
    synthesize(tmp_path / "more", SyntheticOptions(identities=6, cameras=3, crops=3, seed=3))
    few = {name.split("/")[1]: data for name, data in contents(small).items()}
    many = {name.split("/")[1]: data for name, data in contents(tmp_path / "more").items()}
    assert len(many) == 54
    assert few.items() <= many.items()


def test_summary_counts_the_files(tmp_path):
    options = SyntheticOptions(
        identities=5, cameras=3, crops=4, train_share=0.4, distractors=7, junk=2
    )
    summary = synthesize(tmp_path / "people", options)
    assert (summary.train_identities, summary.test_identities) == (2, 3)
    assert (summary.train, summary.query, summary.gallery) == (2 * 12, 3 * 3, 3 * 3 * 3 + 7 + 2)
    counted = [len(names(tmp_path / "people", part)) for part in (TRAIN, QUERY, GALLERY)]
    assert counted == [summary.train, summary.query, summary.gallery]


def test_layout_reads_as_market1501(tmp_path):
    options = SyntheticOptions(identities=4, cameras=3, crops=2, distractors=3, junk=2)
    synthesize(tmp_path / "people", options)
    dataset = read_dataset(DataSource(tmp_path / "people"))
    assert dataset.layout == "market1501"
    assert {sample.identity for sample in dataset.train} == {1, 2}
    assert {sample.identity for sample in dataset.query} == {3, 4}
    assert {sample.identity for sample in dataset.gallery} == {0, 3, 4}
    per_camera = sorted((sample.identity, sample.camera) for sample in dataset.query)
    assert per_camera == [(i, c) for i in (3, 4) for c in range(3)]
    assert sum(dataset.left_out.values()) == 2  # the junk


def test_names_are_those_of_market1501(small):
    assert names(small, TRAIN)[0] == "0001_c1s1_000001_00.jpg"
    pattern = re.compile(r"\d{4}_c[12]s1_\d{6}_00\.jpg")
    assert all(pattern.fullmatch(path.name) for path in small.rglob("*.jpg"))


@pytest.mark.parametrize(("height", "width"), [(128, 64), (256, 128), (33, 17)])
def test_pictures_have_the_requested_size(tmp_path, height, width):
    options = SyntheticOptions(identities=2, cameras=2, crops=2, height=height, width=width)
    synthesize(tmp_path / "people", options)
    for path in (tmp_path / "people").rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((width, height), "RGB")


def test_no_two_people_of_a_family_are_the_same():
    people = [draw_identity(5, identity) for identity in range(1, 301)]
    clothes = {(p.hair, p.upper, p.lower, p.shoes, p.bag) for p in people}
    assert len(clothes) == len(people)


def test_families_share_some_traits():
    people = [draw_identity(5, identity) for identity in range(1, 301)]
    pairs = list(zip(people[0::3], people[1::3], strict=True))
    assert sum(first.upper == second.upper for first, second in pairs) > 0.05 * len(pairs)
    strangers = zip(people[0::3], people[4::3], strict=False)
    assert not any(first.upper == second.upper for first, second in strangers)


def test_every_kind_of_bag_is_carried():
    assert {draw_identity(5, identity).bag.kind for identity in range(1, 60)} == set(BagKind)


@pytest.mark.parametrize("phase", np.linspace(0.0, 2.0 * math.pi, 9))
def test_the_lower_foot_stands_on_the_floor(phase):
    bones = skeleton(Pose(yaw=0.3, phase=phase, stride=0.5, swing=0.4, bend=0.2), build=1.1)
    assert min(leg.ankle[1] for leg in bones.legs) == pytest.approx(ANKLE_HEIGHT)


def test_raw_pixels_find_some_people_but_by_no_means_all(tmp_path):
    options = SyntheticOptions(identities=80, cameras=3, crops=2, seed=1)
    synthesize(tmp_path / "people", options)
    dataset = read_dataset(DataSource(tmp_path / "people"))
    pixels = load_images(dataset.query + dataset.gallery, 32, 16).pixels
    rows = pixels.reshape(len(pixels), -1).astype(np.float32)
    rows -= rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    count = len(dataset.query)
    scores = evaluate(
        rows[:count], dataset.query, rows[count:], dataset.gallery, protocol="cross-camera"
    )
    # Chance is 0.09: of 80 pictures from two other cameras, 2 are correct.
    assert 0.15 < scores.map < 0.45


def test_a_folder_that_is_not_empty_is_not_changed(small, tmp_path):
    before = contents(small)
    with pytest.raises(Conflict, match="--overwrite"):
        synthesize(small, SyntheticOptions(identities=2))
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Conflict, match=r"thesis\.txt"):
        synthesize(tmp_path, SMALL, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert contents(small) == before


def test_overwrite_replaces_a_drawn_data_set(small, tmp_path):
    folder = tmp_path / "people"
    synthesize(folder, SyntheticOptions(identities=3, cameras=2, crops=2))
    synthesize(folder, SMALL, overwrite=True)
    assert contents(folder) == contents(small)
    assert [path.name for path in tmp_path.iterdir()] == ["people"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "people").mkdir()
    synthesize(tmp_path / "people", SMALL)
    assert len(contents(tmp_path / "people")) == 24


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "people").write_text("")
    with pytest.raises(Conflict, match="not a folder"):
        synthesize(tmp_path / "people", SMALL)
    with pytest.raises(InvalidInput, match="people"):
        synthesize(tmp_path / "people" / "below", SMALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("identities", 1),
        ("cameras", 1),
        ("cameras", 100),
        ("crops", 1),
        ("seed", -1),
        ("train_share", 0.0),
        ("train_share", 1.01),
        ("train_share", math.nan),
        ("distractors", -1),
        ("junk", -3),
        ("height", 31),
        ("width", 4096),
    ],
)
def test_a_wrong_option_is_named(field, value):
    with pytest.raises(InvalidInput, match=f"{field} is {value}"):
        SyntheticOptions(**{field: value})


def test_both_parts_get_at_least_one_identity():
    assert SyntheticOptions(identities=3, train_share=0.01).train_identities == 1
    assert SyntheticOptions(identities=3, train_share=0.99).train_identities == 2


def test_contact_sheet_shows_people_by_cameras(small, tmp_path):
    contact_sheet(small, tmp_path / "sheet.png", people=4, crops=2)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width == 2 * 2 * 64 + 6
        assert sheet.height == 18 + 4 * 128 + 3 * 6
        colours = sheet.convert("RGB").crop((0, 18, 64, 146)).getcolors(1 << 24)
    assert len(colours) > 20


def test_contact_sheet_needs_people(tmp_path):
    for part in (TRAIN, QUERY, GALLERY):
        (tmp_path / part).mkdir()
    with pytest.raises(InvalidInput, match="no pictures"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    command = [sys.executable, "-m", "training", "synthesize", str(tmp_path / "people")]
    size = ["--identities", "3000", "--processes", "2"]
    started = subprocess.Popen([*command, *size], stderr=subprocess.DEVNULL)
    unfinished = tmp_path / "people.unfinished"
    wait_until(lambda: any(unfinished.rglob("*.jpg")))
    children = _children(started.pid)
    started.kill()
    started.wait()
    assert len(children) >= 2
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    assert not (tmp_path / "people").exists()


def _children(parent):
    return [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit() and _parent_of(folder) == parent
    ]


def _parent_of(folder):
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None
