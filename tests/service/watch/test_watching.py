"""Frames between the thread that reads and the one that sends, and a service that is away."""

from __future__ import annotations

import socket
import threading
from itertools import islice

import pytest
from waiting import wait_until

from service.client import Client, Unreachable
from service.watch.backlog import Backlog
from service.watch.frame import WatchedFrame
from service.watch.sending import Patience
from service.watch.stream import Stream, is_stream, pauses
from service.watch.tally import Tally


def frame(number: int) -> WatchedFrame:
    return WatchedFrame(str(number), b"", float(number), None)


def ids(frames: list[WatchedFrame] | None) -> list[str]:
    assert frames is not None
    return [one.frame_id for one in frames]


def test_a_full_backlog_drops_the_oldest_live_frames():
    backlog = Backlog(3, live=True)
    for number in range(5):
        backlog.put(frame(number))
    assert (backlog.read, backlog.dropped) == (5, 2)
    assert ids(backlog.take(2, 0.0)) == ["2", "3"]
    backlog.end()
    backlog.put(frame(9))
    assert ids(backlog.take(2, 0.0)) == ["4"]
    assert backlog.take(2, 0.0) is None


def test_a_full_backlog_makes_a_file_wait():
    backlog = Backlog(3, live=False)

    def read() -> None:
        for number in range(20):
            backlog.put(frame(number))
        backlog.end()

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: backlog.read == 3)
    taken: list[str] = []
    while (some := backlog.take(2, 60.0)) is not None:
        taken += ids(some)
    thread.join()
    assert taken == [str(number) for number in range(20)]
    assert (backlog.read, backlog.dropped) == (20, 0)


def test_a_backlog_that_ends_lets_go_of_whoever_waits():
    backlog = Backlog(1, live=False)
    backlog.put(frame(0))
    thread = threading.Thread(target=backlog.put, args=(frame(1),))
    thread.start()
    backlog.end()
    thread.join()
    assert ids(backlog.take(9, 60.0)) == ["0"]
    assert Backlog(1, live=True).take(1, 0.0) == []


def test_patience_lasts_for_a_camera_and_not_for_a_file():
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    failures: list[Exception] = []
    with Client(url, "", retry_for=0) as client:

        def wait(error: Exception) -> bool:
            failures.append(error)
            return len(failures) < 3

        with pytest.raises(Unreachable):
            Patience(forever=True, wait=wait)(client.ops.livez)
        assert len(failures) == 3
        with pytest.raises(Unreachable):
            Patience(forever=False, wait=wait)(client.ops.livez)
        assert len(failures) == 3


def test_a_stream_waits_longer_and_longer_and_hides_its_password():
    assert list(islice(pauses(), 7)) == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert is_stream("RTSP://camera/1")
    assert not is_stream("gate.mp4")
    assert not is_stream("C:/gate.mp4")
    stream = Stream("rtsp://admin:secret@camera:554/1?key=secret", "c1", 2.0, 1)
    assert stream._shown == "rtsp://camera:554/1"


def test_a_tally_is_one_line():
    tally = Tally(9, 7, 2, 1, 5, 3, 4, 0.25)
    assert tally.line() == (
        "9 frames read, 7 sent, 2 dropped, 1 failed, 5 persons stored, 3 left out, "
        "reconnected 4 times, lag 0.2 s"
    )
    assert Tally().line() == "0 frames read, 0 sent, 0 dropped, 0 persons stored"
    assert tally.record()["lag_seconds"] == 0.25
