"""What the tests of crashes and disks share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the package ``crash``, which benchmarks use too

from crash import faults


@pytest.fixture(scope="session")
def file_faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled fault-injecting file layer."""
    if reason := faults.missing():
        pytest.skip(reason)
    return faults.build(tmp_path_factory.mktemp("layer"))
