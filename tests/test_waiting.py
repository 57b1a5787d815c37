"""Waiting: it ends with what is good, and says what it saw if nothing was."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from waiting import PATIENCE, always_set, is_up, wait_until


def test_the_first_good_sight_is_returned():
    sights = iter([0, "", None, "seen", "later"])
    assert wait_until(lambda: next(sights)) == "seen"
    assert wait_until(iter(range(9)).__next__, lambda number: number > 3) == 4


def test_a_wait_in_vain_says_what_it_still_sees():
    with pytest.raises(AssertionError, match=r"0\.001 seconds in vain, and still see \['left'\]"):
        wait_until(lambda: ["left"], lambda left: not left, seconds=0.001)


def test_an_error_ends_the_wait():
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0)


def test_a_failure_sets_the_events_that_threads_wait_for():
    go_on = threading.Event()

    def fail():
        with ThreadPoolExecutor(1) as threads, always_set(go_on):
            waiting.append(threads.submit(go_on.wait, PATIENCE))
            raise KeyError

    waiting = []
    with pytest.raises(KeyError):
        fail()
    assert waiting[0].result()


def test_a_service_that_does_not_listen_is_not_up():
    with httpx.Client(base_url="http://127.0.0.1:1") as nobody:
        assert not is_up(nobody)
