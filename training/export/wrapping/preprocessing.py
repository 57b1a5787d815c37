"""What a network that was trained elsewhere expects of a crop's pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.embedding.imaging import Resize
from service.errors import InvalidInput
from service.model.manifest import Three

Colour = Literal["rgb", "bgr"]

_IN_HUNDREDS = (
    "is in units of pixels 0..255; a value for pixels 0..1 must be multiplied by 255, so those of "
    "ImageNet are mean 123.675,116.28,103.53 and scale 58.395,57.12,57.375"
)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a resized RGB crop becomes a network's input: ``(pixel - mean) / scale``.

    Attributes:
        mean: of pixels 0..255, one value per channel in the order of ``colour``.
        scale: likewise; positive.
        colour: the order of the input's channels.
        resize: how crops are brought to the input's size.
    """

    mean: Three
    scale: Three
    colour: Colour
    resize: Resize

    def __post_init__(self) -> None:
        """Check the ranges. Raises InvalidInput."""
        if any(not math.isfinite(value) or 0 < abs(value) <= 1 for value in self.mean):
            raise InvalidInput(f"mean {_shown(self.mean)}: the mean {_IN_HUNDREDS}")
        if any(not math.isfinite(value) or value < 1 for value in self.scale):
            raise InvalidInput(f"scale {_shown(self.scale)}: the scale divides, and {_IN_HUNDREDS}")

    @property
    def changes_values(self) -> bool:
        """Whether the network expects anything but pixels 0..255."""
        return any(self.mean) or any(value != 1 for value in self.scale)

    def apply(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute a network's input, apart from the order of its axes.

        Args:
            crops: (N, H, W, 3) uint8 RGB.

        Returns:
            (N, H, W, 3) float32, channels in the order of ``colour``.
        """
        ordered = crops if self.colour == "rgb" else crops[..., ::-1]
        mean, scale = np.array(self.mean, np.float32), np.array(self.scale, np.float32)
        values: NDArray[np.float32] = (ordered.astype(np.float32) - mean) / scale
        return values


def parse_three(name: str, text: str) -> Three:
    """Read one number for all channels, or one per channel.

    Args:
        name: what the numbers are, for messages.
        text: such as ``0`` or ``123.675,116.28,103.53``.

    Returns:
        Three numbers.

    Raises:
        InvalidInput: the text is neither.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    match values:
        case [value]:
            return value, value, value
        case [first, second, third]:
            return first, second, third
        case _:
            raise InvalidInput(
                f"{name} {text!r}: must be one number, or three with commas, such as "
                "123.675,116.28,103.53"
            )


def _shown(values: Three) -> str:
    return ",".join(f"{value:g}" for value in values)
