"""Knobs are named, bounded, and said in words when they are wrong."""

from dataclasses import fields, is_dataclass

import pytest
from typer.testing import CliRunner

from service.errors import InvalidInput
from training.__main__ import app
from training.synthetic import SyntheticOptions
from training.synthetic.bodies.knobs import Knobs, knob_names, parse_knobs


def test_knobs_are_set_by_name_and_the_others_keep_their_defaults():
    knobs = parse_knobs({"picture.blur": "2", "people.alike": "0.6", "supersampling": "2"})
    assert (knobs.picture.blur, knobs.people.alike, knobs.supersampling) == (2.0, 0.6, 2)
    assert knobs.scene == Knobs().scene
    assert parse_knobs({}) == Knobs()


def test_every_knob_has_a_name_and_a_line_that_explains_it():
    names = knob_names()
    assert len(names) == len(set(names)) > 25
    for section in fields(Knobs):
        value = getattr(Knobs(), section.name)
        if is_dataclass(value):
            for knob in fields(value):
                assert f"{section.name}.{knob.name}" in names
                assert f"        {knob.name}: " in (type(value).__doc__ or "")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("picture.blurr", "2", r"no knob is called picture\.blurr; there are .*picture\.blur,"),
        ("blur", "2", r"no knob is called blur; there are"),
        ("picture", "2", r"no knob is called picture; there are"),
        ("picture.blur", "-1", r"picture\.blur = '-1': .*greater than or equal to 0"),
        ("picture.blur", "nan", r"picture\.blur = 'nan': .*finite"),
        ("people.alike", "1.5", r"people\.alike = '1\.5': .*less than or equal to 1"),
        ("supersampling", "9", r"supersampling = '9': .*less than or equal to 3"),
        ("scene.far", "three", r"scene\.far = 'three': .*number"),
        ("scene.near", "30", r"near is 30\.0, must be at most far, which is 16\.0"),
        ("scene.height_low", "9", r"height_low is 9\.0, must be at most height_high"),
    ],
)
def test_a_wrong_knob_is_said_in_words(name, value, told):
    with pytest.raises(InvalidInput, match=told):
        parse_knobs({name: value})


def test_flat_people_have_no_knobs():
    with pytest.raises(InvalidInput, match="drawn people have no knobs"):
        SyntheticOptions(knobs=parse_knobs({"picture.blur": "2"}))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "picture.blur"], "must be KEY=VALUE"),
        (["--set", "picture.blur=1", "--set", "picture.blur=2"], "picture.blur is given twice"),
        (["--kind", "drawn", "--set", "picture.blur=2"], "drawn people have no knobs"),
        (["--views", "1"], "views is 1, must be 0 (all) or 2..3"),
        (["--views", "4"], "views is 4, must be 0 (all) or 2..3"),
    ],
)
def test_the_command_says_which_option_is_wrong(tmp_path, options, told):
    result = CliRunner().invoke(app, ["synthesize", str(tmp_path / "people"), *options])
    assert isinstance(result.exception, InvalidInput)
    assert told in str(result.exception)
    assert not list(tmp_path.iterdir())
