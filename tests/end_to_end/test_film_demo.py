"""``demo --video``: every stage against the truth about the people on two short films."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE

av = pytest.importorskip("av", reason="the extra `video` is not installed")

from films import film

from service.cli.film_demo.truth import FILE, Truth
from service.cli.film_demo.walk import FILMS, film_demo
from service.errors import InvalidInput

# Three people are on both of these parts.
PARTS = {"camera-03": range(1, 31), "camera-02": range(226, 256)}


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """Six seconds of two of the shipped films, and their truth."""
    folder = tmp_path_factory.mktemp("films")
    for place, (camera, frames) in enumerate(PARTS.items()):
        with av.open(FILMS / f"{camera}.mp4") as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        shown = pictures[frames.start - 1 : frames.stop - 1]
        (folder / f"{place}-{camera}.mp4").write_bytes(film(shown, rate=5))
    with (FILMS / FILE).open(newline="") as file, (folder / FILE).open("w", newline="") as copy:
        rows = list(csv.DictReader(file))
        writer = csv.DictWriter(copy, rows[0])
        writer.writeheader()
        for place, (camera, frames) in enumerate(PARTS.items()):
            for row in rows:
                if row["camera"] == camera and (number := int(row["frame"])) in frames:
                    frame = str(number - frames.start + 1)
                    writer.writerow(row | {"camera": f"{place}-{camera}", "frame": frame})
    return folder


def test_every_stage_agrees_with_the_truth(films):
    done = subprocess.run(
        [sys.executable, "-m", "service", "demo", films, "--video", "--once"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout
    followed = re.findall(r"^\d-camera-0\d +15 +(\d+) +([\d.]+)% +\d+ +(\d+)", told, re.MULTILINE)
    assert len(followed) == 2
    for people, found, tracks in followed:
        assert int(people) > 30
        assert float(found) > 40.0  # measured: 69 and 67
        assert int(tracks) >= 3
    right, asked = map(int, re.search(r"rank-1 of tracks: (\d+) of (\d+)", told).groups())
    assert asked >= 2
    assert right >= 1
    guests, strangers = map(int, re.search(r"(\d+) alerts .* (\d+) about str", told).groups())
    later = re.search(r"Watched 1-camera-02.mp4 in .* (\d+) persons stored", told)
    assert later
    assert guests + strangers >= 3
    assert re.search(rf"^true: \d+ of {guests} and \d+ of {strangers}$", told, re.MULTILINE)


def test_folders_that_cannot_be_shown_are_explained(tmp_path):
    with pytest.raises(InvalidInput, match="two cameras or more, found 0"):
        film_demo(tmp_path, tmp_path, once=True)
    assert Truth.read(tmp_path / FILE) is None
    (tmp_path / FILE).write_text("camera,frame\nc1,1\n")
    with pytest.raises(InvalidInput, match="not a list of true persons"):
        Truth.read(tmp_path / FILE)
