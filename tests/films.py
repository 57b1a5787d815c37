"""Videos that tests make."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import av
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def film(frames: Sequence[Pixels], rate: int = 4, kind: str = "mp4", codec: str = "mpeg4") -> bytes:
    """Encode frames, nearly without loss.

    Args:
        frames: (H, W, 3) RGB, all of one size with even sides.
        rate: frames per second.
        kind: FFmpeg's name of the format.
        codec: FFmpeg's name of the encoder.

    Returns:
        The file.
    """
    buffer = BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 20_000_000
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def plain(count: int, size: tuple[int, int] = (96, 128)) -> list[Pixels]:
    """Frames without people, each a little lighter than the one before."""
    return [np.full((*size, 3), 40 + number % 200, dtype=np.uint8) for number in range(count)]
