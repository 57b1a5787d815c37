"""Rules for every run of the suite: which tests may be skipped, equal settings, and the order.

At home a test that lacks something is skipped and says what is missing. In continuous integration
(``CI=true``) the same skip is a failure, because a missing engine would otherwise leave its tests
unrun for months, unnoticed. Only what a machine cannot provide may be skipped there too.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

MAY_BE_ABSENT = ("GPU: ", "../shared: ")
"""Continuous integration accepts a skip if its reason begins with one of these: the machine has no
GPU (or has one, and the test is about its absence), or the folder beside the project is missing."""

TEST_OPTIONS = ("REID_TEST_", "REID_SCHEMA_")
"""Prefixes of variables that are options of the tests. Other ``REID_`` variables are settings of a
service."""

FOREIGN = (
    # They change what programs print.
    *("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "LINES"),
    # They change what programs do: settings of a server, a cluster's job or a git hook.
    *("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"),
    # It makes every program that a test starts compile the project again.
    "PYTHONDONTWRITEBYTECODE",
)

WORKERS = "PYTEST_XDIST_WORKER_COUNT"
"""The number of processes that run the suite; pytest-xdist sets it in each of them."""

LONGEST_FILES = (
    "tests/end_to_end/test_docker.py",  # waits for the package index while others compute
    "tests/interplay/test_pausing_changes_of_crops.py",
    "tests/interplay/test_pausing_changes_of_galleries.py",
    "tests/end_to_end/test_page.py",
    "tests/end_to_end/test_improving_gallery.py",
    "tests/training/hhcl/test_loop.py",
    "tests/training/run/test_optional_steps.py",
    "tests/service/gallery/test_gallery_conformance.py",
    "tests/training/adapt/test_adapt.py",
    "tests/end_to_end/test_crash.py",
    "tests/docs/test_readme.py",
    "tests/training/hhcl/test_pretrain.py",
    "tests/end_to_end/test_schema_fuzz.py",
    "tests/end_to_end/test_disk.py",
    "tests/end_to_end/test_process.py",
    "tests/training/page/test_run_page.py",
    "tests/training/synthetic/bodies/test_bodies.py",
    "tests/service/ingest/test_real_folders.py",
    "tests/training/synthetic/scenes/test_scenes.py",
    "tests/training/core/test_distributed.py",
    "tests/training/test_mutations.py",
    "tests/end_to_end/test_report_page.py",
    "tests/service/gallery/test_erasure.py",
    "tests/training/export/test_export_of_backbones.py",
    "tests/training/scl/test_scl_loop.py",
    "tests/training/export/test_flip.py",
)
"""Files that take about a minute or more. They start first: a process runs whole files, so a long
file that starts last would keep one process busy long after the others have ended."""

_LOCAL = "127.0.0.1,localhost,::1"


def in_ci() -> bool:
    """Whether this is continuous integration, where a skip is a failure."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def same_settings() -> None:
    """Remove settings of this machine and this user from the environment."""
    # A shell makes background programs ignore the interrupt key; a test's programs would inherit
    # that, and could not be interrupted.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        ours = name.startswith(TEST_OPTIONS)
        if name in FOREIGN or (name.upper().startswith("REID_") and not ours):
            del os.environ[name]
    os.environ["COLUMNS"] = "100"
    for name in ("NO_PROXY", "no_proxy"):  # every server under test is on this machine
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), _LOCAL)))
    if WORKERS in os.environ:  # more threads than processors slow every process down
        threads = max(1, (os.cpu_count() or 1) // int(os.environ[WORKERS]))
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, str(threads))
    # The duration of an example depends on what else the machine does, so there is no deadline.
    # Continuous integration repeats the same examples; at home they differ from run to run.
    settings.register_profile("any-machine", deadline=None, derandomize=in_ci())
    settings.load_profile("any-machine")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that run only on request."""
    config.addinivalue_line(
        "markers", "on_request(variable): runs only if this environment variable is set"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that run only on request, and put the longest files first."""
    not_requested = [item for item in items if not _is_requested(item)]
    if not_requested:
        config.hook.pytest_deselected(items=not_requested)
    chosen = [item for item in items if item not in not_requested]
    items[:] = sorted(chosen, key=_place)


def _is_requested(item: pytest.Item) -> bool:
    return all(os.environ.get(mark.args[0]) for mark in item.iter_markers("on_request"))


def _place(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    return LONGEST_FILES.index(file) if file in LONGEST_FILES else len(LONGEST_FILES)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, pytest.TestReport]:
    """Judge the skips of tests and fixtures."""
    report: pytest.TestReport = yield
    return _judged(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, pytest.CollectReport]:
    """Judge the skips of whole files."""
    report: pytest.CollectReport = yield
    return _judged(report)


def _judged(report: Any) -> Any:
    """Turn a skip that continuous integration does not accept into a failure."""
    if not (in_ci() and report.skipped) or hasattr(report, "wasxfail"):
        return report
    *_, message = report.longrepr if isinstance(report.longrepr, tuple) else (str(report.longrepr),)
    reason = message.removeprefix("Skipped: ")
    if not reason.startswith(MAY_BE_ABSENT):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure if CI is set: {reason}"
    return report
