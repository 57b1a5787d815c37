"""The command line where only the client is installed: the packages of the server are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE

from service.testing import solid

BARE = """
import runpy, sys

MISSING = {
    "numpy", "scipy", "PIL", "onnxruntime", "faiss", "fastapi", "starlette", "uvicorn", "multipart",
    "python_multipart", "prometheus_client", "pydantic_settings", "swagger_ui_bundle", "pyarrow",
}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv[0] = "service"
runpy.run_module("service", run_name="__main__")
"""


def bare(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BARE, *map(str, arguments)],
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        name = f"000{number}_c1s1_000000_00.png"
        (tmp_path / name).write_bytes(solid((9 * number, 9, 9), kind="PNG"))
    return tmp_path


def test_index_and_search_work(service, folder):
    where = ("--gallery", "bare", "--url", service.url)
    done = bare("index", folder, *where)
    assert (done.returncode, done.stdout[:5]) == (0, "2 new"), done.stderr
    again = bare("index", folder, "--pattern", r"(?P<identity>\d+).*", *where)
    assert again.returncode == 0, again.stderr
    found = bare("search", folder / "0000_c1s1_000000_00.png", *where)
    assert found.returncode == 0, found.stderr
    assert "0000_c1s1_000000_00.png" in found.stdout


@pytest.mark.parametrize("command", [["--help"], ["serve", "--help"], ["keys", "create", "--help"]])
def test_help_works(command):
    done = bare(*command)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [["serve"], ["keys", "list"], ["check", "."], ["demo", "."]])
def test_a_command_of_the_server_says_what_to_install(command):
    done = bare(*command)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: this command needs the server")
    assert "pip install 'hhcl-reid[server-cpu]'" in line
