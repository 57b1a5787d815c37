"""Boxes, tracks and the files of the truth; none of it needs a body."""

import csv
import io
import math

import numpy as np
import pytest

from training.synthetic.bodies.view import View
from training.synthetic.scenes.frame import FrameView, PixelBox
from training.synthetic.scenes.options import SceneOptions
from training.synthetic.scenes.truth import (
    Sighting,
    dump_sightings,
    load_sightings,
    mot_lines,
    table_text,
    track,
)

OPTIONS = SceneOptions(width=200, height=100, fps=10)


def level_view():
    """Two metres above the origin, looking level along -x: the picture's right is +y."""
    view = View.towards(np.array([0.0, 0.0, 2.0]), np.array([-1.0, 0.0, 2.0]))
    return FrameView(view, 100.0, (100, 200))


def sighting(frame, visit=0, visibility=1.0, box=(10.0, 20.0, 30.0, 60.0)):
    whole = PixelBox(*box)
    return Sighting(frame, visit, visit + 1, whole, whole.clipped((100, 200)), visibility, 7.5)


@pytest.mark.parametrize(
    ("point", "pixel"),
    [
        ((-10.0, 0.0, 2.0), (100.0, 50.0)),  # straight ahead: the middle of the frame
        ((-10.0, 5.0, 2.0), (150.0, 50.0)),  # 100 px/m * 5 m / 10 m to the right
        ((-10.0, 0.0, 0.0), (100.0, 70.0)),  # 100 * 2 / 10 below
        ((-4.0, -2.0, 3.0), (50.0, 25.0)),
    ],
)
def test_projection_by_hand(point, pixel):
    pixels, depth = level_view().pixels(np.array([point]))
    assert pixels[0] == pytest.approx(pixel)
    assert depth[0] == pytest.approx(-point[0])


def test_the_box_of_a_block_by_hand():
    """A block 1 m wide and 2 m high, 4.5 to 5.5 m away: its nearest side is seen largest."""
    block = np.array([(x, y, z) for x in (-4.5, -5.5) for y in (-0.5, 0.5) for z in (0.0, 2.0)])
    box = level_view().box_of(block)
    assert (box.left, box.right) == pytest.approx((100 - 50 / 4.5, 100 + 50 / 4.5))
    assert (box.top, box.bottom) == pytest.approx((50.0, 50 + 200 / 4.5))


def test_what_is_behind_the_camera_has_no_box():
    assert level_view().box_of(np.array([(-5.0, 0.0, 1.0), (1.0, 0.0, 1.0)])) is None


def test_rays_go_through_the_middles_of_pixels():
    view = level_view()
    rays = view.rays()
    assert rays.shape == (100, 200, 3)
    pixels, _ = view.pixels(np.array(view.origin) + 5.0 * rays[20, 30][None])
    assert pixels[0] == pytest.approx((30.5, 20.5), abs=1e-3)
    part = view.rays((30, 20, 50, 40))
    assert np.allclose(part, rays[20:40, 30:50], atol=1e-6)


def test_boxes_are_clipped_to_the_frame():
    assert PixelBox(-5.0, 90.0, 20.0, 130.0).clipped((100, 200)) == PixelBox(0.0, 90.0, 20.0, 100.0)
    assert PixelBox(-5.0, 100.0, 20.0, 130.0).clipped((100, 200)) is None
    assert PixelBox(200.0, 10.0, 220.0, 30.0).clipped((100, 200)) is None


def test_a_gap_begins_a_new_track():
    tracked = track([sighting(frame, visit) for visit in (0, 1) for frame in (1, 2, 5, 6)])
    tracks = {}
    for each in tracked:
        tracks.setdefault(each.track, []).append((each.sighting.visit, each.sighting.frame))
    assert tracks == {
        1: [(0, 1), (0, 2)],
        2: [(1, 1), (1, 2)],
        3: [(0, 5), (0, 6)],
        4: [(1, 5), (1, 6)],
    }


def test_a_track_lasts_from_the_first_seen_frame_to_the_last():
    shares = [0.0, 0.2, 0.0, 0.9, 0.0]
    tracked = track([sighting(n, visibility=share) for n, share in enumerate(shares, start=1)])
    assert [each.sighting.frame for each in tracked] == [2, 3, 4]
    assert track([sighting(1, visibility=0.0)]) == []


def test_sightings_survive_a_file():
    sightings = [sighting(3, visit=2, visibility=1 / 3)]
    assert load_sightings(dump_sightings(sightings)) == sightings


def test_gt_counts_from_one_and_reaches_beyond_the_frame():
    text = mot_lines(track([sighting(1, box=(-10.0, 0.0, 30.5, 60.0), visibility=0.75)]))
    assert text == "1,1,-9.00,1.00,40.50,60.00,1,1,0.7500\n"


def test_the_table_has_both_boxes_and_the_time():
    tracked = track([sighting(1), sighting(2, box=(-10.0, 20.0, 30.0, 60.0))])
    rows = list(csv.DictReader(io.StringIO(table_text(OPTIONS, {"camera-01": tracked}))))
    assert [row["time"] for row in rows] == ["2026-01-05T12:00:00.000Z", "2026-01-05T12:00:00.100Z"]
    assert (rows[1]["left"], rows[1]["whole_left"]) == ("0.00", "-10.00")
    assert (rows[1]["track"], rows[1]["identity"], rows[1]["camera"]) == ("1", "1", "camera-01")
    assert math.isclose(float(rows[1]["distance"]), 7.5)
