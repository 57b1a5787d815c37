"""200 malformed uploads over a real socket, each twice; the benchmark sends ten thousand twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks/fuzz_run.py"


def test_malformed_uploads_are_rejected_and_harm_nothing():
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--cases", "200", "--seed", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["bad"] == []
    assert done.returncode == 0
    assert sum(report["statuses"].values()) == 400
    assert report["statuses"]["200"] > 40  # otherwise the mutations leave nothing readable
    assert report["statuses"]["422"] > 40


def test_a_case_can_be_repeated():
    command = [sys.executable, BENCHMARK, "--seed", "3", "--only", "17"]
    first, again = (subprocess.run(command, capture_output=True, check=True) for _ in range(2))
    assert first.stdout == again.stdout
    assert first.stdout.startswith((b"POST /", b"PUT /"))
