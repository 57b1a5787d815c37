"""The extra `gpu` resolves to packages that fit together, without installing its gigabytes."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_NETWORK = ("(from versions: none)", "Failed to establish a new connection", "timed out")


def resolve(*requirements: str) -> dict[str, str]:
    """The versions pip would install, by name; skips where it reaches no package index."""
    flags = ("install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-")
    answer = subprocess.run(
        (sys.executable, "-m", "pip", *flags, *requirements),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if answer.returncode and any(sign in answer.stderr for sign in NO_NETWORK):
        pytest.skip("pip reaches no package index")
    assert answer.returncode == 0, answer.stderr
    packages = [entry["metadata"] for entry in json.loads(answer.stdout)["install"]]
    return {package["name"].lower(): package["version"] for package in packages}


@pytest.mark.slow
@pytest.mark.timeout(660)
@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="the CUDA packages of the extra `gpu` are made for Linux on x86-64",
)
def test_the_gpu_extra_fits_together() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = resolve(*project["optional-dependencies"]["gpu"])
    assert {"onnxruntime-gpu", "faiss-gpu-cuvs"} <= set(versions)
    # faiss 1.15 is compiled against this release, whose symbols carry its number since 26.08.
    for library in ("libcuvs-cu13", "libraft-cu13", "librmm-cu13"):
        assert versions[library].startswith("26.6.")
    assert not [name for name in versions if name.endswith(("-cu11", "-cu12"))], "two CUDAs"
    assert not {"torch", "onnxruntime", "faiss-cpu"} & set(versions)
