"""The frames of a camera that sends RTSP, or a video over HTTP; needs the extra ``video``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from service.errors import InvalidInput, ReidError
from service.video.decoding import DecodedFrame, check_frame_size, video_stream_of
from service.video.sampling import Sampler
from service.watch.frame import WatchedFrame

SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "http", "https"})
_TIMEOUT = 10.0  # seconds without a frame after which a connection counts as lost
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_OPTIONS = {
    "rtsp_transport": "tcp",  # over UDP, lost packets smear the picture
    "fflags": "nobuffer",
    "analyzeduration": "1000000",  # microseconds; longer ones only delay the first frame
}


def is_stream(source: str) -> bool:
    """Whether a source is the address of a stream."""
    return urlsplit(source).scheme.lower() in SCHEMES


def pauses() -> Iterator[float]:
    """Seconds to wait before each attempt to connect again; each is longer, up to half a minute."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


@dataclass(slots=True)
class Stream:
    """A stream, which is connected again whenever it breaks or ends.

    Attributes:
        url: its address; a password in it is never shown.
        camera: begins the ids of the frames.
        fps: frames per second to send.
        pixels: most pixels of a frame.
        clock: the time, in seconds since 1970-01-01 UTC.
        reconnects: how often a lost connection was made again.
    """

    url: str
    camera: str
    fps: float
    pixels: int
    clock: Callable[[], float] = time.time
    reconnects: int = 0
    live = True
    track_prefix = None

    def frames(self, stop: Event) -> Iterator[WatchedFrame]:
        """Read the frames; each has the time at which it arrived, and is called after it.

        Raises:
            InvalidInput: the first attempt to connect failed.
        """
        sampler, waits, first = Sampler(self.fps), pauses(), True
        while not stop.is_set():
            came = False
            try:
                for frame in self._connection(stop):
                    came, first, now = True, False, self.clock()
                    if sampler.takes(now):
                        yield self._named(frame, now)
            except ReidError as error:
                if first:
                    raise
                print(f"warning: {error}", file=sys.stderr, flush=True)
            if first and not stop.is_set():
                raise InvalidInput(f"{self._shown}: it ended without a frame")
            if came:
                waits = pauses()
            if not stop.wait(next(waits)):
                self.reconnects += 1

    def _named(self, frame: DecodedFrame, now: float) -> WatchedFrame:
        moment = datetime.fromtimestamp(now, UTC)
        name = f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z"
        return WatchedFrame(f"{self.camera}/{name}", frame.jpeg(), now, now)

    def _connection(self, stop: Event) -> Iterator[DecodedFrame]:
        """Read the frames of one connection. Raises InvalidInput: it broke."""
        with self._opened() as container:
            stream = video_stream_of(container, self.pixels)
            number = 0
            try:
                for packet in container.demux(stream):
                    for raw in _decoded(packet):
                        check_frame_size(raw.width, raw.height, self.pixels)
                        yield DecodedFrame(number, 0.0, raw)
                        number += 1
                    if stop.is_set():
                        return
            except FFmpegError as error:
                reason = f"{self._shown}: the connection is lost: {error.strerror}"
                raise InvalidInput(reason) from error

    @contextmanager
    def _opened(self) -> Iterator[InputContainer]:
        try:
            container = av.open(self.url, "r", options=_OPTIONS, timeout=_TIMEOUT)
        except (FFmpegError, OSError) as error:
            raise InvalidInput(f"{self._shown}: no connection: {error.strerror}") from error
        with container:
            yield container

    @property
    def _shown(self) -> str:
        """The address without the name and the password in it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _decoded(packet: Packet[VideoStream]) -> list[VideoFrame]:
    """The frames in a packet; none if it is damaged, because the next ones may be whole."""
    try:
        return packet.decode()
    except MemoryError:
        raise
    except FFmpegError:
        return []
