"""`make` installs with uv, which it tells pip's settings, or else with pip."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = """#!/bin/sh
if [ "$*" = "config list" ]; then cat {settings}; else echo "pip $*" >>{log}; fi
"""
UV = """#!/bin/sh
echo "uv $UV_DEFAULT_INDEX, $UV_INDEX, $UV_FIND_LINKS, $SSL_CERT_FILE" >>{log}
exit {status}
"""


class Checkout:
    """A checkout with an environment whose programs only note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.settings = folder / "settings"
        self.settings.touch()
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        shutil.copytree(ROOT / "docker", folder / "docker")
        (folder / ".venv" / "bin").mkdir(parents=True)
        self._program("python", "#!/bin/sh\n")
        self._program("pip", PIP)

    def install(self, *, uv_status: int = 0) -> list[str]:
        """Install the service; return what was called."""
        self._program("uv", UV, status=uv_status)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("UV_", "SSL"))
        }
        answer = subprocess.run(
            ["make", ".venv/.installed-cpu"],
            cwd=self.folder,
            env={**environment, "MAKEFLAGS": "", "MAKELEVEL": "0"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        return self.log.read_text(encoding="utf-8").splitlines()

    def _program(self, name: str, body: str, status: int = 0) -> None:
        file = self.folder / ".venv" / "bin" / name
        file.write_text(
            body.format(settings=self.settings, log=self.log, status=status), encoding="utf-8"
        )
        file.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return Checkout(tmp_path)


def locks_of(calls: list[str], program: str) -> list[str]:
    """The lock files that a program was told to install from."""
    words = [call.split() for call in calls if call.startswith(f"{program} install")]
    return [word for call in words for word in call if word.startswith("docker/requirements-")]


def test_uv_installs_and_pip_only_what_uv_needs(checkout):
    calls = checkout.install()
    assert locks_of(calls, "pip") == ["docker/requirements-make.txt"]
    assert "uv , , , " in calls


def test_uv_is_told_of_the_mirror_that_pip_uses(checkout):
    checkout.settings.write_text(
        ":env:.cert='/ours.pem'\n"
        ":env:.index-url='https://environment.example/simple'\n"
        "global.extra-index-url='https://one.example/simple https://two.example/simple'\n"
        "global.find-links='/a folder/wheels'\n"
        "global.index-url='https://file.example/simple'\n"
        "global.timeout='60'\n",
        encoding="utf-8",
    )
    told = (
        "uv https://environment.example/simple, "
        "https://one.example/simple https://two.example/simple, /a folder/wheels, /ours.pem"
    )
    assert told in checkout.install()


def test_pip_installs_where_uv_cannot(checkout):
    locks = locks_of(checkout.install(uv_status=1), "pip")
    assert locks == ["docker/requirements-make.txt", "docker/requirements-server-cpu.txt"]
