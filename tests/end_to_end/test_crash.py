"""A service killed at any moment and at any write loses nothing that it acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import httpx
import pytest
from crash import faults
from crash.clients import Refused
from crash.importer import CROPS, Importer
from crash.inspection import compare
from crash.kills import run_kills
from crash.ledger import Change, Ledger, Record
from crash.operations import OPERATIONS
from crash.pictures import Pictures

KILLS = 10


def test_nothing_acknowledged_is_lost_to_kills(tiny_model, tmp_path):
    report = run_kills(tmp_path, KILLS, seed=1, model=tiny_model)
    assert not report.problems
    assert report.kills == KILLS
    assert report.acknowledged > 20
    assert report.searches > KILLS


CRASHED = "the service crashed 2 times while this job ran, so it is not started again"


@pytest.mark.parametrize("error", [CRASHED, "the disk is full"])
def test_an_import_is_resumed_after_two_kills_and_only_then(error):
    """On a slow machine two kills may strike the same import."""
    job = {"job_id": "1", "done": CROPS, "errors": 0, "resumable": False, "error": None}
    failed = {**job, "state": "failed", "resumable": True, "error": error}
    done = {**job, "state": "done"}
    importer = Importer("i", "kills", Pictures(seed=1), seed=1)
    importer.begin()
    answers = answering([(202, job), (200, failed), (200, job), (200, done)])
    with httpx.Client(base_url="http://service", transport=answers) as http:
        if error == CRASHED:
            importer.finish(http)
            assert importer.ledger.acknowledged == 1
        else:
            with pytest.raises(Refused, match=error):
                importer.finish(http)


def answering(answers: list[tuple[int, dict[str, object]]]) -> httpx.MockTransport:
    """Answers requests in this order, whatever they ask for."""
    left = iter(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        status, body = next(left)
        return httpx.Response(status, json=body)

    return httpx.MockTransport(answer)


def test_a_change_struck_at_any_write_is_complete_or_absent(file_faults, tmp_path):
    stride = 40
    offset = random.randrange(stride)  # many runs together strike every write
    report = faults.strike(file_faults, tmp_path, stride=stride, offset=offset)
    assert not report["problems"], f"offset {offset}"
    assert set(report["boundaries"]) == {operation.name for operation in OPERATIONS}
    assert min(report["boundaries"].values()) > 1
    assert report["acknowledged"]
    assert report["refused"]


WRITES = """
import ctypes, os, sys
from pathlib import Path
layer, folder = ctypes.CDLL(None), Path(sys.argv[1])
synced, unsynced = folder / "synced", folder / "unsynced"
for file in (synced, unsynced):
    file.write_bytes(b"old")
layer.file_faults_arm(os.fsencode(folder), 3, 1000)  # a power cut, later than any write
for file in (synced, unsynced):
    with file.open("r+b") as stream:
        stream.write(b"new and longer")
        stream.flush()
        if file == synced:
            os.fsync(stream.fileno())
layer.file_faults_end()
"""


def test_a_power_cut_reverts_writes_that_were_not_synced(file_faults, tmp_path):
    environment = {**os.environ, "LD_PRELOAD": str(file_faults)}
    command = [sys.executable, "-c", WRITES, tmp_path]
    done = subprocess.run(command, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "synced").read_bytes() == b"new and longer"
    assert (tmp_path / "unsynced").read_bytes() == b"old"


@pytest.fixture
def ledger() -> Ledger:
    """One acknowledged crop, and a pending batch of two."""
    ledger = Ledger()
    ledger.begin(Change({"a": Record("1")}))
    ledger.acknowledge()
    ledger.begin(Change({"b": Record("2"), "c": Record("3")}))
    return ledger


@pytest.mark.parametrize("found", ["a", "abc"])
def test_a_pending_request_may_be_stored_or_not(ledger, found):
    records = {"a": Record("1"), "b": Record("2"), "c": Record("3")}
    assert ledger.settle({key: records[key] for key in found}) == []


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({}, "a: acknowledged Record(digest='1'"),
        ({"a": Record("9")}, "found Record(digest='9'"),
        ({"a": Record("1"), "d": Record("4")}, "d: acknowledged None"),
        ({"a": Record("1"), "b": Record("2")}, "half of an unacknowledged change of ['b', 'c']"),
    ],
)
def test_the_ledger_notices_lost_altered_and_partial_changes(ledger, found, problem):
    (wrong,) = ledger.settle(found)
    assert problem in wrong


SCORES = {"a": 0.9, "b": 0.5}


@pytest.mark.parametrize(
    ("matches", "problem"),
    [
        ([("a", 0.9), ("b", 0.5)], ""),
        ([("a", 0.9)], "missing ['b']"),
        ([("a", 0.9), ("b", 0.5), ("c", 0.4)], "extra ['c']"),
        ([("a", 0.9), ("b", 0.50001)], "a score is off"),
        ([("b", 0.5), ("a", 0.9)], "the order is off"),
    ],
)
def test_the_oracle_notices_wrong_rankings(matches, problem):
    answered = [{"crop_id": crop_id, "score": score} for crop_id, score in matches]
    found = compare(answered, SCORES)
    assert problem in found
    assert bool(found) == bool(problem)
