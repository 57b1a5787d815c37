"""Sharing work over idle processors: every part is done, and nobody waits for a slow helper."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
from waiting import PATIENCE

from service.machine.shares import share


@pytest.mark.parametrize("helpers", [0, 1, 8])
@pytest.mark.parametrize("parts", [0, 1, 2, 300])
def test_every_part_is_done(helpers, parts):
    done = [0] * parts

    def work(part):
        done[part] = part + 1

    share(work, range(parts), helpers)
    assert done == list(range(1, parts + 1))


def test_a_part_that_a_helper_never_finishes_is_done_by_the_caller():
    caller, begun, over = threading.current_thread(), threading.Event(), threading.Event()
    done = []

    def work(part):
        if threading.current_thread() is not caller:
            begun.set()
            assert over.wait(PATIENCE)
        elif part != "first" or begun.wait(PATIENCE):
            done.append(part)

    try:
        share(work, ["first", "second", "third"], helpers=1)
        assert sorted(done) == ["first", "second", "third"] or begun.is_set()
        assert {"first", "second", "third"} == set(done)
    finally:
        over.set()


@pytest.mark.parametrize("helpers", [0, 2])
def test_a_failure_reaches_the_caller_and_ends_the_work(helpers):
    tried = []

    def work(part):
        tried.append(part)
        if part == 3:
            raise ValueError("part 3")

    with pytest.raises(ValueError, match="part 3"):
        share(work, range(1000), helpers)
    assert len(tried) <= 1002


def test_the_service_computes_each_call_on_one_thread():
    """NumPy and FAISS read these variables when they are imported; set ones are kept."""
    program = """
from service.machine.processors import one_thread_per_call
one_thread_per_call()
import service.cli.main, sys
assert "numpy" not in sys.modules
import faiss
from threadpoolctl import threadpool_info
print(faiss.omp_get_max_threads(), {pool["num_threads"] for pool in threadpool_info()})
"""
    own = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=own, check=True
    )
    assert answer.stdout.split("\n")[0] == "1 {1}"
    own["OMP_NUM_THREADS"] = "2"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=own, check=True
    )
    assert answer.stdout.startswith("2 ")
