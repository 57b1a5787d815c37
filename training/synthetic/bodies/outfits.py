"""Tops and bottoms that go together on a warm, a mild or a cold day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.synthetic.bodies import palette as colours
from training.synthetic.bodies.palette import Palette, cloth, contrast, pick, scaled
from training.synthetic.bodies.person import (
    Bottom,
    BottomCut,
    Colour,
    Pattern,
    PatternKind,
    Top,
    TopCut,
)

Season = Literal["warm", "mild", "cold"]
SEASONS: tuple[Season, ...] = ("warm", "mild", "cold")
SHARES = (0.4, 0.34, 0.26)

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Wearer:
    """What of a body decides on clothes."""

    male: bool
    old: bool


@dataclass(frozen=True, slots=True)
class Outfit:
    """A top and a bottom for a season."""

    season: Season
    top: Top
    bottom: Bottom


@dataclass(frozen=True, slots=True)
class Sewing:
    """How a cut of top is sewn: ranges of sleeve end, thickness and neckline; chance of a V."""

    sleeve: Range
    thickness: Range
    neckline: Range
    hem: Range
    v_neck: float


SEWING: dict[TopCut, Sewing] = {
    TopCut.TEE: Sewing((0.4, 0.82), (0.006, 0.018), (0.485, 0.515), (-0.13, -0.01), 0.3),
    TopCut.TANK: Sewing((-0.2, -0.1), (0.005, 0.009), (0.43, 0.45), (-0.1, 0.04), 0.4),
    TopCut.SHIRT: Sewing((1.8, 1.98), (0.008, 0.018), (0.525, 0.535), (-0.14, -0.02), 0.4),
    TopCut.JUMPER: Sewing((1.88, 2.02), (0.014, 0.028), (0.505, 0.54), (-0.1, 0.0), 0.15),
    TopCut.HOODIE: Sewing((1.9, 2.05), (0.02, 0.036), (0.545, 0.555), (-0.12, -0.02), 0.0),
    TopCut.JACKET: Sewing((1.9, 2.05), (0.02, 0.042), (0.54, 0.555), (-0.14, 0.0), 0.0),
    TopCut.COAT: Sewing((1.92, 2.05), (0.02, 0.036), (0.54, 0.555), (-0.1, -0.04), 0.0),
}
# tee, tank, shirt, jumper, hoodie, jacket, coat
TOP_CHANCES: dict[Season, tuple[float, ...]] = {
    "warm": (0.7, 0.07, 0.2, 0.01, 0.01, 0.01, 0.0),
    "mild": (0.17, 0.0, 0.2, 0.17, 0.18, 0.26, 0.02),
    "cold": (0.0, 0.0, 0.02, 0.1, 0.12, 0.5, 0.26),
}
# trousers, shorts, skirt, dress
MALE_BOTTOMS: dict[Season, tuple[float, ...]] = {
    "warm": (0.52, 0.48, 0.0, 0.0),
    "mild": (0.96, 0.04, 0.0, 0.0),
    "cold": (1.0, 0.0, 0.0, 0.0),
}
FEMALE_BOTTOMS: dict[Season, tuple[float, ...]] = {
    "warm": (0.42, 0.24, 0.18, 0.16),
    "mild": (0.8, 0.03, 0.12, 0.05),
    "cold": (0.87, 0.0, 0.1, 0.03),
}
PLAIN_SHARE = {
    TopCut.TEE: 0.5,
    TopCut.TANK: 0.7,
    TopCut.SHIRT: 0.56,
    TopCut.JUMPER: 0.7,
    TopCut.HOODIE: 0.58,
    TopCut.JACKET: 0.86,
    TopCut.COAT: 0.95,
}
# stripes, pinstripes, checks, block, raglan, print, logo, back
PATTERN_WEIGHTS: dict[TopCut, tuple[float, ...]] = {
    TopCut.TEE: (4.0, 0.3, 0.4, 1.0, 1.0, 1.2, 5.0, 1.5),
    TopCut.TANK: (2.0, 0.3, 0.3, 0.5, 0.0, 2.0, 2.0, 0.5),
    TopCut.SHIRT: (1.0, 4.0, 5.0, 0.3, 0.0, 2.0, 0.3, 0.0),
    TopCut.JUMPER: (5.0, 0.0, 0.6, 1.5, 0.6, 0.6, 1.0, 0.0),
    TopCut.HOODIE: (0.6, 0.0, 0.0, 1.5, 1.0, 0.3, 5.0, 2.0),
    TopCut.JACKET: (0.5, 0.0, 0.6, 4.0, 2.0, 0.3, 2.0, 1.0),
    TopCut.COAT: (0.0, 0.5, 3.0, 0.5, 0.0, 0.0, 0.0, 0.0),
}


def draw_season(rng: np.random.Generator) -> Season:
    """Draw the weather that somebody is dressed for."""
    return SEASONS[rng.choice(3, p=SHARES)]


def draw_bottom(rng: np.random.Generator, wearer: Wearer, season: Season) -> Bottom:
    """Draw trousers, shorts, a skirt or a dress.

    Args:
        rng: the random stream.
        wearer: sex and age.
        season: the weather.

    Returns:
        The bottom. A dress has still to take its top's colour.
    """
    chances = (MALE_BOTTOMS if wearer.male else FEMALE_BOTTOMS)[season]
    cut = tuple(BottomCut)[rng.choice(4, p=chances)]
    match cut:
        case BottomCut.TROUSERS:
            return _trousers(rng, wearer, season)
        case BottomCut.SHORTS:
            return _shorts(rng, wearer)
        case _:
            return _skirt(rng, cut, season)


def draw_top(rng: np.random.Generator, wearer: Wearer, season: Season, bottom: Bottom) -> Top:
    """Draw a top for the season that goes with the bottom.

    Args:
        rng: the random stream.
        wearer: sex and age.
        season: the weather.
        bottom: decides hems, and which cuts are possible.

    Returns:
        The top.
    """
    cut = _top_cut(rng, wearer, season, bottom)
    sewing = SEWING[cut]
    colour = cloth(rng, _palette(cut), 0.07 if cut in {TopCut.TEE, TopCut.JACKET} else 0.03)
    closed = cut not in {TopCut.JACKET, TopCut.COAT} or rng.random() < 0.5
    quilted = cut in {TopCut.JACKET, TopCut.COAT} and season == "cold" and rng.random() < 0.45
    return Top(
        cut=cut,
        sleeve=_sleeve(rng, cut, season),
        hem=_hem(rng, sewing, bottom),
        neckline=float(rng.uniform(*sewing.neckline)),
        v_neck=float(rng.uniform(0.03, 0.1)) if rng.random() < sewing.v_neck else 0.0,
        thickness=float(rng.uniform(*sewing.thickness)) * (1.25 if quilted else 1.0),
        colour=colour,
        accent=_accent(rng, colour),
        third=cloth(rng, colours.TOPS, 0.3),
        pattern=_pattern(rng, cut),
        opening=0.0 if closed else float(rng.uniform(0.03, 0.075)),
        inner=pick(rng, colours.TOPS),
        zip=cut in {TopCut.JACKET, TopCut.HOODIE} and bool(rng.random() < 0.55),
        quilted=quilted,
    )


def _trousers(rng: np.random.Generator, wearer: Wearer, season: Season) -> Bottom:
    """Draw trousers: jeans, leggings, jogging trousers with a side stripe, or plain ones."""
    slim = not wearer.male and rng.random() < 0.45
    denim = rng.random() < (0.25 if wearer.old else 0.42)
    cropped = season != "cold" and not wearer.male and rng.random() < 0.2
    wide = not slim and not cropped and rng.random() < 0.25
    side = not denim and rng.random() < 0.09
    thickness = rng.uniform(0.003, 0.006) if slim else rng.uniform(0.009, 0.02)
    return Bottom(
        cut=BottomCut.TROUSERS,
        leg=float(rng.uniform(1.6, 1.82) if cropped else rng.uniform(1.93, 2.05)),
        length=float(rng.uniform(0.1, 0.9)),
        thickness=float(thickness + 0.008 * wide),
        flare=float(rng.uniform(0.6, 1.0) if wide else 0.0 if cropped else rng.uniform(0.0, 0.3)),
        pleats=0.0,
        colour=cloth(rng, colours.JEANS if denim else colours.TROUSERS, 0.0 if denim else 0.015),
        side=pick(rng, ((colours.WHITE, 3.0), (colours.GREY, 1.0), ((176, 46, 48), 1.0)))
        if side
        else None,
        denim=bool(denim),
        tights=None,
    )


def _shorts(rng: np.random.Generator, wearer: Wearer) -> Bottom:
    """Draw shorts, for women mostly shorter ones."""
    denim = bool(rng.random() < 0.25)
    low, high = (0.6, 1.1) if wearer.male else (0.35, 0.85)
    return Bottom(
        cut=BottomCut.SHORTS,
        leg=float(rng.uniform(low, high)),
        length=0.0,
        thickness=float(rng.uniform(0.008, 0.02)),
        flare=float(rng.uniform(0.2, 0.9)),
        pleats=0.0,
        colour=cloth(rng, colours.JEANS if denim else colours.TROUSERS, 0.04),
        side=pick(rng, ((colours.WHITE, 1.0),)) if not denim and rng.random() < 0.12 else None,
        denim=denim,
        tights=None,
    )


def _skirt(rng: np.random.Generator, cut: BottomCut, season: Season) -> Bottom:
    """Draw a skirt or a dress, with tights unless it is warm."""
    tights = rng.random() < {"warm": 0.08, "mild": 0.65, "cold": 0.95}[season]
    return Bottom(
        cut=cut,
        leg=0.0,
        length=float(rng.choice([rng.uniform(0.26, 0.42), rng.uniform(0.42, 0.75)])),
        thickness=float(rng.uniform(0.006, 0.012)),
        flare=float(rng.uniform(0.0, 1.0)),
        pleats=float(rng.uniform(0.0, 0.05)),
        colour=cloth(rng, colours.SKIRTS, 0.05),
        side=None,
        denim=False,
        tights=pick(rng, colours.TIGHTS) if tights else None,
    )


def _top_cut(rng: np.random.Generator, wearer: Wearer, season: Season, bottom: Bottom) -> TopCut:
    """Draw the cut; a dress excludes what is worn over it, and tanks go with few people."""
    weights = np.array(TOP_CHANCES[season])
    cuts = tuple(SEWING)
    if wearer.male or wearer.old:
        weights[cuts.index(TopCut.TANK)] *= 0.4
    if bottom.cut is BottomCut.DRESS:
        keep = {"warm": (TopCut.TEE, TopCut.TANK)}.get(season, (TopCut.TEE, TopCut.JUMPER))
        weights = np.array([float(cut in keep) for cut in cuts])
    if bottom.cut is BottomCut.SHORTS:
        weights[cuts.index(TopCut.COAT)] = 0.0
    return cuts[rng.choice(len(cuts), p=weights / weights.sum())]


def _sleeve(rng: np.random.Generator, cut: TopCut, season: Season) -> float:
    """Draw where sleeves end; shirts are short or rolled up when it is warm."""
    low, high = SEWING[cut].sleeve
    if cut is TopCut.SHIRT and season == "warm" and rng.random() < 0.65:
        low, high = (0.5, 0.85) if rng.random() < 0.6 else (1.1, 1.4)
    if cut is TopCut.TEE and season != "warm" and rng.random() < 0.7:
        low, high = 1.85, 2.0
    if cut in {TopCut.HOODIE, TopCut.JUMPER} and rng.random() < 0.12:
        low, high = 1.3, 1.6
    return float(rng.uniform(low, high))


def _hem(rng: np.random.Generator, sewing: Sewing, bottom: Bottom) -> float:
    """Draw the lower edge; tops are tucked into many skirts and some trousers."""
    thin = sewing.thickness[1] < 0.02
    match bottom.cut:
        case BottomCut.DRESS:
            return -0.06
        case BottomCut.SKIRT if thin and rng.random() < 0.6:
            return 0.06
        case BottomCut.TROUSERS if thin and rng.random() < 0.18:
            return 0.055
    return float(rng.uniform(*sewing.hem))


def _palette(cut: TopCut) -> Palette:
    """Choose the colours of a cut."""
    return colours.OUTERWEAR if cut in {TopCut.JACKET, TopCut.COAT} else colours.TOPS


def _accent(rng: np.random.Generator, colour: Colour) -> Colour:
    """Draw a second colour that can be told from the first, mostly black, white, grey or navy."""
    for _ in range(8):
        accent = cloth(rng, colours.TOPS, 0.12)
        if contrast(accent, colour) > 0.3:
            return accent
    return scaled(colour, 0.25 if sum(colour) > 0.5 else 6.0)


def _pattern(rng: np.random.Generator, cut: TopCut) -> Pattern:
    """Draw a print; most tops are plain."""
    kind = PatternKind.PLAIN
    if rng.random() > PLAIN_SHARE[cut]:
        weights = np.array(PATTERN_WEIGHTS[cut])
        kind = tuple(PatternKind)[1 + rng.choice(len(weights), p=weights / weights.sum())]
    large = rng.random() < 0.5
    width, height = rng.uniform(0.05, 0.11, 2) if large else rng.uniform(0.02, 0.05, 2)
    across = 0.0 if large else rng.choice([-0.07, 0.0, 0.07])
    pitch = rng.uniform(30.0, 55.0) if kind is PatternKind.PINSTRIPES else rng.uniform(8.0, 26.0)
    return Pattern(
        kind=kind,
        pitch=float(pitch),
        phase=float(rng.uniform(0.0, 2.0 * np.pi)),
        duty=float(rng.uniform(-0.5, 0.75)),
        edge=float(rng.uniform(0.1, 0.38)),
        emblem=(float(across), float(rng.uniform(0.24, 0.36)), float(width), float(height)),
        seed=int(rng.integers(1 << 31)),
    )
