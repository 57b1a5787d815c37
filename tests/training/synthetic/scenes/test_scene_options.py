"""Options of scenes: each value that breaks a rule is named."""

import pytest
from typer.testing import CliRunner

from service.errors import InvalidInput
from training.__main__ import app
from training.commands.options import knobs_of
from training.synthetic.bodies.knobs import Knobs
from training.synthetic.scenes.options import SceneOptions


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("identities", 0, "1..100000"),
        ("cameras", 0, "1..99"),
        ("cameras", 100, "1..99"),
        ("fps", 0, "1..30"),
        ("fps", 31, "1..30"),
        ("people_per_minute", -1.0, "0..120"),
        ("people_per_minute", float("nan"), "0..120"),
        ("height", 47, "48..2160"),
        ("width", 63, "64..3840"),
        ("seed", -1, "0..9223372036854775807"),
        ("seconds", 0.0, "above 0"),
        ("seconds", float("nan"), "above 0"),
        ("seconds", 3601.0, "at most 3600"),
        ("start", "noon", "must be a time"),
        ("start", "2026-01-05T12:00:00", "must name its zone"),
        ("start", "1969-01-05T12:00:00Z", "years 1970"),
    ],
)
def test_a_value_out_of_range_is_named(name, value, rule):
    with pytest.raises(InvalidInput, match=rf"^{name} is .*{rule}"):
        SceneOptions(**{name: value})


def test_a_frame_is_at_least_as_wide_as_high():
    with pytest.raises(InvalidInput, match="width is 480, must be at least the height, 540"):
        SceneOptions(width=480, height=540)


def test_scenes_have_no_supersampling():
    with pytest.raises(InvalidInput, match="supersampling is 2"):
        SceneOptions(knobs=Knobs(supersampling=2))


def test_frames_and_their_times():
    options = SceneOptions(seconds=2.0, fps=3, start="2026-01-05T13:00:00+01:00")
    assert options.frames == 6
    assert [options.second_of(frame) for frame in (1, 2, 3)] == [0.0, 0.333, 0.667]
    assert options.time_of(1) == "2026-01-05T12:00:00.000Z"
    assert options.time_of(3) == "2026-01-05T12:00:00.667Z"


def test_there_is_always_a_frame():
    assert SceneOptions(seconds=0.01, fps=1).frames == 1


def test_knobs_by_name():
    assert knobs_of(["people.standing=0.5"]).people.standing == 0.5
    with pytest.raises(InvalidInput, match="given twice"):
        knobs_of(["people.standing=0.5", "people.standing=0.6"])
    with pytest.raises(InvalidInput, match="no knob is called standing"):
        knobs_of(["standing=0.5"])


def test_the_command_names_a_wrong_value(tmp_path):
    result = CliRunner().invoke(app, ["scenes", str(tmp_path / "out"), "--fps", "99"])
    assert isinstance(result.exception, InvalidInput)
    assert "fps is 99" in str(result.exception)
    assert not list(tmp_path.iterdir())
