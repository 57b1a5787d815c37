"""Four times the load that the service can answer, for five seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks/overload.py"


@pytest.fixture(scope="module")
def report() -> dict:
    options = ("--fake-delay", "0.05", "--calibration", "3", "--seconds", "5")
    done = subprocess.run(
        [sys.executable, BENCHMARK, *options], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_request_is_answered_or_refused_with_a_retry_time(report):
    sent = report["answered"] + sum(report["refused"].values())
    assert report["failed"] == 0, report["failures"]
    assert sent == pytest.approx(report["sent_per_second"] * report["seconds"], abs=2)
    assert set(report["refused"]) <= {"429", "503"}
    assert report["answered"] > 0
    assert sum(report["refused"].values()) > 0


def test_answered_requests_waited_far_less_than_in_an_endless_queue(report):
    # The exact time depends on the machine. test_batching.py tests the service's own limit with an
    # artificial clock, and the benchmark measures it.
    sent = report["sent_per_second"] * report["seconds"]
    endless = sent / report["sustainable_per_second"] - report["seconds"]
    assert report["p99_seconds"] < endless / 2


def test_probes_are_answered_and_memory_does_not_grow(report):
    assert not {"failed", "probes", "memory"} & set(report["broken"])
