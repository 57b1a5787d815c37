"""A child process that crashes, stalls or swallows memory spoils one file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

PROGRAM = """
import json, os, signal
from service.errors import InvalidInput, ReidError
from service.imports import child
from service.imports.fork_server import limit_memory
from service.imports.messages import Done, Expect

def well(beat):
    yield Expect(3)
    beat()
    yield Done({"damaged": 0})

def refused(beat):
    yield Expect(3)
    raise InvalidInput("it is broken")

def killed(beat):
    yield Expect(3)
    os.kill(os.getpid(), signal.SIGSEGV)

def stalled(beat):
    yield Expect(3)
    while True:
        pass

def greedy(beat):
    yield Expect(3)
    bytearray(1 << 31)

def faulty(beat):
    yield Expect(3)
    1 / 0

limit_memory(1 << 30)
child._STALLED = 1
for work in (well, refused, killed, stalled, greedy, faulty):
    seen, error = [], None
    try:
        for message in child.in_child(work):
            seen.append(type(message).__name__)
    except ReidError as raised:
        error = [type(raised).__name__, str(raised)]
    print(json.dumps([seen, error]))
for message in child.in_child(stalled):
    break  # the child ends with its generator
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("none left")
"""


def test_a_child_fails_alone():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    *lines, last = done.stdout.splitlines()
    well, refused, killed, stalled, greedy, faulty = map(json.loads, lines)
    assert well == [["Expect", "Done"], None]
    assert refused == [["Expect"], ["InvalidInput", "it is broken"]]
    assert killed[1][0] == "Unavailable"
    assert "killed by SIGSEGV" in killed[1][1]
    assert "no progress in 1 s" in stalled[1][1]
    assert greedy[1][0] == "TooLarge"
    assert faulty[1][0] == "InvalidInput"
    assert "not foreseen: ZeroDivisionError" in faulty[1][1]
    assert done.stderr.startswith("a file could not be decoded:\nTraceback")
    assert last == "none left"
