"""The examples do what they say, against a running service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE

from service.testing import solid

EXAMPLES = Path(__file__).parents[3] / "examples"
RED, GREEN = (200, 20, 20), (20, 200, 20)


def watch(service: Any, *arguments: object) -> list[str]:
    script = EXAMPLES / "watch_folders.py"
    done = subprocess.run(
        [sys.executable, *map(str, (script, *arguments)), "--url", service.url, "--once"],
        env=os.environ | {"REID_KEY": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_watching_folders_adds_crops_and_prints_people(service, tmp_path):
    for camera in ("door", "hall"):
        for name, colour in {"a": RED, "b": GREEN}.items():
            path = tmp_path / camera / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(solid((*colour[:2], 20 + len(camera)), kind="PNG"))
    (tmp_path / "door" / "broken.jpg").write_bytes(b"nonsense")
    (tmp_path / "door" / ".half-written.png").write_bytes(b"nonsense")
    (tmp_path / "door" / "notes.txt").write_text("no picture")
    yesterday = tmp_path / "hall" / "old.png"
    yesterday.write_bytes(solid(RED, kind="PNG"))
    os.utime(yesterday, (time.time() - 86_400,) * 2)
    query = tmp_path / "door" / "a.png"
    lines = watch(service, tmp_path, "--gallery", "watched", "--query", query)
    assert lines[0].startswith(f"left out {tmp_path / 'door' / 'broken.jpg'}: Invalid image")
    people = [line for line in lines if "crops, cameras door, hall" in line]
    assert [line.partition(": ")[2] for line in people] == ["2 crops, cameras door, hall"] * 2
    assert lines[3] == "a.png: matched"
    assert lines[4].startswith("  person-")
    assert service.crop_ids("watched") == [
        *("door/a.png", "door/b.png", "hall/a.png", "hall/b.png", "hall/old.png")
    ]


def cells(path: Path) -> list[str]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"])
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


def test_the_notebook_runs_from_its_first_cell_to_its_last(service, monkeypatch, capsys):
    # Its cells are plain Python: no notebook server is needed to run them.
    monkeypatch.setenv("REID_URL", service.url)
    monkeypatch.setenv("REID_KEY", "")
    names: dict[str, Any] = {}
    try:
        for cell in cells(EXAMPLES / "tour.ipynb"):
            exec(compile(cell, "<cell>", "exec"), names)
    finally:
        names["client"].close()
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "36 crops, 18 queries"
    assert sum(line.startswith("person-") for line in said) > 1
    assert any(line.startswith("Anna ") for line in said)
    assert said[-1] == "36 crops deleted; copies in []"


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_examples_are_small(path):
    assert path.stat().st_size < 20_000
