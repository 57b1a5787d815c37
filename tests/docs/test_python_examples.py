"""The Python examples of the documents run.

A block is run if the line ``<!-- tested: python -->`` stands before its fence, as a program of its
own, against the service and the drawn people of :mod:`tests.docs.conftest`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.client import Client
from service.client.routes import Group

ROOT = Path(__file__).parents[2]
MARKED = re.compile(
    r"^<!-- tested: python -->\n+```python\n(?P<block>.*?)^```$", re.MULTILINE | re.DOTALL
)


def examples() -> list[tuple[str, str]]:
    """Every marked block, after the path of its document in the repository."""
    return [
        (path.relative_to(ROOT).as_posix(), found["block"])
        for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
        for found in MARKED.finditer(path.read_text(encoding="utf-8"))
    ]


def test_the_api_document_shows_the_client():
    assert "docs/api.md" in {name for name, _ in examples()}


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=f"{name}-{i}") for i, (name, block) in enumerate(examples())]
)
def test_python_examples_run(block, place):
    done = subprocess.run(
        [sys.executable, "-c", place.placed(block)],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def test_the_table_of_the_client_names_every_method():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    section = text.partition("\n## The Python client\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`client[^|]*`) \| ([^|]+) \|", section, re.MULTILINE)
    named = {
        group.removeprefix("client").removeprefix("."): set(re.findall(r"`(\w+)`", methods))
        for groups, cell in rows
        for group, methods in zip(re.findall(r"`([\w.]+)`", groups), cell.split("; "), strict=True)
    }
    with Client() as client:
        groups = {name: group for name, group in vars(client).items() if isinstance(group, Group)}
        methods = {"": methods_of(client)} | {
            name: methods_of(group) for name, group in groups.items()
        }
    assert named == methods


def methods_of(group: object) -> set[str]:
    """Return the names of a group's public methods."""
    public = (name for name in dir(type(group)) if not name.startswith("_"))
    return {name for name in public if callable(getattr(group, name))}
