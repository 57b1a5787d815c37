"""Filmed scenes: the truth against the pixels, people who never meet, and equal bytes."""

import csv
import io
import itertools
import json
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from service.errors import Conflict, InvalidInput
from training.data.datasets import DataSource, read_dataset
from training.synthetic.bodies.shading import World, look
from training.synthetic.scenes import SceneOptions, cut_crops, make_scenes, video, write_videos
from training.synthetic.scenes import dataset as scene_dataset
from training.synthetic.scenes.filming import (
    _moving,
    _see,
    _walkers,
    film_frame,
    silhouette,
    stage_of,
)
from training.synthetic.scenes.ground import ground_map
from training.synthetic.scenes.motion import smear_people
from training.synthetic.scenes.paths import BODY_RADIUS
from training.synthetic.scenes.plan import SAME_CAMERA, SPEEDS, make_plan
from training.synthetic.scenes.region import changed_parts
from training.synthetic.scenes.walks import TICK

HOW_TO_GET = "is not installed: pip install '.[training,people]'"
pytest.importorskip("anny", reason=f"anny {HOW_TO_GET}")
pytest.importorskip("warp", reason=f"warp {HOW_TO_GET}")

SMALL = SceneOptions(
    identities=30,
    cameras=2,
    seconds=2.0,
    fps=3,
    people_per_minute=60.0,
    height=90,
    width=160,
    seed=3,
)
BUSY = replace(SMALL, cameras=3, seconds=60.0, people_per_minute=25.0)
CAMERAS = range(SMALL.cameras)
FRAME = 3


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows_of(folder):
    with (folder / "tracks.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "small"
    make_scenes(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def plan():
    return make_plan(SMALL)


@pytest.fixture(scope="module")
def busy():
    return make_plan(BUSY)


@pytest.fixture(scope="module")
def filmed(plan):
    return [film_frame(SMALL, plan.walks[c], stage_of(SMALL, c), FRAME) for c in CAMERAS]


def test_everybody_in_the_frame_has_a_sighting(filmed):
    for frame in filmed:
        seen = set(np.unique(frame.who).tolist()) - {-1}
        assert seen <= {each.visit for each in frame.sightings}
    assert sum(len(frame.sightings) for frame in filmed) >= 3


def test_boxes_enclose_the_pixels_tightly(filmed):
    """Where all of somebody is seen, the box ends within a pixel of the outermost ones."""
    whole = 0
    for frame in filmed:
        for each in frame.sightings:
            rows, columns = np.nonzero(frame.who == each.visit)
            if not len(rows):
                continue
            box, middle = each.clipped, 0.5
            assert columns.min() + middle >= box.left
            assert columns.max() + middle <= box.right
            assert rows.min() + middle >= box.top
            assert rows.max() + middle <= box.bottom
            if each.visibility == 1.0:
                whole += 1
                assert columns.min() - box.left < 1.0
                assert box.right - (columns.max() + 1) < 1.0
                assert rows.min() - box.top < 1.0
                assert box.bottom - (rows.max() + 1) < 1.0
    assert whole


def test_visibility_is_the_share_of_pixels_seen(plan, filmed):
    for camera, frame in zip(CAMERAS, filmed, strict=True):
        stage = stage_of(SMALL, camera)
        walkers = _walkers(SMALL, plan.walks[camera], stage, SMALL.second_of(FRAME))
        for walker in walkers:
            sightings = [each for each in frame.sightings if each.visit == walker.walk.visit]
            for each in sightings:
                alone = silhouette(stage.view, walker.standing, each.whole)
                seen = int((frame.who == each.visit).sum())
                assert each.visibility == pytest.approx(seen / alone)


def test_only_the_changed_parts_differ_from_the_empty_street(plan):
    """Shadows included: outside the parts, a look with people equals one without."""
    for camera in CAMERAS:
        stage = stage_of(SMALL, camera)
        walkers = _walkers(SMALL, plan.walks[camera], stage, SMALL.second_of(FRAME))
        rays, light = stage.view.rays(), stage.camera.light
        full, empty = (
            look(World(stage.street, stage.mesh, people), stage.view.origin, rays, light, 5).light
            for people in (tuple(walker.standing for walker in walkers), ())
        )
        differs = np.abs(full - empty).max(2) > 1e-4
        extents = [walker.extent for walker in walkers]
        for left, top, right, bottom in changed_parts(extents, stage.coarse, light, SMALL.size):
            differs[top:bottom, left:right] = False
        assert differs.sum() == 0


def test_people_darken_the_ground(plan):
    """Shadows beside people are in the frame, not only the people."""
    stage = stage_of(SMALL, 1)
    frame = film_frame(SMALL, plan.walks[1], stage, FRAME)
    alone = film_frame(SMALL, (), stage, FRAME)
    darker = alone.pixels.astype(int).sum(2) - frame.pixels.astype(int).sum(2) > 30
    assert (darker & (frame.who < 0)).any()


def test_whoever_moves_is_smeared_and_the_street_is_not(plan):
    smeared_somewhere = False
    for camera in CAMERAS:
        stage = stage_of(SMALL, camera)
        walkers = _walkers(SMALL, plan.walks[camera], stage, SMALL.second_of(FRAME))
        light, who = _see(SMALL, stage, walkers, 5)
        long = [  # as with a slow shutter; these frames are small
            replace(each, across=each.across * slow, down=each.down * slow)
            for each in _moving(stage, walkers, SMALL.second_of(FRAME))
            if each.length
            for slow in [4.0 / each.length]
        ]
        smeared = smear_people(light, stage.empty, who, long)
        differs = np.abs(smeared - light).max(2) > 1e-6
        smeared_somewhere |= bool(differs.any())
        near = ndimage.binary_dilation(who >= 0, np.ones((9, 9), dtype=bool))
        assert not (differs & ~near).any()
    assert smeared_somewhere


def test_nobody_is_in_two_places_at_once(busy):
    """Between two cameras, people need the time to walk there."""
    visits = {}
    for camera, walks in enumerate(busy.walks):
        for walk in walks:
            visits.setdefault(walk.identity, []).append(
                (walk.start * TICK, walk.end * TICK, camera)
            )
    several = 0
    for stays in visits.values():
        stays.sort()
        for (_, left, before), (arrived, _, after) in itertools.pairwise(stays):
            metres = float(np.linalg.norm(busy.places[before] - busy.places[after]))
            assert arrived - left >= (SAME_CAMERA if before == after else metres / SPEEDS[1]) - TICK
            several += before != after
    assert several >= 5


def test_nobody_walks_through_things_or_others(busy):
    for camera, walks in enumerate(busy.walks):
        ground = ground_map(BUSY.site, camera)
        for walk in walks:
            cells = [ground.cell(x, y) for x, y in walk.table[:, :2]]
            assert min(ground.room[cell] for cell in cells) >= BODY_RADIUS - 0.18  # half a cell
        for tick in range(0, 600, 5):
            places = [
                walk.table[tick - walk.start, :2]
                for walk in walks
                if walk.start <= tick <= walk.end
            ]
            for index, place in enumerate(places):
                for other in places[:index]:
                    assert np.linalg.norm(place - other) > 2 * BODY_RADIUS - 0.01


def test_people_appear_out_of_sight(busy):
    """Nobody pops up in the middle of a frame."""
    for camera, walks in enumerate(busy.walks):
        ground = ground_map(BUSY.site, camera)
        for walk in walks:
            for x, y in (walk.table[0, :2], walk.table[-1, :2]):
                row, column = ground.cell(x, y)
                near = ground.sight[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
                assert not near.all()


def test_a_quiet_site_has_nobody():
    assert make_plan(replace(SMALL, people_per_minute=0.0)).walks == ((), ())


def test_too_few_people_are_said():
    plan = make_plan(replace(SMALL, identities=1))
    assert plan.turned_away > 0
    assert len({walk.identity for walks in plan.walks for walk in walks}) <= 1


def test_the_folder_has_everything(small):
    scene = json.loads((small / "scene.json").read_text(encoding="utf-8"))
    assert scene["options"]["width"] == 160
    assert [each["name"] for each in scene["cameras"]] == ["camera-01", "camera-02"]
    assert {"position", "forward", "focal", "light"} <= set(scene["cameras"][0])
    for camera in ("camera-01", "camera-02"):
        frames = sorted(path.name for path in (small / camera).glob("*.jpg"))
        assert frames == [f"{frame:06d}.jpg" for frame in range(1, SMALL.frames + 1)]
        with Image.open(small / camera / frames[0]) as picture:
            assert picture.size == (160, 90)
        assert "seqLength=6\n" in (small / camera / "seqinfo.ini").read_text(encoding="utf-8")
    assert {path.name for path in small.iterdir()} == {
        "camera-01", "camera-02", "scene.json", "tracks.csv"
    }  # fmt: skip


def test_gt_says_the_same_as_the_table(small):
    rows = rows_of(small)
    assert rows
    for camera in ("camera-01", "camera-02"):
        lines = np.loadtxt(small / camera / "gt" / "gt.txt", delimiter=",", ndmin=2)
        table = [row for row in rows if row["camera"] == camera]
        assert len(lines) == len(table)
        for line, row in zip(lines, table, strict=True):
            assert (line[0], line[1]) == (int(row["frame"]), int(row["track"]))
            assert line[2] - 1 == pytest.approx(float(row["whole_left"]), abs=0.006)
            assert line[3] - 1 == pytest.approx(float(row["whole_top"]), abs=0.006)
            assert (line[6], line[7]) == (1, 1)
            assert 0.0 <= line[8] <= 1.0


def test_tracks_have_no_gaps_and_one_identity(small):
    tracks = {}
    for row in rows_of(small):
        tracks.setdefault((row["camera"], row["track"]), []).append(row)
    assert len(tracks) >= 3
    for rows in tracks.values():
        frames = [int(row["frame"]) for row in rows]
        assert frames == list(range(frames[0], frames[-1] + 1))
        assert len({row["identity"] for row in rows}) == 1
        for first, second in itertools.pairwise(rows):  # boxes move with a walk's speed
            assert abs(float(first["distance"]) - float(second["distance"])) < 1.7 / SMALL.fps


def test_the_camera_of_the_file_projects_people_into_their_boxes(small, plan):
    """What scene.json says is enough to find somebody's middle in the frame."""
    cameras = json.loads((small / "scene.json").read_text(encoding="utf-8"))["cameras"]
    checked = 0
    for row in rows_of(small):
        camera = int(row["camera"][-2:]) - 1
        says, second = cameras[camera], float(row["seconds"])
        walk = next(
            walk
            for walk in plan.walks[camera]
            if walk.identity == int(row["identity"]) and walk.at(second)
        )
        x, y, _, _ = walk.at(second)
        offset = np.array([x, y, 0.9]) - says["position"]
        depth = offset @ says["forward"]
        across = says["middle"][0] + says["focal"] * (offset @ says["right"]) / depth
        down = says["middle"][1] - says["focal"] * (offset @ says["up"]) / depth
        assert float(row["whole_left"]) <= across <= float(row["whole_right"])
        assert float(row["whole_top"]) <= down <= float(row["whole_bottom"])
        checked += 1
    assert checked


def test_a_complete_folder_is_left_alone(small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    summary = make_scenes(small, SMALL)
    assert summary.frames == 12
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_other_scenes_are_not_overwritten(small):
    with pytest.raises(Conflict, match="--overwrite"):
        make_scenes(small, replace(SMALL, seed=4))


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(Conflict, match=r"holiday\.jpg"):
        make_scenes(tmp_path, SMALL, overwrite=True)


def test_an_interrupted_run_continues_to_the_same_bytes(small, tmp_path, monkeypatch):
    out = tmp_path / "again"
    made = []

    def interrupted(options, walks, stage, frame):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(frame)
        return film_frame(options, walks, stage, frame)

    monkeypatch.setattr(scene_dataset, "film_frame", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_scenes(out, SMALL)
    assert not out.exists()
    assert len(list(tmp_path.rglob("*.jpg"))) == 5
    resumed = []

    def counted(options, walks, stage, frame):
        resumed.append(frame)
        return film_frame(options, walks, stage, frame)

    monkeypatch.setattr(scene_dataset, "film_frame", counted)
    make_scenes(out, SMALL)
    assert len(resumed) == 12 - 5
    assert contents(out) == {
        name: content for name, content in contents(small).items() if not name.startswith("crops")
    }


def test_two_processes_make_the_same_bytes(small, tmp_path):
    make_scenes(tmp_path / "two", SMALL, processes=2)
    assert contents(tmp_path / "two") == {
        name: content for name, content in contents(small).items() if not name.startswith("crops")
    }


def test_crops_come_with_a_manifest(small, tmp_path):
    folder = tmp_path / "scenes"
    shutil.copytree(small, folder)
    count = cut_crops(folder)
    rows = list(csv.DictReader(io.StringIO((folder / "crops" / "manifest.csv").read_text("utf-8"))))
    assert count == len(rows) > 0
    truth = {(row["camera"], row["track"]): row["identity"] for row in rows_of(folder)}
    for row in rows:
        assert truth[row["camera"], row["track"]] == row["identity"]
        with Image.open(folder / "crops" / row["path"]) as crop:
            assert crop.height >= 24
    dataset = read_dataset(DataSource(folder / "crops"))
    assert len(dataset.train) == count
    assert cut_crops(folder) == count  # and once more, nothing is cut again


def test_crops_need_scenes(tmp_path):
    with pytest.raises(InvalidInput, match="No such file"):
        cut_crops(tmp_path)


def chunks(data):
    """The chunks of a RIFF list, by name; a chunk has an even number of bytes."""
    place = 0
    while place < len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        yield name, data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def test_a_film_holds_the_very_frames(small, tmp_path):
    folder = tmp_path / "scenes"
    shutil.copytree(small, folder)
    films = write_videos(folder)
    assert [film.name for film in films] == ["camera-01.avi", "camera-02.avi"]
    data = films[0].read_bytes()
    assert data[:4] == b"RIFF"
    assert data[8:12] == b"AVI "
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    (_, header), (_, movie), (name, index) = chunks(data[12:])
    assert header[:4] == b"hdrl"
    assert movie[:4] == b"movi"
    assert name == b"idx1"
    frames = [content for _, content in chunks(movie[4:])]
    files = sorted((folder / "camera-01").glob("*.jpg"))
    assert frames == [file.read_bytes() for file in files]
    for number, frame in enumerate(frames):
        _, _, place, size = struct.unpack_from("<4sIII", index, 16 * number)
        assert movie[place + 8 : place + 8 + size] == frame
    whole = struct.unpack("<14I", dict(chunks(header[4:]))[b"avih"])
    assert (whole[0], whole[4], whole[8], whole[9]) == (1_000_000 // 3, 6, 160, 90)
    before = films[0].stat().st_mtime_ns
    assert write_videos(folder) == films
    assert films[0].stat().st_mtime_ns == before
    make_scenes(folder, SMALL)  # films do not make the folder foreign
    with pytest.raises(Conflict, match="already holds other scenes"):
        make_scenes(folder, replace(SMALL, seed=4))


def test_a_film_that_is_too_large_is_refused(small, tmp_path, monkeypatch):
    folder = tmp_path / "scenes"
    shutil.copytree(small, folder)
    monkeypatch.setattr(video, "LARGEST", 1000)
    with pytest.raises(InvalidInput, match="film fewer seconds"):
        write_videos(folder)
    assert not list(folder.glob("*.avi*"))


def test_films_need_scenes(tmp_path):
    with pytest.raises(InvalidInput, match="No such file"):
        write_videos(tmp_path)
