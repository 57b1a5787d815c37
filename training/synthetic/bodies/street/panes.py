"""Glass and doors: windows, shop windows with goods, signs, posters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.canvas import Canvas, Rect
from training.synthetic.bodies.street.noise import clouds, linear, pick

if TYPE_CHECKING:
    from training.synthetic.bodies.street.surfaces import Palette

Colour = NDArray[np.floating]

FRAMES: Palette = ((232, 230, 226), (90, 66, 48), (60, 62, 66), (150, 152, 154), (70, 86, 76))
DOORS: Palette = (
    (92, 60, 44),
    (54, 68, 60),
    (62, 66, 82),
    (130, 44, 40),
    (190, 188, 184),
    (40, 40, 42),
)
SIGNS: Palette = (
    (176, 36, 38), (30, 72, 140), (34, 108, 70), (226, 180, 40), (36, 36, 40), (232, 230, 226),
    (204, 96, 40), (90, 50, 100), (60, 130, 160), (120, 90, 66),
)  # fmt: skip
GOODS: Palette = (
    (180, 60, 56), (70, 96, 150), (206, 180, 110), (220, 216, 206), (60, 60, 66), (96, 130, 88),
    (150, 110, 90), (196, 150, 170), (130, 150, 170),
)  # fmt: skip


def glass(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    """Draw a pane: dark, with the sky's reflection above and the street's below."""
    target = canvas.view(rect)
    if target.size == 0:
        return
    rows, columns = target.shape[:2]
    dark = linear((rng.uniform(28, 66),) * 3)
    sky = linear((150, 172, 196)) * rng.uniform(0.3, 1.1)
    edge = rng.uniform(0.15, 0.9) + 0.12 * clouds(rng, (rows, columns), 1.6)
    height = np.linspace(1.0, 0.0, rows)[:, None]
    share = np.clip(6.0 * (height - edge) + 0.5, 0.0, 1.0)[:, :, None]
    ripple = 1.0 + 0.12 * clouds(rng, (rows, columns), 1.2)[:, :, None]
    target[:] = (dark + share * (sky - dark)) * ripple


def window(canvas: Canvas, rng: np.random.Generator, rect: Rect, frame: Colour) -> None:
    """Draw a window: frame, panes, perhaps a curtain or a blind, a sill and a lintel's shadow."""
    canvas.fill(rect, frame)
    rim = 0.06
    inner = rect.inset(rim)
    glass(canvas, rng, inner)
    match int(rng.integers(5)):
        case 0:
            canvas.fill(inner.part(0.0, rng.uniform(0.3, 0.8), 1.0, 1.0), pick(rng, FRAMES) * 0.8)
        case 1:
            share = rng.uniform(0.15, 0.35)
            for part in (inner.part(0, 0, share, 1), inner.part(1 - share, 0, 1, 1)):
                canvas.fill(part, linear((206, 200, 186)) * 0.8)
    bars = max(1, round(rect.width / 0.7))
    for bar in range(1, bars):
        x = rect.left + rect.width * bar / bars
        canvas.fill(Rect(x - 0.03, rect.bottom, x + 0.03, rect.top), frame)
    canvas.shade(Rect(inner.left, inner.top - 0.1, inner.right, inner.top), 0.5)
    canvas.fill(Rect(rect.left - 0.08, rect.bottom - 0.08, rect.right + 0.08, rect.bottom), frame)
    canvas.shade(Rect(rect.left, rect.bottom - 0.2, rect.right, rect.bottom - 0.08), 0.75)


def door(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    """Draw a door with panels or glass, a handle and a frame."""
    colour = pick(rng, DOORS)
    canvas.fill(rect, colour * 0.6)
    inner = rect.inset(0.07)
    canvas.fill(inner, colour)
    leaves = 2 if rect.width > 1.3 else 1
    glazed = rng.random() < 0.5
    for leaf in range(leaves):
        part = inner.part(leaf / leaves, 0.0, (leaf + 1) / leaves, 1.0).inset(0.09)
        if glazed:
            glass(canvas, rng, part.part(0.0, 0.12, 1.0, 1.0))
        else:
            for low, high in ((0.02, 0.42), (0.5, 0.97)):
                canvas.shade(part.part(0.0, low, 1.0, high), rng.uniform(0.7, 1.25))
    canvas.fill(inner.part(0.46, 0.42, 0.54, 0.5), linear((170, 170, 165)))
    canvas.shade(Rect(rect.left, rect.top - 0.15, rect.right, rect.top), 0.6)


def shop_window(canvas: Canvas, rng: np.random.Generator, rect: Rect, frame: Colour) -> None:
    """Draw a shop window: goods in a lit or dark room, reflections, stickers."""
    canvas.fill(rect, frame)
    inner = rect.inset(0.07)
    glass(canvas, rng, inner)
    target = canvas.view(inner)
    if target.size == 0:
        return
    room = np.empty_like(target)
    room[:] = linear((200, 188, 160)) * rng.uniform(0.08, 0.6)
    display = Canvas(room, canvas.fineness)
    _goods(display, rng)
    clear = rng.uniform(0.25, 0.85)
    target[:] = (1.0 - clear) * target + clear * room
    if rng.random() < 0.3:
        left, low = rng.uniform(0.1, 0.5), rng.uniform(0.2, 0.6)
        poster(canvas, rng, inner.part(left, low, left + 0.35, low + 0.35))
    for bar in range(1, max(1, round(rect.width / rng.uniform(1.2, 2.2)))):
        x = rect.left + bar * 1.7
        canvas.fill(Rect(x - 0.03, rect.bottom, x + 0.03, rect.top), frame)


def _goods(display: Canvas, rng: np.random.Generator) -> None:
    """Draw shelves of small things, or a few large ones."""
    room = display.whole
    shelves = int(rng.integers(1, 5))
    for shelf in range(shelves):
        base = room.height * shelf / shelves
        x = rng.uniform(0.0, 0.4)
        while x < room.width:
            wide = rng.uniform(0.08, 0.5)
            tall = room.height / shelves * rng.uniform(0.3, 0.95)
            display.fill(
                Rect(x, base, min(x + wide, room.width), base + tall), pick(rng, GOODS, 0.2)
            )
            x += wide + rng.uniform(0.0, 0.4)
        display.shade(Rect(0.0, base, room.width, base + 0.06), 0.4)


def sign(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    """Draw a board with a word."""
    colour = pick(rng, SIGNS)
    canvas.fill(rect, colour)
    light = colour.mean() < 0.25
    ink = linear((236, 234, 226)) if light else linear((36, 36, 44))
    share = min(1.0, rng.uniform(2.0, 5.0) * rect.height / max(rect.width, 0.1))
    left = rng.uniform(0.0, 1.0 - share)
    canvas.write(rng, rect.part(left, 0.12, left + share, 0.88), ink)
    canvas.shade(Rect(rect.left, rect.bottom - 0.15, rect.right, rect.bottom), 0.6)


def poster(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    """Draw a poster: a ground, a picture, lines of print."""
    ground = pick(rng, SIGNS)
    canvas.fill(rect, ground)
    low = rng.uniform(0.2, 0.5)
    picture = rect.part(0.06, low, 0.94, 0.95)
    target = canvas.view(picture)
    if target.size:
        noise = clouds(rng, target.shape[:2], 1.7)[:, :, None]
        first, second = pick(rng, GOODS, 0.2), pick(rng, GOODS, 0.2)
        target[:] = first + np.clip(0.5 + noise, 0.0, 1.0) * (second - first)
    ink = linear((236, 236, 230)) if ground.mean() < 0.3 else linear((30, 30, 34))
    canvas.write(rng, rect.part(0.1, 0.5 * low, 0.9, 0.95 * low), ink)
    for line in range(3):
        top = low * (0.42 - 0.14 * line)
        canvas.fill(rect.part(0.1, top - 0.02, rng.uniform(0.5, 0.9), top), 0.5 * (ink + ground))
