"""The extras resolve to packages that fit together; nothing is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
NO_NETWORK = ("error sending request", "Failed to fetch", "dns error", "operation timed out")


def resolve(extra: str) -> dict[str, str]:
    """The newest versions that an extra resolves to on Linux on x86-64, by name."""
    if not UV.is_file():
        pytest.skip("uv, which resolves the extras, is not installed")
    platform = ("--python-version", "3.11", "--python-platform", "x86_64-unknown-linux-gnu")
    command = (UV, "pip", "compile", "--no-annotate", "--no-header")
    answer = subprocess.run(
        [*command, *platform, "--extra", extra, "pyproject.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if answer.returncode and any(sign in answer.stderr for sign in NO_NETWORK):
        pytest.skip("uv reaches no package index")
    assert answer.returncode == 0, answer.stderr
    pins = (line.partition("==") for line in answer.stdout.splitlines() if "==" in line)
    return {name.partition("[")[0].lower(): version for name, _, version in pins}


@pytest.mark.parametrize("extra", ["server-gpu", "gpu"])
def test_the_gpu_extra_fits_together(extra: str) -> None:
    versions = resolve(extra)
    assert {"onnxruntime-gpu", "faiss-gpu-cuvs", "fastapi", "httpx"} <= set(versions)
    # faiss 1.15 is compiled against this release, whose symbols carry its number since 26.08.
    for library in ("libcuvs-cu13", "libraft-cu13", "librmm-cu13"):
        assert versions[library].startswith("26.6.")
    assert not [name for name in versions if name.endswith(("-cu11", "-cu12"))], "two CUDAs"
    assert not {"torch", "onnxruntime", "faiss-cpu"} & set(versions)


@pytest.mark.parametrize("extra", ["server-cpu", "cpu"])
def test_the_cpu_extra_is_a_whole_server(extra: str) -> None:
    versions = resolve(extra)
    assert {"onnxruntime", "faiss-cpu", "fastapi", "uvicorn", "httpx"} <= set(versions)
    assert not [name for name in versions if name == "torch" or name.startswith("nvidia-")]


def test_training_needs_no_server() -> None:
    versions = resolve("training")
    assert {"torch", "torchvision", "numpy", "scipy", "pillow", "onnxruntime"} <= set(versions)
    assert not {"fastapi", "uvicorn", "faiss-cpu", "prometheus-client"} & set(versions)
