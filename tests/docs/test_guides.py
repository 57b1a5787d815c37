"""What the guides show beyond commands for a running service: keys, and files of YAML."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KEYS = re.compile(r"^python -m service (keys .+)$", re.MULTILINE)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(command: str, folder: Path) -> str:
    """Run a command of the service in a folder and return what it prints."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m service {command}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_commands_on_keys_work_in_their_order(tmp_path):
    guide = (ROOT / "docs/guides/add-keys-and-limits.md").read_text(encoding="utf-8")
    shown = KEYS.findall(guide)
    assert [command.split()[1] for command in shown] == ["create", "create", "list", "revoke"]
    (tmp_path / "data").mkdir()
    made = [run(command, tmp_path).strip() for command in shown[:2]]
    identifiers = [re.match(r"reid_(\w+?)_", key)[1] for key in made]
    assert set(identifiers) <= set(re.findall(r"\w+", run(shown[2], tmp_path)))
    run(re.sub(r"revoke \w+", f"revoke {identifiers[1]}", shown[3]), tmp_path)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=f"{path.stem}-{i}")
        for path in sorted(ROOT.glob("docs/**/*.md"))
        for i, block in enumerate(YAML.findall(path.read_text(encoding="utf-8")))
    ],
)
def test_files_of_yaml_parse(block):
    assert isinstance(yaml.safe_load(block), dict)
