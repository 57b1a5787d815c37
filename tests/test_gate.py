"""The gate itself: a missing engine is a failure in continuous integration, and a skip at home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import gate
import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "PYTEST_JOBS")
"""What ``make test`` may have put into the environment, and what a user may."""

LACKS = """
import pytest

@pytest.fixture
def engine():
    pytest.skip("no engine answers")

def test_by_fixture(engine): ...

def test_by_call():
    pytest.skip("no browser here")

@pytest.mark.skipif(True, reason="no index answers")
def test_by_mark(): ...

def test_by_import():
    pytest.importorskip("no_such_engine", reason="the client is not installed")

@pytest.mark.skipif(True, reason="GPU: there is none")
def test_gpu(): ...

def test_shared():
    pytest.skip("../shared: no crops here")

@pytest.mark.xfail(reason="known")
def test_known():
    assert False

@pytest.mark.on_request("SOMETHING_TO_DRAW")
def test_on_request(): ...

def test_present(): ...
"""
WHOLE_FILE = """
import pytest
pytest.importorskip("no_such_engine", reason="the whole engine is missing")
def test_anything(): ...
"""


# Loading only these plugins saves seconds in every run.
PLUGINS = ("-p", "no:cacheprovider", "-p", "xdist.plugin", "-p", "pytest_timeout")


def environment(variables: Mapping[str, str | None]) -> dict[str, str]:
    """The environment of a run; None removes a variable."""
    merged = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}
    return {name: value for name, value in merged.items() if value is not None}


def run_tests(*arguments: str | Path, cwd: Path, **variables: str | None) -> tuple[int, str]:
    """The exit status and the output of a separate run of pytest."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", *PLUGINS, *arguments],
        cwd=cwd,
        env=environment(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A small suite with the project's gate."""
    shutil.copy(TESTS / "gate.py", tmp_path / "gate.py")
    shutil.copy(TESTS / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    (tmp_path / "test_lacks.py").write_text(LACKS)
    (tmp_path / "test_whole_file.py").write_text(WHOLE_FILE)
    return tmp_path


REASONS = [
    "no engine answers",
    "no browser here",
    "no index answers",
    "the client is not installed",
    "the whole engine is missing",
]


def test_at_home_a_missing_engine_is_a_skip_with_its_reason(suite):
    status, told = run_tests(cwd=suite, CI=None, SOMETHING_TO_DRAW=None)
    assert status == 0, told
    assert "1 passed, 7 skipped, 1 deselected, 1 xfailed" in told
    for reason in (*REASONS, "GPU: there is none", "../shared: no crops here"):
        assert reason in told


@pytest.mark.parametrize("said", ["true", "1"])
def test_in_ci_a_missing_engine_is_a_failure_with_its_reason(suite, said):
    arguments = ("--continue-on-collection-errors",)
    status, told = run_tests(*arguments, cwd=suite, CI=said, SOMETHING_TO_DRAW=None)
    assert status == 1, told
    assert "2 failed, 1 passed, 2 skipped, 1 deselected, 1 xfailed, 3 errors" in told
    for reason in REASONS:
        assert f"skipped, which is a failure if CI is set: {reason}" in told


IN_PARALLEL = ("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")


def test_several_processes_judge_alike(suite):
    arguments = (*IN_PARALLEL, "--continue-on-collection-errors")
    status, told = run_tests(*arguments, cwd=suite, CI="true", SOMETHING_TO_DRAW=None)
    assert status == 1, told
    assert "2 failed, 1 passed, 2 skipped, 1 xfailed, 3 errors" in told
    for reason in REASONS:
        assert f"skipped, which is a failure if CI is set: {reason}" in told
    status, told = run_tests(*IN_PARALLEL, cwd=suite, CI=None, SOMETHING_TO_DRAW=None)
    assert status == 0, told
    assert "1 passed, 7 skipped, 1 xfailed" in told


def test_several_processes_share_the_processors(suite):
    (suite / "test_threads.py").write_text(
        "import os\ndef test_threads():\n    assert int(os.environ['OMP_NUM_THREADS']) >= 1\n"
    )
    chosen = (*IN_PARALLEL, "test_threads.py")
    status, told = run_tests(*chosen, cwd=suite, OMP_NUM_THREADS=None)
    assert status == 0, told


def test_make_runs_the_suite_in_several_processes():
    recipe = subprocess.run(
        ["make", "--dry-run", "test", "PYTEST_ARGS=tests/test_gate.py"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in OF_MAKE},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    in_parallel = " ".join(("--numprocesses", "3", *IN_PARALLEL[2:]))
    assert f"-m pytest {in_parallel} tests/test_gate.py" in recipe


def test_the_longest_files_come_first(pytestconfig):
    for file in gate.LONGEST_FILES:
        assert (ROOT / file).is_file(), f"{file} has moved: update LONGEST_FILES"

    class Item:
        def __init__(self, nodeid):
            self.nodeid = nodeid

        def iter_markers(self, _name):
            return iter(())

    first, *_, last = gate.LONGEST_FILES
    items = [Item("tests/a.py::test_b[x]"), Item("tests/a.py::test_a"), Item(f"{last}::test_z")]
    items += [Item(f"{first}::test_y"), Item(f"{first}::test_x")]
    gate.pytest_collection_modifyitems(pytestconfig, items)
    ordered = [item.nodeid for item in items]
    long = [f"{first}::test_y", f"{first}::test_x", f"{last}::test_z"]
    assert ordered == [*long, "tests/a.py::test_b[x]", "tests/a.py::test_a"]


def test_a_whole_file_without_its_engine_fails_in_ci(suite):
    status, told = run_tests("test_whole_file.py", cwd=suite, CI="true")
    assert status != 0, told
    assert "the whole engine is missing" in told


def test_ci_accepts_a_missing_gpu_and_missing_shared_crops(suite):
    chosen = ("test_lacks.py", "-k", "gpu or shared or present")
    status, told = run_tests(*chosen, cwd=suite, CI="true")
    assert status == 0, told
    assert "1 passed, 2 skipped" in told


def test_a_requested_test_runs(suite):
    chosen = ("test_lacks.py", "-k", "on_request")
    status, told = run_tests(*chosen, cwd=suite, SOMETHING_TO_DRAW="here")
    assert status == 0, told
    assert "1 passed" in told


ENGINES = {
    "chromium": ("tests/end_to_end/test_page.py", "", "no Chromium here"),
    "docker": ("tests/end_to_end/test_docker.py", "", "Docker"),
    "compiler": ("tests/end_to_end/test_crash.py", "file_faults or disk or write", "C compiler"),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_hiding_an_engine_fails_in_ci_and_skips_at_home(engine, tmp_path):
    """The real tests, on a machine whose PATH contains no programs."""
    file, chosen, reason = ENGINES[engine]
    arguments = (file, "-k", chosen, "--maxfail", "1", "-m", "not on_request")
    at_home = run_tests(*arguments, cwd=ROOT, PATH=str(tmp_path), CI=None)
    in_ci = run_tests(*arguments, cwd=ROOT, PATH=str(tmp_path), CI="true")
    assert at_home[0] == 0, at_home[1]
    assert "skipped" in at_home[1]
    assert reason in at_home[1]
    assert in_ci[0] == 1, in_ci[1]
    assert "skipped, which is a failure if CI is set: " in in_ci[1]
    assert reason in in_ci[1]


def test_settings_of_this_machine_do_not_reach_the_tests(suite):
    (suite / "test_lacks.py").write_text(
        "import os\n"
        "def test_environment():\n"
        "    wrong = {'REID_PORT', 'reid_data', 'NO_COLOR', 'WORLD_SIZE', 'GIT_DIR'}\n"
        "    assert not wrong & set(os.environ)\n"
        "    assert os.environ['REID_SCHEMA_CASES'] == '7'\n"
        "    assert '127.0.0.1' in os.environ['NO_PROXY'].split(',')\n"
        "    assert 'intranet' in os.environ['NO_PROXY'].split(',')\n"
    )
    machine = {
        "REID_PORT": "1",
        "reid_data": "/nowhere",
        "NO_COLOR": "1",
        "WORLD_SIZE": "4",
        "GIT_DIR": "elsewhere",
        "REID_SCHEMA_CASES": "7",
        "NO_PROXY": "intranet",
    }
    status, told = run_tests("test_lacks.py", cwd=suite, **machine)
    assert status == 0, told


@pytest.mark.parametrize("processes", ["0", "2"])
def test_programs_can_be_interrupted_in_the_background_of_a_shell(suite, processes):
    (suite / "test_programs.py").write_text(
        "import signal, subprocess, sys\n"
        "def test_handler():\n"
        "    told = 'import signal; print(signal.getsignal(signal.SIGINT).__name__)'\n"
        "    done = subprocess.run([sys.executable, '-c', told], capture_output=True)\n"
        "    assert done.stdout.strip() == b'default_int_handler', done\n"
    )
    command = [sys.executable, "-m", "pytest", *PLUGINS, "-n", processes]
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", ignoring, *command, "test_programs.py"],
        cwd=suite,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
