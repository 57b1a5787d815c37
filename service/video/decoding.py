"""Decode a video file frame by frame, within limits; needs the extra ``video``.

The file may be malicious, so the service decodes in a process of its own
(:mod:`service.imports.child`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from service.errors import ImageTooLarge, InvalidInput, TooLarge

MIN_SIDE = 8
"""Smallest width or height of a frame in pixels; no person is visible below it."""

# Others may name further files or addresses to read, as playlists do.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf"
_NO_PROTOCOL = "none"
_UPRIGHT = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}
_GLITCH = 1.0  # seconds that a clock may go back
_HOPELESS = 1000  # damaged packets before the first frame
_QUALITY = 95  # of JPEG; a frame loses no more than a crop does


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """The limits of one video.

    Attributes:
        pixels: most pixels of a frame.
        seconds: longest video.
    """

    pixels: int
    seconds: float = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame of a video.

    Attributes:
        number: its place among the frames of the video, from 0.
        seconds: its time since the first frame.
        raw: its pixels, as the decoder made them.
    """

    number: int
    seconds: float
    raw: VideoFrame

    def jpeg(self) -> bytes:
        """The upright frame as a JPEG file. Raises InvalidInput: its pixels cannot be converted."""
        try:
            picture: Image.Image = self.raw.to_image()  # type: ignore[no-untyped-call]
        except MemoryError:
            raise
        except FFmpegError as error:  # it starts threads, which need memory too
            reason = f"frame {self.number} cannot be converted to RGB: {_said(error)}"
            raise InvalidInput(reason) from error
        turn = _UPRIGHT.get(round(self.raw.rotation) % 360)
        file = BytesIO()
        (picture if turn is None else picture.transpose(turn)).save(file, "JPEG", quality=_QUALITY)
        return file.getvalue()


class Video:
    """A video that is open.

    Args:
        container: the open file.
        limits: of the video.
        beat: called whenever the decoder has made progress.

    Attributes:
        damaged: packets that could not be decoded so far.

    Raises:
        InvalidInput: there is no video in the file, or its frames are too small.
        TooLarge: its frames or the whole are too large.
    """

    def __init__(
        self, container: InputContainer, limits: VideoLimits, beat: Callable[[], object]
    ) -> None:
        self.damaged = 0
        self._container = container
        self._limits = limits
        self._beat = beat
        self._stream = video_stream_of(container, limits.pixels)
        self._reason = "it has none"
        self._check_length(self.seconds or 0.0)

    @property
    def seconds(self) -> float | None:
        """Its length, as the file states it."""
        length = self._container.duration
        return None if length is None else max(0.0, length / av.time_base)

    @property
    def rate(self) -> float | None:
        """Frames per second, as the file states it."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    def frames(self) -> Iterator[DecodedFrame]:
        """Decode the frames in their order.

        Yields:
            The frames; their times never fall. Damaged packets are passed over and counted.

        Raises:
            InvalidInput: no frame can be decoded, the file cannot be read any further, or the
                video's clock jumps back.
            TooLarge: a frame, or the video, is too large.
        """
        number, first, last = 0, 0.0, 0.0
        for raw in self._decoded():
            check_frame_size(raw.width, raw.height, self._limits.pixels)
            time = self._time_of(raw, number)
            first = time if number == 0 else first
            seconds = time - first
            if seconds < last - _GLITCH:
                raise InvalidInput(
                    f"its clock goes back from {last:.1f} s to {seconds:.1f} s at frame {number}: "
                    "write it anew with one clock, for example with ffmpeg"
                )
            last = max(last, seconds)
            self._check_length(last)
            yield DecodedFrame(number, last, raw)
            number += 1
        if number == 0:
            raise InvalidInput(
                f"no frame could be decoded: {self._reason} (a frame may have at most "
                f"{self._limits.pixels:,} pixels)"
            )

    def _decoded(self) -> Iterator[VideoFrame]:
        made = 0
        try:
            for packet in self._container.demux(self._stream):
                self._beat()
                try:
                    frames = packet.decode()
                except MemoryError:
                    raise
                except FFmpegError as error:
                    self._pass_over(error, made)
                    continue
                made += len(frames)
                yield from frames
        except MemoryError:
            raise
        except FFmpegError as error:
            raise InvalidInput(f"it cannot be read any further: {_said(error)}") from error

    def _pass_over(self, error: FFmpegError, made: int) -> None:
        self.damaged += 1
        self._reason = _said(error)
        if self.damaged >= _HOPELESS and not made:
            raise InvalidInput(f"none of its first {self.damaged:,} packets can be decoded")

    def _time_of(self, frame: VideoFrame, number: int) -> float:
        if frame.pts is not None:
            return float(frame.time)
        if self.rate is None:
            raise InvalidInput("its frames have no times, and it states no frame rate")
        return number / self.rate

    def _check_length(self, seconds: float) -> None:
        if seconds > self._limits.seconds:
            raise TooLarge(
                f"it is longer than {self._limits.seconds / 3600:g} hours, or its clock is wrong "
                f"({seconds / 3600:,.1f} hours): cut it into shorter files"
            )


@contextmanager
def open_video(
    file: BinaryIO, limits: VideoLimits, beat: Callable[[], object] = int
) -> Iterator[Video]:
    """Open a video file for the duration of a block.

    Only formats that hold the video themselves are read: MP4 and its relatives, Matroska, WebM,
    AVI, MPEG, FLV and ASF.

    Args:
        file: can be searched.
        limits: of the video.
        beat: called whenever the decoder has made progress.

    Yields:
        The video.

    Raises:
        InvalidInput: it is not a video, or its frames are too small.
        TooLarge: its frames or the whole are too large.
    """
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": _NO_PROTOCOL}
    try:
        container = av.open(file, "r", options=options)
    except MemoryError:
        raise
    except FFmpegError as error:
        raise InvalidInput(f"not a video in a known format: {_said(error)}") from error
    with container:
        yield Video(container, limits, beat)


def video_stream_of(container: InputContainer, pixels: int) -> VideoStream:
    """Find the video among the streams of a file or a camera, and prepare to decode it.

    Args:
        container: what was opened.
        pixels: most pixels of a frame.

    Returns:
        The first video that is not the cover of an album.

    Raises:
        InvalidInput: there is none, or its frames are too small.
        ImageTooLarge: its frames are too large.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            codec = stream.codec_context
            codec.thread_count = 1  # processors are shared
            codec.options = {"max_pixels": str(pixels)}
            if codec.width and codec.height:  # some streams do not state it yet
                check_frame_size(codec.width, codec.height, pixels)
            return stream
    raise InvalidInput("it holds no video")


def check_frame_size(width: int, height: int, pixels: int) -> None:
    """Check the size of a frame.

    Args:
        width: in pixels.
        height: in pixels.
        pixels: most of them in total.

    Raises:
        ImageTooLarge: it is too large.
        InvalidInput: it is too small.
    """
    if width * height > pixels:
        raise ImageTooLarge(
            f"frames of {width}x{height} pixels: at most {pixels:,} in total are allowed"
        )
    if min(width, height) < MIN_SIDE:
        raise InvalidInput(
            f"frames of {width}x{height} pixels: each side needs at least {MIN_SIDE}"
        )


def _said(error: FFmpegError) -> str:
    return (error.strerror or str(error))[:200]
