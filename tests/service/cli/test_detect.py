"""``python -m service detect`` against a running service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli.main import cli
from service.testing import solid

ROOT = Path(__file__).parents[3]
DRAWN = ROOT / "docs" / "images" / "drawn-people.png"


@pytest.fixture(scope="module")
def service(launch, tmp_path_factory):
    detector = ROOT / "models" / "nanodet-person"
    with launch(tmp_path_factory.mktemp("data"), detector=detector) as service:
        yield service


def run(service, *arguments: object):
    return CliRunner().invoke(cli, ["detect", *map(str, arguments), "--url", service.url])


def lines(done) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_of_json_per_frame(service, tmp_path):
    plain = tmp_path / "plain.png"
    plain.write_bytes(solid((90, 90, 90), 90, 160, "PNG"))
    done = run(service, DRAWN, plain)
    assert done.exit_code == 0, done.output
    drawn, empty = lines(done)
    assert drawn["file"] == str(DRAWN)
    assert len(drawn["persons"]) >= 25
    assert empty == {"file": str(plain), "width": 160, "height": 90, "persons": []}


def test_crops_are_written_where_the_boxes_are(service, tmp_path):
    done = run(service, DRAWN, "--crops", tmp_path / "found" / "here", "--score", "0.6")
    assert done.exit_code == 0, done.output
    (drawn,) = lines(done)
    assert {person["crop"] for person in drawn["persons"]} == {
        str(file) for file in (tmp_path / "found" / "here").iterdir()
    }
    for person in drawn["persons"]:
        assert Path(person["crop"]).name.startswith("drawn-people_")
        with Image.open(person["crop"]) as crop:
            assert crop.width == pytest.approx(person["box"]["width"], abs=2)
            assert crop.height == pytest.approx(person["box"]["height"], abs=2)


def test_a_frame_that_cannot_be_used_is_named_and_the_others_are_answered(service, tmp_path):
    broken, dot = tmp_path / "broken.png", tmp_path / "dot.png"
    broken.write_bytes(b"no image")
    dot.write_bytes(solid((1, 1, 1), 1, 1, "PNG"))
    done = run(service, broken, DRAWN, dot)
    assert done.exit_code == 1
    first, second, third = lines(done)
    assert "is not a JPEG" in first["error"]
    assert second["persons"]
    assert "1x1 pixels" in third["error"]


def test_frames_whose_crops_would_have_equal_names_are_refused(service, tmp_path):
    other = tmp_path / DRAWN.name
    other.write_bytes(DRAWN.read_bytes())
    done = run(service, DRAWN, other, "--crops", tmp_path / "found")
    assert done.exit_code == 1
    assert "2 frames are named drawn-people" in done.stderr
    assert not (tmp_path / "found").exists()
    assert run(service, DRAWN, other).exit_code == 0


@pytest.mark.parametrize(("option", "value"), [("--tiles", "9x9"), ("--score", "2")])
def test_an_option_that_breaks_a_rule_is_named(service, option, value):
    done = run(service, DRAWN, option, value)
    assert done.exit_code == 1
    assert option.removeprefix("--") in done.stderr
    assert done.stdout == ""


def test_a_service_without_a_detector_says_what_to_set(start, tmp_path):
    with start(detector=tmp_path / "nowhere") as service:
        done = run(service, DRAWN)
    assert done.exit_code == 1
    assert "set REID_DETECTOR" in done.stderr


def test_search_for_everyone_on_frames(service, tmp_path):
    plain = tmp_path / "plain.png"
    plain.write_bytes(solid((90, 90, 90), 90, 160, "PNG"))
    arguments = ["search", str(DRAWN), str(plain), "--detect", "--tiles", "1x1"]
    done = CliRunner().invoke(cli, [*arguments, "--url", service.url])
    assert done.exit_code == 0, done.output
    rows = done.stdout.splitlines()
    assert sum("drawn-people.png (" in row for row in rows) >= 25
    assert sum("no person was found on this frame" in row for row in rows) == 1
