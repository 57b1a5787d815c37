"""A service starts without what only some of its work needs."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["scipy.sparse", "scipy.optimize"])
def test_to_build_the_app_does_not_load(package):
    """``import scipy`` loads a part when it is first used, ``from scipy.x import`` at once."""
    script = f"import sys, service.http.app; assert {package!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
