"""The documents, and a real service for the commands in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from waiting import PATIENCE, is_up, wait_until

from service.http.server import bind, url_of
from training.synthetic import SyntheticOptions, synthesize

ROOT = Path(__file__).parents[2]
SHIPPED = "models/hhcl-synthetic"


@dataclass(frozen=True)
class Place:
    """Where documented commands run; it replaces the documents' fixed names by its own places."""

    url: str
    drawn: Path
    model: Path
    folder: Path

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a documented command; curl fails on an HTTP status of 400 or more."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", self.placed(command)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def placed(self, command: str) -> str:
        """Return the command with this place's service, drawn people, model and interpreter."""
        command = command.replace("http://127.0.0.1:8000", self.url)
        command = command.replace("build/drawn-people", str(self.drawn))
        command = command.replace(SHIPPED, str(self.model))
        command = command.replace("docs/images", str(ROOT / "docs" / "images"))
        command = re.sub(r"\bcurl ", "curl --fail-with-body --show-error ", command)
        command = re.sub(
            r"\bpython -m service (detect|index|search) ", rf"\g<0>--url {self.url} ", command
        )
        return re.sub(r"\bpython ", f"{sys.executable} ", command)


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def documents() -> dict[str, str]:
    """Return the text of every document, by its path in the repository."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(paths)
    }


@pytest.fixture(scope="session")
def place(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Place]:
    """Run a service with the shipped model and the people that `make demo` draws."""
    folder = tmp_path_factory.mktemp("place")
    model = ROOT / SHIPPED
    if not model.is_dir():  # test_the_shipped_model_answers reports it
        model = request.getfixturevalue("tiny_model")
    drawn = synthesize(folder / "drawn", SyntheticOptions()).folder
    with bind("127.0.0.1", 0) as listener:
        url = url_of(listener)
    command = [sys.executable, "-m", "service", "serve", "--port", url.rpartition(":")[2]]
    command += ["--model", str(model), "--data", str(folder / "data"), "--device", "cpu"]
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file)
    try:
        wait_until_ready(process, url, log)
        yield Place(url, drawn, model, folder)
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return once the service answers; fail with its log if it ends instead."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as http:
        wait_until(lambda: process.poll() is not None or is_up(http))
    assert process.poll() is None, f"the service did not start: {log.read_text()}"
