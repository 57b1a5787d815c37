"""Video files are decoded within limits; what cannot be decoded says why."""

from __future__ import annotations

import struct
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
from films import film, plain
from PIL import Image

from service.errors import InvalidInput, ReidError, TooLarge
from service.video.decoding import VideoLimits, open_video
from service.video.sampling import Sampler, expected_frames

LIMITS = VideoLimits(pixels=1_000_000, seconds=100.0)


def times(file: bytes, limits: VideoLimits = LIMITS) -> list[float]:
    with open_video(BytesIO(file), limits) as video:
        return [frame.seconds for frame in video.frames()]


def sound() -> bytes:
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def without_frames() -> bytes:
    buffer = BytesIO()
    with av.open(buffer, "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuvj420p"
        container.start_encoding()
    return buffer.getvalue()


def at_times(*seconds: float) -> bytes:
    """A video whose frames have these times, as a broken recorder writes them."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuvj420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(plain(len(seconds))):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 1000)
            for packet in stream.encode(frame):
                packet.time_base = Fraction(1, 1000)
                packet.pts = round(seconds[number] * 1000)
                packet.dts = number
                container.mux(packet)
    return buffer.getvalue()


def test_frames_come_with_their_numbers_times_and_pixels():
    with open_video(BytesIO(film(plain(6), rate=10)), LIMITS) as video:
        assert (video.seconds, video.rate) == (0.6, 10.0)
        frames = list(video.frames())
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    with Image.open(BytesIO(frames[5].jpeg())) as picture:
        assert picture.size == (128, 96)
        assert np.abs(np.asarray(picture, float) - 45).max() < 4


def test_a_turned_video_is_upright():
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[:, :64] = 200  # the left half is light
    file = bytearray(film([pixels]))
    matrix = file.index(b"tkhd") + 44
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]  # clockwise, as a telephone writes
    file[matrix : matrix + 36] = struct.pack(">9i", *quarter)
    with open_video(BytesIO(bytes(file)), LIMITS) as video:
        (frame,) = video.frames()
    with Image.open(BytesIO(frame.jpeg())) as picture:
        upright = np.asarray(picture, float).mean(axis=2)
    assert upright.shape == (128, 96)
    assert (upright[:60] > 150).all()
    assert (upright[70:] < 50).all()


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n"
BROKEN = {
    "nothing": (b"", "not a video in a known format"),
    "noise": (bytes(range(256)) * 20, "not a video in a known format"),
    "a playlist": (PLAYLIST, "not a video in a known format"),
    "a list of files": (b"ffconcat version 1.0\nfile /etc/hostname\n", "not a video in a known"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a video in a known format"),
    "cut": (film(plain(4))[:400], "not a video in a known format"),
    "sound": (sound(), "it holds no video"),
    "no frames": (without_frames(), "no frame could be decoded: it has none"),
    "one pixel": (film(plain(1, (2, 2)), kind="avi"), "frames of 2x2 pixels: each side needs"),
    "large": (film(plain(1, (1200, 1000))), "frames of 1000x1200 pixels: at most 1,000,000"),
    "large, unsaid": (
        film(plain(1, (1200, 1000)), kind="matroska", codec="mjpeg"),
        "at most 1,000,000",
    ),
    "a clock that goes back": (at_times(5.0, 6.0, 1.0), "its clock goes back from 1.0 s to -4.0"),
    "a clock that jumps": (at_times(0.0, 5000.0), "it is longer than 0.0277778 hours, or its"),
}


@pytest.mark.parametrize(("file", "said"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_decoded_says_why(file, said):
    with pytest.raises((InvalidInput, TooLarge)) as raised:
        times(file)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 300


def test_damage_in_the_middle_is_passed_over():
    frames = [np.random.default_rng(n).integers(0, 256, (96, 128, 3), np.uint8) for n in range(9)]
    file = bytearray(film(frames, kind="matroska", codec="mjpeg"))
    middle = len(file) // 2
    file[middle : middle + 9000] = bytes(9000)
    with open_video(BytesIO(bytes(file)), LIMITS) as video:
        left = list(video.frames())
    assert 3 <= len(left) <= 9
    cut = times(film(frames, kind="matroska", codec="mjpeg")[:middle])
    assert 3 <= len(cut) <= 5


@pytest.mark.parametrize("rate", [4, 25, 30])
def test_a_sampler_takes_so_many_frames_per_second(rate):
    sampler = Sampler(2.0)
    taken = [number for number in range(4 * rate) if sampler.takes(number / rate)]
    assert len(taken) == 8 == expected_frames(4.0, rate, 2.0)
    assert taken[:3] == [0, -(-rate // 2), rate]


def test_a_sampler_takes_all_of_a_slow_video_and_begins_anew_if_time_goes_back():
    sampler = Sampler(10.0)
    assert all(sampler.takes(number / 3) for number in range(9))
    assert sampler.takes(0.0)
    assert not sampler.takes(0.05)
    assert expected_frames(3.0, 3.0, 10.0) == 9
    assert expected_frames(0.0, None, 2.0) == 1


def test_every_failure_is_one_that_a_caller_understands():
    good = film(plain(3), kind="avi")
    for place in range(0, len(good), 97):
        bad = good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :]
        try:
            times(bad)
        except ReidError:
            continue
