"""benchmarks/mutations.py: its mutations fit the code, and a survivor is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/mutations.py"
TWO = """
[tests]
"training/hhcl" = ["hhcl/test_memory.py"]
"training/hhcl/sampler.py" = ["hhcl/test_sampler.py"]

[[mutation]]
name = "draw outliers"
file = "training/hhcl/sampler.py"
old = "np.flatnonzero(labels >= 0)"
new = "np.flatnonzero(labels >= -1)"

[[mutation]]
name = "say the same in other words"
file = "training/hhcl/sampler.py"
old = "np.flatnonzero(labels >= 0)"
new = "np.flatnonzero(labels > -1)"
"""


@pytest.fixture(scope="module")
def mutations(monkeypatch_module):
    monkeypatch_module.syspath_prepend(str(SCRIPT.parent))
    import mutations

    return mutations


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_every_mutation_fits_the_code_and_has_quick_tests(mutations):
    """If one does not, the code has changed: change mutations.toml with it."""
    found = mutations.read_mutations()
    assert len({mutation.name for mutation in found}) == len(found) > 70
    for mutation in found:
        assert mutation.mutate(ROOT) != (ROOT / mutation.file).read_text()
        assert mutation.tests
        for test in mutation.tests:
            assert (ROOT / "tests/training" / test).is_file(), test


def test_a_mutation_that_does_not_fit_is_an_error(mutations):
    wrong = mutations.Mutation("wrong", "training/hhcl/sampler.py", "no such text", "", ())
    with pytest.raises(SystemExit, match="occurs 0 times"):
        wrong.mutate(ROOT)


def run(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--mutations", str(file), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_what_no_test_notices_is_named_and_fails_the_benchmark(tmp_path):
    (tmp_path / "two.toml").write_text(TWO)
    result = run(tmp_path / "two.toml")
    assert result.returncode == 1, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "mutations": 2,
        "score": 0.5,
        "survived": ["say the same in other words"],
    }
    assert "| draw outliers | `training/hhcl/sampler.py` | test_sampler |" in result.stdout
    assert "| say the same in other words | `training/hhcl/sampler.py` | **nothing** |" in (
        result.stdout
    )


def test_code_that_cannot_be_imported_is_an_error_and_no_success(tmp_path):
    broken = TWO.replace("np.flatnonzero(labels >= 0)", "import numpy as np")
    broken = broken.replace("np.flatnonzero(labels > -1)", "import no_such_module as np")
    (tmp_path / "two.toml").write_text(broken)
    result = run(tmp_path / "two.toml", "--only", "other words")
    assert result.returncode == 1
    assert "pytest ended with status 2" in result.stderr
    assert "score" not in result.stdout
