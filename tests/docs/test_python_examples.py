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
