"""People in three dimensions: geometry, light, repeatability, and how hard the pictures are."""

import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_array

from service.errors import Conflict, InvalidInput
from service.machine.durable import UNFINISHED
from training.data.datasets import DataSource, read_dataset
from training.measure.evaluation import evaluate
from training.synthetic import SyntheticOptions, synthesize
from training.synthetic.artists import artist_for
from training.synthetic.bodies.body import BodyModel, RestBody, load_body_model, shape_body
from training.synthetic.bodies.chart import Chart, Column, Piece
from training.synthetic.bodies.dressing import dress
from training.synthetic.bodies.figure import build_figure
from training.synthetic.bodies.knobs import Knobs, PeopleKnobs, PictureKnobs, SceneKnobs
from training.synthetic.bodies.parts import Part, parts_of
from training.synthetic.bodies.person import Shape
from training.synthetic.bodies.pose import (
    Gesture,
    Pose,
    Stance,
    draw_pose,
    rotations_of,
    turned,
)
from training.synthetic.bodies.rays import Placed, Shadows, build_mesh, cast
from training.synthetic.bodies.shading import Standing
from training.synthetic.bodies.shot import Spot, _corners, _detect, shoot
from training.synthetic.bodies.site import Site
from training.synthetic.bodies.view import Box, View
from training.synthetic.bodies.wardrobe import draw_person, draw_stranger
from training.synthetic.dataset import NOTE
from training.synthetic.shots import Shot, cameras_of, list_shots

HOW_TO_GET = "is not installed: pip install '.[training,people]'"
anny = pytest.importorskip("anny", reason=f"anny {HOW_TO_GET}")
pytest.importorskip("warp", reason=f"warp {HOW_TO_GET}")

SIZE = (80, 40)
MODEL = Path(__file__).parents[4] / "models" / "hhcl-mobilenetv2"
SMALL = SyntheticOptions(
    identities=4, cameras=3, crops=2, seed=3, height=80, width=40, kind="bodies", views=2
)
TALL = Shape(maleness=0.95, age=0.7, muscle=0.6, weight=0.4, height=0.5, proportions=0.5)
AVERAGE = Shape(maleness=0.5, age=0.5, muscle=0.5, weight=0.5, height=0.5, proportions=0.5)


def walking(phase=0.2, left=Gesture.SWING, right=Gesture.SWING, stance=Stance.WALK):
    return Pose(
        stance=stance,
        left=left,
        right=right,
        phase=phase,
        stride=1.0,
        lean=2.0,
        turn=10.0,
        nod=5.0,
        swing=1.0,
        spread=3.0,
        sway=2.0,
    )


@pytest.fixture(scope="module")
def model():
    return load_body_model()


@pytest.fixture(scope="module")
def person():
    return draw_stranger(np.random.default_rng(8), PeopleKnobs())


@pytest.fixture(scope="module")
def figure(model, person):
    return build_figure(dress(person, model), walking(), model)


@pytest.fixture(scope="module")
def site():
    return Site(seed=5, cameras=2, knobs=Knobs())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bodies") / "small"
    synthesize(folder, SMALL)
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")
    }


# ---- the body


@pytest.mark.parametrize("shape", [AVERAGE, TALL])
@pytest.mark.parametrize("phase", [0.0, 0.35, 0.7])
def test_our_posing_equals_that_of_the_body_models_library(model, shape, phase):
    import torch

    turns = rotations_of(walking(phase, right=Gesture.PHONE_AT_EAR), model)
    ours = shape_body(shape)
    posed = model.skin(ours.vertices, model.pose(ours, turns))
    theirs = anny.Anny(topology="anny").to(dtype=torch.float32)
    pose = torch.eye(4)[None, None].repeat(1, theirs.bone_count, 1, 1)
    for bone, turn in turns.items():
        pose[0, model.bone(bone), :3, :3] = torch.as_tensor(turn, dtype=torch.float32)
    values = {"gender": 1.0 - shape.maleness} | {
        name: getattr(shape, name) for name in theirs.phenotype_labels if name != "gender"
    }
    kinds = {name: torch.tensor([value]) for name, value in values.items()}
    expected = theirs(pose_parameters=pose, phenotype_kwargs=kinds)["vertices"][0].numpy()
    # The library first turns every bone by the degree or two between the shape's own rest pose and
    # a common one; ours starts from the shape's own.
    a, b = posed - posed.mean(0), expected - expected.mean(0)
    u, _, v = np.linalg.svd(a.T @ b)
    assert np.abs(a @ (u @ v) - b).max() < 0.03
    assert math.degrees(math.acos((np.trace(u @ v) - 1) / 2)) < 3.0


def test_a_chain_of_two_bones_moves_as_computed_by_hand():
    """The elbow bends by 90 degrees after the shoulder has risen by 90 degrees."""
    joints = np.array([[0, 0, 0], [0, 0, -1]], dtype=np.float32)
    points = np.array([[0, 0, 0], [0, 0, -1], [0, 0, -2]], dtype=np.float32)
    weights = csr_array(np.array([[1, 0], [0.5, 0.5], [0, 1]], dtype=np.float32))
    arm = BodyModel(
        bones=("upper", "lower"),
        parents=(-1, 0),
        faces=np.array([[0, 1, 2]], dtype=np.int32),
        weights=weights,
        neighbours=weights,
        chart=Chart(np.zeros((3, len(Column)), dtype=np.float32)),
        neutral=RestBody(points, joints),
    )
    turns = {"upper": turned("x", -90.0), "lower": turned("x", -90.0)}
    posed = arm.skin(points, arm.pose(arm.neutral, turns))
    # Down becomes forward (-y); beyond the elbow, forward becomes up.
    assert posed == pytest.approx(np.array([[0, 0, 0], [0, -1, 0], [0, -1, 1]]), abs=1e-6)


def test_a_body_stands_on_the_ground_and_is_as_tall_as_people_are(model):
    knobs = PeopleKnobs()
    heights = []
    for seed in range(12):
        stranger = draw_stranger(np.random.default_rng(seed), knobs)
        pose = walking(stance=Stance.STAND)
        built = build_figure(dress(stranger, model), pose, model)
        on_body = built.chart.piece == Piece.BODY
        assert built.vertices[on_body, 2].min() == pytest.approx(0.0, abs=1e-6)
        heights.append(np.ptp(built.vertices[on_body, 2]))
    assert 1.0 < min(heights) < max(heights) < 2.2
    assert 1.5 < np.median(heights) < 1.9


def test_men_are_taller_than_women_and_have_narrower_hips():
    woman, man = (
        shape_body(Shape(maleness=m, age=0.7, muscle=0.5, weight=0.5, height=0.38, proportions=0.5))
        for m in (0.0, 1.0)
    )
    hips, tall = [], []
    for body in (woman, man):
        trunk = body.vertices[np.abs(body.vertices[:, 2]) < 0.05]
        trunk = trunk[np.abs(trunk[:, 0]) < 0.3]
        tall.append(np.ptp(body.vertices[:, 2]))
        hips.append(np.ptp(trunk[:, 0]) / tall[-1])
    assert tall[1] > tall[0] + 0.08
    assert hips[0] > hips[1]


def test_clothes_are_outside_the_skin(model, person):
    dressed = dress(person, model)
    moved = np.linalg.norm(dressed.vertices - dressed.rest.vertices, axis=1)
    assert moved.max() < 0.15
    assert moved[model.chart.column(Column.EYE) > 0.5].max() < 0.03
    assert np.median(moved[parts_of(model.chart, person) == Part.TOP]) > 0.004


def test_the_left_foot_is_ahead_when_the_left_heel_strikes(model):
    rest = shape_body(AVERAGE)
    feet = [model.bone(f"foot.{side}") for side in "LR"]
    for phase, ahead in ((0.0, 0), (0.5, 1)):
        moves = model.pose(rest, rotations_of(walking(phase), model))
        y = [float((moves[f, :, :3] @ rest.joints[f] + moves[f, :, 3])[1]) for f in feet]
        assert y[ahead] < y[1 - ahead] - 0.2  # people face -y


def test_poses_fit_clothes_and_things(model):
    knobs = PeopleKnobs(sitting=1.0, accessories=3.0)
    rng = np.random.default_rng(1)
    for _ in range(60):
        stranger = draw_stranger(rng, knobs)
        pose = draw_pose(rng, stranger, knobs)
        if pose.stance is Stance.SIT:
            assert stranger.thing.kind == "none"
            assert stranger.bottom.cut in {"trousers", "shorts"}
        if stranger.thing.kind == "pram":
            assert (pose.left, pose.right) == (Gesture.PUSH, Gesture.PUSH)


# ---- projection, by hand


def test_a_projection_equals_the_one_computed_by_hand():
    # From 5 m away and 3 m up, looking at a point 1 m up: the line of sight falls 2 m over 5 m.
    view = View.towards(np.array([5.0, 0.0, 3.0]), np.array([0.0, 0.0, 1.0]))
    flat, depth = view.project(np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    length = math.sqrt(29.0)
    assert depth == pytest.approx([length, length, length + 2.0 / length])
    assert flat[0] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert flat[1] == pytest.approx([1.0 / length, 0.0])  # y is to the right of somebody facing -x
    # The origin is 1 m lower: 5 / sqrt(29) of it across the line of sight, 2 / sqrt(29) along it.
    assert flat[2] == pytest.approx([0.0, -(5.0 / length) / (length + 2.0 / length)])


def test_a_bodys_box_equals_the_one_computed_by_hand(figure):
    spot = Spot(x=1.0, y=0.5, yaw=0.0, view_x=9.0, view_y=0.5, distance=8.0)
    level = View(
        origin=np.array([9.0, 0.5, 1.2]),
        forward=np.array([-1.0, 0.0, 0.0]),
        right=np.array([0.0, 1.0, 0.0]),
        up=np.array([0.0, 0.0, 1.0]),
    )
    standing = Standing(figure, None, spot.x, spot.y, spot.yaw)
    box = level.box_of(_corners(standing, spot))
    x, y, z = figure.vertices.T
    ahead = 9.0 - (x + 1.0)
    assert box.top == pytest.approx(((z - 1.2) / ahead).max(), abs=1e-6)
    assert box.bottom == pytest.approx(((z - 1.2) / ahead).min(), abs=1e-6)
    assert box.left == pytest.approx((y / ahead).min(), abs=1e-6)
    assert box.right == pytest.approx((y / ahead).max(), abs=1e-6)
    turned = Standing(figure, None, spot.x, spot.y, math.pi / 2)  # from facing -y to facing +x
    quarter = _corners(turned, Spot(1.0, 0.5, math.pi / 2, 9.0, 0.5, 8.0))
    assert quarter[:, 0] == pytest.approx(1.0 - y, abs=1e-5)
    assert quarter[:, 1] == pytest.approx(0.5 + x, abs=1e-5)


def test_rays_go_through_the_pixels_of_their_box():
    view = View.towards(np.array([5.0, 0.0, 3.0]), np.array([0.0, 0.0, 1.0]))
    box = Box(-0.1, -0.2, 0.3, 0.2)
    rays = view.rays(box, (4, 2)).reshape(-1, 3)
    flat, _ = view.project(view.origin + 7.0 * rays.astype(np.float64))
    assert flat[0] == pytest.approx([0.0, 0.15], abs=1e-6)  # the middle of the upper left pixel
    assert flat[-1] == pytest.approx([0.2, -0.15], abs=1e-6)


def detect(whole: Box, seed: int, miss: float = 0.0, **knobs: float) -> Box:
    return _detect(whole, (160, 80), np.random.default_rng(seed), PictureKnobs(**knobs), miss)


def test_a_detector_without_errors_draws_the_persons_box_in_the_crops_shape():
    whole = Box(-0.04, -0.1, 0.04, 0.1)
    drawn = detect(whole, 0, box=0.0, tightness=0.0)
    assert drawn.height == pytest.approx(1.04 * whole.height)
    assert drawn.width == pytest.approx(drawn.height / 2)
    assert (drawn.left + drawn.right, drawn.top + drawn.bottom) == pytest.approx((0.0, 0.0))


def test_tight_boxes_lie_between_the_crops_shape_and_the_person():
    whole = Box(-0.04, -0.1, 0.04, 0.1)
    widths = [detect(whole, seed, box=0.0).width for seed in range(100)]
    assert min(widths) >= whole.width
    assert max(widths) <= 1.04 * whole.height / 2 + 1e-9
    assert np.ptp(widths) > 0.015
    broad = Box(-0.2, -0.1, 0.2, 0.1)
    assert detect(broad, 0, box=0.0).width == pytest.approx(1.6 * 1.04 * broad.height)


def test_detectors_make_errors_and_miss_on_request():
    whole = Box(-0.05, -0.1, 0.05, 0.1)
    drawn = [detect(whole, seed) for seed in range(200)]
    assert len({round(box.height, 4) for box in drawn}) > 100
    assert any(box.bottom > whole.bottom + 0.01 for box in drawn)  # feet cut off
    missed = detect(whole, 0, miss=0.5)
    assert missed.left + missed.right == pytest.approx(missed.width, rel=0.2)


# ---- rays


def test_rays_hit_what_is_nearest_and_shadows_fall_away_from_the_sun():
    corners = [(x, y) for x, y in ((-9.0, -9.0), (9.0, -9.0), (9.0, 9.0), (-9.0, 9.0))]
    ground = np.array([(*c, 0.0) for c in corners], dtype=np.float32)
    wall = np.array([(0, -1, 0), (0, 1, 0), (0, 1, 2), (0, -1, 2)], dtype=np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    solids = [Placed(build_mesh(ground, faces)), Placed(build_mesh(wall, faces), x=2.0)]
    targets = np.array([[2.0, 0.5, 1.0], [3.5, 0.0, 0.0], [1.0, 0.0, 0.0]])
    origin = np.array([6.0, 0.0, 3.0])
    rays = targets - origin
    length = np.linalg.norm(rays, axis=1)
    sun = (-math.sqrt(0.5), 0.0, math.sqrt(0.5))  # from behind the wall
    directions = np.concatenate([rays / length[:, None], [[0.0, 0.0, 1.0]]]).astype(np.float32)
    hits = cast(solids, (6.0, 0.0, 3.0), directions, Shadows(sun, 0.0, 4), seed=1)
    assert hits.solid.tolist() == [1, 0, 1, -1]  # the wall hides the point behind it
    assert hits.distance[:2] == pytest.approx(length[:2], abs=1e-4)
    assert hits.lit.tolist() == [0.0, 0.0, 0.0, 1.0]  # a sun at 45 degrees: 2 m of shadow
    further = np.array([[4.6 - 6.0, 0.0, -3.0]])
    further /= np.linalg.norm(further)
    sunny = cast(solids, (6.0, 0.0, 3.0), further.astype(np.float32), Shadows(sun, 0.0, 4), 1)
    assert sunny.lit.tolist() == [1.0]
    assert sunny.open.tolist() == [1.0]


def test_a_turned_solid_is_hit_where_it_is():
    wall = np.array([(0, 1, 0), (0, 2, 0), (0, 2, 2), (0, 1, 2)], dtype=np.float32)
    mesh = build_mesh(wall, np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32))
    turned = Placed(mesh, x=3.0, y=1.0, yaw=math.pi / 2)  # now from x 2 to x 1, in the plane y = 1
    down = np.array([[0.0, 1.0, 0.0]], dtype=np.float32)
    for x, expected in ((1.5, 0), (2.5, -1)):
        hits = cast([turned], (x, -4.0, 1.0), down, Shadows((0.0, 0.0, 1.0), 0.0, 0), 1)
        assert hits.solid.tolist() == [expected]
    hits = cast([turned], (1.5, -4.0, 1.0), down, Shadows((0.0, 0.0, 1.0), 0.0, 0), 1)
    assert hits.distance[0] == pytest.approx(5.0, abs=1e-5)


# ---- pictures


def test_the_same_stream_gives_the_same_picture(person, site):
    first, again = (shoot(person, 0, site, np.random.default_rng(4), SIZE) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (80, 40, 3)
    assert first.dtype == np.uint8


def test_most_crops_show_a_person_and_an_empty_one_shows_none(person, site):
    with_person = shoot(person, 1, site, np.random.default_rng(4), SIZE)
    without = shoot(None, 1, site, np.random.default_rng(4), SIZE)
    assert not np.array_equal(with_person, without)


@pytest.mark.parametrize("supersampling", [1, 2])
def test_supersampling_keeps_the_size(person, supersampling):
    fine = Site(seed=5, cameras=2, knobs=Knobs(supersampling=supersampling))
    assert shoot(person, 0, fine, np.random.default_rng(4), SIZE).shape == (80, 40, 3)


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(scene=SceneKnobs(shadows=0.0)),
        Knobs(scene=SceneKnobs(passers_by=3.0, occlusion=1.0)),
        Knobs(scene=SceneKnobs(backdrop=0.0)),
        Knobs(scene=SceneKnobs(indoors=1.0)),
        Knobs(picture=PictureKnobs(noise=0.0, blur=0.0, motion=0.0, compression=0.0)),
        Knobs(picture=PictureKnobs(exposure=3.0, colour=3.0, low_resolution=3.0, box=3.0)),
        Knobs(people=PeopleKnobs(shift=1.0, accessories=3.0, creases=3.0)),
        Knobs(people=PeopleKnobs(standing=0.0, sitting=1.0)),
    ],
)
def test_every_kind_of_knob_changes_the_picture(knobs):
    plain, turned = (
        [
            shoot(
                draw_person(np.random.default_rng(1), np.random.default_rng(2), each.people),
                0,
                Site(seed=5, cameras=2, knobs=each),
                np.random.default_rng(stream),
                SIZE,
            )
            for stream in (4, 5, 6)
        ]
        for each in (Knobs(), knobs)
    )
    assert not np.array_equal(plain, turned)


# ---- folders


def test_one_process_or_two_give_the_same_bytes(small, tmp_path):
    synthesize(tmp_path / "two", SMALL, processes=2)
    assert contents(tmp_path / "two") == contents(small)
    assert (tmp_path / "two" / NOTE).read_bytes() == (small / NOTE).read_bytes()


def test_an_interrupted_folder_is_completed_with_the_same_bytes(small, tmp_path, monkeypatch):
    out, made = tmp_path / "again", []
    artist = type(artist_for(SMALL))
    original = artist.make

    def stops(self, shot: Shot):
        if len(made) == 7:
            raise KeyboardInterrupt
        made.append(shot.file)
        return original(self, shot)

    monkeypatch.setattr(artist, "make", stops)
    with pytest.raises(KeyboardInterrupt):
        synthesize(out, SMALL)
    assert not out.exists()
    unfinished = tmp_path / "again.unfinished"
    half = f"0003_c1s1_000001_00.jpg{UNFINISHED}"
    (unfinished / "query" / half).write_bytes(b"half a picture")
    assert len(contents(unfinished)) == 7
    monkeypatch.setattr(artist, "make", original)
    synthesize(out, SMALL)
    assert contents(out) == contents(small)
    assert not list(out.rglob(f"*{UNFINISHED}"))
    assert not unfinished.exists()


def test_a_complete_folder_is_left_as_it_is(small, monkeypatch):
    def never(*_args):
        raise AssertionError("nothing is to be made")

    monkeypatch.setattr(type(artist_for(SMALL)), "make", never)
    summary = synthesize(small, SMALL)
    assert (
        summary.train
        == sum(1 for name in contents(small) if name.startswith("bounding")) - summary.gallery
    )


def test_other_options_do_not_replace_a_folder(small):
    with pytest.raises(Conflict, match="--overwrite"):
        synthesize(small, SyntheticOptions(identities=4, seed=9, kind="bodies"))


def test_views_choose_the_cameras_of_each_person(small):
    dataset = read_dataset(DataSource(small))
    seen = {}
    for sample in dataset.train + dataset.query + dataset.gallery:
        seen.setdefault(sample.identity, set()).add(sample.camera)
    assert {len(cameras) for cameras in seen.values()} == {2}
    assert len({tuple(cameras_of(SMALL, identity)) for identity in range(1, 60)}) == 3


def test_the_note_tells_everything_that_decides_the_pictures(small):
    note = json.loads((small / NOTE).read_text())
    assert note["kind"] == "bodies"
    assert note["knobs"]["picture"]["noise"] == 1.0
    assert (note["identities"], note["seed"], note["views"]) == (4, 3, 2)


def test_distractors_and_junk_are_people_or_empty_places():
    options = SyntheticOptions(
        identities=2, cameras=2, crops=2, distractors=2, junk=1, height=80, width=40, kind="bodies"
    )
    extras = [shot for shot in list_shots(options) if shot.identity < 1]
    pictures = [artist_for(options).make(shot) for shot in extras]
    assert [shot.empty for shot in extras] == [False, True, False]
    assert all(Image.open(io.BytesIO(each)).size == (40, 80) for each in pictures)


def test_a_missing_package_is_named(monkeypatch):
    import training.synthetic.bodies.body as module

    monkeypatch.setitem(sys.modules, "anny", None)
    module._load_anny.cache_clear()
    try:
        with pytest.raises(InvalidInput, match=r"extra 'people'.*anny"):
            module._load_anny()
    finally:
        module._load_anny.cache_clear()


# ---- how hard they are


def test_colours_find_fewer_people_than_a_trained_network(tmp_path):
    """A plain colour statistic does better than chance, and worse than a shipped network."""
    import torch

    from training.data.images import load_images
    from training.networks.embedder import open_embedder

    options = SyntheticOptions(
        identities=30,
        cameras=3,
        crops=2,
        seed=2,
        height=160,
        width=80,
        kind="bodies",
        train_share=0.05,
    )
    synthesize(tmp_path / "people", options)
    dataset = read_dataset(DataSource(tmp_path / "people"))
    colours = [_colour_histogram(s.path) for s in dataset.query + dataset.gallery]
    network = open_embedder(MODEL, torch.device("cpu"))
    pixels = load_images(dataset.query + dataset.gallery, network.height, network.width).pixels
    found = []
    for rows in (np.array(colours, dtype=np.float32), network.embed(pixels)):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        query, gallery = np.split(unit, [len(dataset.query)])
        found.append(
            evaluate(query, dataset.query, gallery, dataset.gallery, protocol="cross-camera").map
        )
    # Chance is about 0.08: of 38 pictures from two other cameras, 2 are correct.
    assert 0.1 < found[0] < 0.7
    assert found[1] > found[0] + 0.1


def _colour_histogram(path):
    """Hue and brightness of six stripes."""
    hsv = np.asarray(Image.open(path).convert("HSV"), dtype=np.int64)
    rows = []
    for stripe in np.array_split(hsv[:, 20:60], 6):
        cells = stripe[..., 0] // 32 * 4 + stripe[..., 2] // 64
        rows.append(np.bincount(cells.ravel(), minlength=32))
    return np.sqrt(np.concatenate(rows))
