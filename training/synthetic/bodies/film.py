"""From light to a stored picture: what lens, sensor, processing and compression do to it.

The order is that of a real camera: the lens blurs, the sensor samples and makes noise, the camera
corrects colours and tone, sharpens, and compresses. Only then a crop is resized.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import correlate1d, gaussian_filter, gaussian_filter1d

from service.errors import InvalidInput
from training.synthetic.bodies.camera import Film

if TYPE_CHECKING:
    from training.synthetic.bodies.knobs import PictureKnobs

Float32s = NDArray[np.float32]
Pixels = NDArray[np.uint8]

CROP_FILL = 0.92
MIDDLE = 0.45
SMALLEST = 8
LUMA = np.array([0.3, 0.59, 0.11], np.float32)
# Where automatic levels put the darkest and the brightest fiftieth, and the least range that they
# stretch: less would turn the noise of a grey wall into a picture.
BLACK_POINT, WHITE_POINT, LEAST_RANGE = 0.05, 0.9, 0.25


def develop(
    light: Float32s,
    film: Film,
    rng: np.random.Generator,
    knobs: PictureKnobs,
    *,
    person: float | None = None,
) -> Pixels:
    """Turn light into the picture that a camera stores.

    Args:
        light: (H, W, 3) float32, linear radiance; 1 is white under full light.
        film: the camera.
        rng: source of noise.
        knobs: the picture knobs; resolution is left alone where ``low_resolution`` is 0.
        person: height of a person in ``light``, pixels; by default nearly the whole height, as in
            a crop. With a whole frame, pass the height that people have in it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InvalidInput: the light is not (H, W, 3).
    """
    if light.ndim != 3 or light.shape[2] != 3 or 0 in light.shape:
        raise InvalidInput(f"light must be (H, W, 3), not {light.shape}.")
    height, width = light.shape[:2]
    zoom = film.resolution / (person or CROP_FILL * height)
    zoom = max(1.0, zoom) if knobs.low_resolution == 0.0 else zoom
    # A sensor finer than the picture: blur, noise and blocks shrink with it.
    shrink = max(1.0, zoom)
    seen = _resample(light, min(1.0, zoom))
    seen = _blur(seen, film, rng, shrink)
    seen = _add_noise(_expose(seen, film, rng), film, rng, shrink)
    picture = _sharpen(_tone(seen, film), film.sharpening / shrink)
    quality = round(95.0 - (95.0 - film.quality) / shrink)
    return _compress(_to_pixels(picture), quality, (width, height))


def _resample(light: Float32s, zoom: float) -> Float32s:
    """Average light over the sensor's larger pixels."""
    height, width = light.shape[:2]
    size = (max(SMALLEST, round(width * zoom)), max(SMALLEST, round(height * zoom)))
    if size[0] >= width or size[1] >= height:
        return light
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(light[:, :, channel])).resize(
                size, Image.Resampling.BOX
            )
        )
        for channel in range(3)
    ]
    return np.stack(channels, axis=2).astype(np.float32, copy=False)


def _blur(light: Float32s, film: Film, rng: np.random.Generator, shrink: float) -> Float32s:
    """Blur by the lens, and by motion along a random, mostly horizontal direction."""
    sigma = film.blur / shrink
    if sigma > 0.2:
        light = gaussian_filter(light, (sigma, sigma, 0.0), truncate=2.5)
    length = film.motion / shrink
    angle = rng.normal(0.0, 0.5)
    across, down = length * abs(math.cos(angle)), length * abs(math.sin(angle))
    return _smear(_smear(light, across, axis=1), down, axis=0)


def _smear(light: Float32s, length: float, *, axis: int) -> Float32s:
    """Average over a line of pixels; ends count by the share that they are covered."""
    if length < 0.3:
        return light
    side = math.ceil(length / 2.0)
    weights = np.clip(length / 2.0 + 0.5 - np.abs(np.arange(-side, side + 1)), 0.0, 1.0)
    smeared: Float32s = correlate1d(light, weights / weights.sum(), axis=axis, mode="nearest")
    return smeared


def _expose(light: Float32s, film: Film, rng: np.random.Generator) -> Float32s:
    """White balance, colour filters, the lens's darker corners; still linear."""
    height, width = light.shape[:2]
    colours = film.mixing * (film.exposure * film.white_balance)[:, None]
    exposed = light.reshape(-1, 3) @ colours.T.astype(np.float32)
    shade = _vignette(height, width, film.vignetting, rng)
    return np.asarray(exposed.reshape(light.shape) * shade[:, :, None], np.float32)


def _vignette(height: int, width: int, loss: float, rng: np.random.Generator) -> Float32s:
    """A frame darkens to its corners; a crop, which is upright, lies anywhere in its frame."""
    centre, half = np.zeros(2), 1.0
    if height > width:
        centre, half = rng.uniform(-0.8, 0.8, 2), 0.15
    x = centre[0] + half * np.linspace(-1.0, 1.0, width, dtype=np.float32)
    y = centre[1] + half * np.linspace(-1.0, 1.0, height, dtype=np.float32)
    return np.asarray(1.0 - loss * 0.5 * (x[None, :] ** 2 + y[:, None] ** 2), np.float32)


def _add_noise(light: Float32s, film: Film, rng: np.random.Generator, shrink: float) -> Float32s:
    """Photon and read noise per pixel, and coloured blotches that cameras' filters leave."""
    light = np.maximum(light, 0.0)
    shot, read = film.shot_noise / shrink, film.read_noise / shrink
    deviation = np.sqrt(np.float32(shot * shot) * light + np.float32(read * read))
    noisy = light + deviation * rng.standard_normal(light.shape, dtype=np.float32)
    if film.chroma_noise > 0.0:
        strength = np.float32(film.chroma_noise / shrink)
        # Where it is dark, cameras amplify, and blotches show most; hence by the root of light.
        noisy = noisy + strength * _blotches(light.shape, rng) * np.sqrt(light + 0.01)
    return np.asarray(noisy, np.float32)


def _blotches(shape: tuple[int, ...], rng: np.random.Generator) -> Float32s:
    """Coloured noise of mean grey, two pixels wide: cameras store colour at half resolution."""
    height, width = shape[:2]
    half = ((height + 1) // 2, (width + 1) // 2, 3)
    blotches = rng.standard_normal(half, dtype=np.float32)
    blotches -= blotches.mean(axis=2, keepdims=True)
    return blotches.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]


def _tone(light: Float32s, film: Film) -> Float32s:
    """Shoulder, gamma, contrast, levels, saturation, black level; shares of white from here on."""
    # Highlights roll off; without it, sunlit white clothes would lose all folds.
    rolled = np.maximum(light, 0.0)
    rolled = 1.18 * rolled / (1.0 + 0.22 * rolled)
    shown = np.power(np.minimum(rolled, 1.2), 1.0 / film.gamma)
    contrasted = MIDDLE + film.contrast * (shown - MIDDLE)
    shown = _level(np.asarray(contrasted, np.float32), film.levels)
    grey = shown @ LUMA
    shown = grey[:, :, None] + film.saturation * (shown - grey[:, :, None])
    return np.asarray(film.lift + (1.0 - film.lift) * shown, np.float32)


def _level(shown: Float32s, strength: float) -> Float32s:
    """Stretch tones towards black and white, as cameras' automatic exposure and levels do."""
    dark, bright = np.quantile((shown @ LUMA)[::2, ::2], (0.02, 0.98))
    middle, span = (dark + bright) / 2.0, max(bright - dark, LEAST_RANGE)
    scale = (WHITE_POINT - BLACK_POINT) / span
    stretched = (BLACK_POINT + WHITE_POINT) / 2.0 + scale * (shown - middle)
    return np.asarray(shown + strength * (stretched - shown), np.float32)


def _sharpen(picture: Float32s, strength: float) -> Float32s:
    """Add what a blur removes: bright and dark seams at edges, as cheap cameras have."""
    if strength < 0.05:
        return picture
    soft = picture
    for axis in (0, 1):
        soft = gaussian_filter1d(soft, 1.0, axis=axis, truncate=2.0)
    return np.asarray(picture + strength * (picture - soft), np.float32)


def _to_pixels(picture: Float32s) -> Pixels:
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _compress(pixels: Pixels, quality: int, size: tuple[int, int]) -> Pixels:
    """Pass through JPEG at the sensor's size, then resize as crops are."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    image = Image.open(buffer).convert("RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8)
