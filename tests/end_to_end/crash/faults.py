"""The fault-injecting file layer: how it is built, and how a program runs on top of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("file_faults.c")
STRIKE = Path(__file__).with_name("strike.py")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def missing() -> str:
    """Why the layer cannot be used here; an empty string if it can."""
    if sys.platform != "linux":
        return "the file layer is written for Linux"
    return "" if shutil.which("cc") else "the file layer needs a C compiler (cc), which is missing"


def build(folder: Path) -> Path:
    """Compile the layer into a folder and return the path of the library."""
    library = folder / "file_faults.so"
    flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run(["cc", *flags, "-o", library, SOURCE], check=True)
    return library


def strike(
    library: Path, folder: Path, *, stride: int = 1, offset: int = 0, operations: Sequence[str] = ()
) -> dict[str, Any]:
    """Inject a fault at every write of the chosen changes; see ``strike.py``.

    Args:
        library: the compiled layer.
        folder: an empty folder.
        stride: strike only every n-th write.
        offset: the first write to strike, from 0.
        operations: names of the operations to strike; all if empty.

    Returns:
        The report: boundaries, struck, acknowledged, refused, problems.
    """
    command = [sys.executable, STRIKE, folder, "--stride", str(stride), "--offset", str(offset)]
    chosen = ["--operations", *operations] if operations else []
    done = subprocess.run(
        [*command, *chosen],
        env={**os.environ, **ONE_THREAD, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.rstrip().endswith("}"):
        raise RuntimeError(done.stderr)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
