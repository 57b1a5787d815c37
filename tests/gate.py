"""What every run of the suite rests on: which tests may be skipped, and the same settings for all.

At home a test that lacks something is skipped and says what. In continuous integration
(``CI=true``) the same skip is a failure: an engine that quietly went missing would otherwise leave
its tests unrun for months. Only what a machine cannot help may be skipped there too.
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
"""How the reason of a skip begins that continuous integration accepts: there is no GPU (or there is
one, and the test is about its absence), or the project lies alone, without the crops beside it."""

TEST_OPTIONS = ("REID_TEST_", "REID_SCHEMA_")
"""How the names of variables begin that are options of the tests; other ``REID_`` variables are
settings of somebody's service."""

FOREIGN = (
    # They change what programs print.
    *("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "LINES"),
    # They change what programs do: settings of a server, of a cluster's job, of a git hook.
    *("WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"),
)

WORKERS = "PYTEST_XDIST_WORKER_COUNT"
"""Among how many processes the suite is shared out; set by pytest-xdist in each of them."""

_LOCAL = "127.0.0.1,localhost,::1"


def in_ci() -> bool:
    """Whether this is continuous integration, where nothing may be missing."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def same_settings() -> None:
    """Take out of the environment what is this machine's or this person's own."""
    # A shell lets what it starts in the background ignore the interrupt key, and so would every
    # program that a test starts and then interrupts.
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
    if WORKERS in os.environ:  # more threads than processors make everybody wait
        threads = max(1, (os.cpu_count() or 1) // int(os.environ[WORKERS]))
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, str(threads))
    # How long an example takes depends on what else the machine does. The gate tries the same ones
    # each time; at home they differ from run to run.
    settings.register_profile("any-machine", deadline=None, derandomize=in_ci())
    settings.load_profile("any-machine")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that run on request."""
    config.addinivalue_line(
        "markers", "on_request(variable): runs only if this environment variable is set"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what nobody asked for: that is no skip."""
    unasked = [item for item in items if not _is_asked_for(item)]
    if unasked:
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in unasked]


def _is_asked_for(item: pytest.Item) -> bool:
    return all(os.environ.get(mark.args[0]) for mark in item.iter_markers("on_request"))


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
    """The report; a failure instead of a skip that continuous integration does not accept."""
    if not (in_ci() and report.skipped) or hasattr(report, "wasxfail"):
        return report
    *_, told = report.longrepr if isinstance(report.longrepr, tuple) else (str(report.longrepr),)
    reason = told.removeprefix("Skipped: ")
    if not reason.startswith(MAY_BE_ABSENT):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure if CI is set: {reason}"
    return report
