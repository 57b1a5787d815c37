"""Inventing people: their bodies, and what they wear on a warm, a mild or a cold day.

Chances and palettes follow what pedestrians wear in public re-ID data: mostly black, grey, white,
navy, denim and beige, dark or white shoes, plain tops. They are estimates, not counted.

People come in groups of :data:`GROUP_SIZE`, and some of a group dress alike, so that colour alone
does not tell who somebody is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.synthetic.bodies import palette as colours
from training.synthetic.bodies.knobs import PeopleKnobs
from training.synthetic.bodies.outfits import Outfit, Wearer, draw_bottom, draw_season, draw_top
from training.synthetic.bodies.palette import cloth, pick, scaled, shade
from training.synthetic.bodies.person import (
    Bag,
    BagKind,
    Bottom,
    BottomCut,
    Colour,
    Hair,
    HairStyle,
    Hat,
    HatKind,
    Person,
    Shape,
    Shoes,
    Thing,
    ThingKind,
    Top,
    TopCut,
)

GROUP_SIZE = 4
CHILD, OLD = 0.57, 0.84  # on the body model's scale of age, where 2/3 is about 25 years


@dataclass(frozen=True, slots=True)
class Chances:
    """A random stream with the factor on the chances of accessories."""

    rng: np.random.Generator
    accessories: float

    def happens(self, chance: float) -> bool:
        """Draw whether something happens whose chance the accessories knob scales."""
        return bool(self.rng.random() < min(1.0, chance * self.accessories))


def draw_person(group: np.random.Generator, own: np.random.Generator, knobs: PeopleKnobs) -> Person:
    """Invent one identity of a group.

    Args:
        group: the group's random stream, at the same start for each of its members.
        own: the identity's random stream.
        knobs: chances of dressing alike and of accessories, depth of folds.

    Returns:
        The person. Members who dress alike have the same top and bottom in slightly other shades,
        but a body, skin, hair, shoes and bag of their own.
    """
    shape = _draw_shape(own)
    wearer = _wearer(shape)
    if own.random() < knobs.alike:
        outfit = _alike(own, _draw_outfit(group, _wearer(_draw_shape(group))), wearer)
    else:
        outfit = _draw_outfit(own, wearer)
    return _complete(own, shape, outfit, knobs)


def draw_stranger(rng: np.random.Generator, knobs: PeopleKnobs) -> Person:
    """Invent a passer-by, who belongs to no group.

    Args:
        rng: the random stream.
        knobs: chances of accessories, depth of folds.

    Returns:
        The person.
    """
    shape = _draw_shape(rng)
    return _complete(rng, shape, _draw_outfit(rng, _wearer(shape)), knobs)


def shifted(person: Person, rng: np.random.Generator, shift: float) -> Person:
    """Change what people change during a day: close or open a jacket, take off a hat, move a bag.

    Args:
        person: the identity.
        rng: the picture's random stream.
        shift: chance of each change, 0..1; a hat comes off half as often.

    Returns:
        The person as in this picture; the same object when nothing changes.
    """
    jacket, bag, hat = rng.random(3) < (shift, shift, 0.5 * shift)
    if jacket and person.top.cut in {TopCut.JACKET, TopCut.COAT}:
        opening = 0.05 if person.top.opening == 0 else 0.0
        person = replace(person, top=replace(person.top, opening=opening))
    if bag and person.bag.kind is not BagKind.NONE:
        person = replace(person, bag=replace(person.bag, side=-person.bag.side))
    if hat and person.hat.kind in {HatKind.CAP, HatKind.BEANIE, HatKind.BRIMMED}:
        person = replace(person, hat=replace(person.hat, kind=HatKind.NONE))
    return person


def _draw_shape(rng: np.random.Generator) -> Shape:
    """Draw a body: 3 % children, 15 % old, some very heavy."""
    male = rng.random() < 0.52
    kind = rng.choice(3, p=[0.03, 0.82, 0.15])
    age = rng.uniform(*((0.45, 0.55), (0.6, 0.8), (OLD, 0.97))[kind])
    heavy = rng.random() < 0.12
    weight = rng.uniform(0.75, 1.0) if heavy else rng.normal(0.47, 0.16)
    return Shape(
        maleness=float(rng.uniform(0.88, 1.0) if male else rng.uniform(0.0, 0.12)),
        age=float(age),
        muscle=float(rng.uniform(0.3, 0.78) if male else rng.uniform(0.25, 0.65)),
        weight=float(np.clip(weight, 0.08, 1.0)),
        height=float(np.clip(rng.normal(0.385, 0.07), 0.15, 0.65)),
        proportions=float(rng.uniform(0.25, 0.85)),
    )


def _wearer(shape: Shape) -> Wearer:
    """Reduce a body to what decides on clothes."""
    return Wearer(male=shape.maleness > 0.5, old=shape.age >= OLD)


def _draw_outfit(rng: np.random.Generator, wearer: Wearer) -> Outfit:
    """Draw season, top and bottom that go together."""
    season = draw_season(rng)
    bottom = draw_bottom(rng, wearer, season)
    top = draw_top(rng, wearer, season, bottom)
    if bottom.cut is BottomCut.DRESS:
        bottom = replace(bottom, colour=top.colour)
    elif colours.saturation(top.colour) > 0.3 and colours.saturation(bottom.colour) > 0.3:
        bottom = replace(bottom, colour=pick(rng, colours.TROUSERS[:4]))
    return Outfit(season, top, bottom)


def _alike(rng: np.random.Generator, outfit: Outfit, wearer: Wearer) -> Outfit:
    """Dress somebody like the group, with small differences of shade and fit."""
    bottom = outfit.bottom
    top = replace(
        outfit.top,
        colour=shade(rng, outfit.top.colour),
        accent=shade(rng, outfit.top.accent),
        hem=outfit.top.hem + float(rng.uniform(-0.02, 0.02)),
        thickness=outfit.top.thickness * float(rng.uniform(0.85, 1.2)),
    )
    if wearer.male and bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS}:
        bottom = _as_trousers(bottom)
        top = replace(top, hem=min(top.hem, -0.02))
    colour = top.colour if bottom.cut is BottomCut.DRESS else shade(rng, bottom.colour)
    thickness = bottom.thickness * float(rng.uniform(0.85, 1.2))
    return Outfit(outfit.season, top, replace(bottom, colour=colour, thickness=thickness))


def _as_trousers(bottom: Bottom) -> Bottom:
    """Turn a skirt into plain trousers of the same colour."""
    return replace(
        bottom, cut=BottomCut.TROUSERS, leg=1.95, length=0.0, thickness=0.014, flare=0.3,
        pleats=0.0, tights=None,
    )  # fmt: skip


def _complete(rng: np.random.Generator, shape: Shape, outfit: Outfit, knobs: PeopleKnobs) -> Person:
    """Add to a body and an outfit everything that nobody shares."""
    chances = Chances(rng, knobs.accessories)
    wearer = _wearer(shape)
    hat = _draw_hat(chances, wearer, outfit)
    return Person(
        shape=shape,
        skin=pick(rng, colours.SKIN),
        hair=_draw_hair(rng, shape),
        hat=hat,
        top=outfit.top,
        bottom=outfit.bottom,
        shoes=_draw_shoes(rng, wearer, outfit),
        bag=_draw_bag(chances, wearer, outfit.top),
        thing=_draw_thing(chances, shape),
        creases=float(min(1.0, rng.uniform(0.3, 0.7) * knobs.creases)),
        seed=int(rng.integers(1 << 31)),
    )


def _draw_hair(rng: np.random.Generator, shape: Shape) -> Hair:
    """Draw hair by sex and age."""
    male, old = shape.maleness > 0.5, shape.age >= OLD
    style = _hair_style(rng, male, old)
    grey = rng.random() < (0.8 if old else 0.03 if shape.age > CHILD else 0.0)
    colour = pick(rng, colours.GREY_HAIR if grey else colours.HAIR)
    if not grey:
        colour = scaled(colour, 0.8)
    return Hair(
        style=style,
        colour=colour,
        length=float(rng.uniform(0.08, 0.26)),
        thickness=float(rng.uniform(0.008, 0.03)),
        beard=male and shape.age > CHILD and bool(rng.random() < 0.22),
    )


def _hair_style(rng: np.random.Generator, male: bool, old: bool) -> HairStyle:
    """Draw the cut of the hair."""
    styles = list(HairStyle)  # bald, short, long, bun, ponytail
    match male, old:
        case True, True:
            chances = [0.25, 0.74, 0.01, 0.0, 0.0]
        case True, False:
            chances = [0.06, 0.89, 0.03, 0.01, 0.01]
        case False, True:
            chances = [0.0, 0.6, 0.2, 0.16, 0.04]
        case _:
            chances = [0.0, 0.12, 0.48, 0.13, 0.27]
    return styles[rng.choice(len(styles), p=chances)]


def _draw_hat(chances: Chances, wearer: Wearer, outfit: Outfit) -> Hat:
    """Draw headwear by season: beanies in the cold, brimmed hats in the sun."""
    rng = chances.rng
    cold, warm = outfit.season == "cold", outfit.season == "warm"
    if not chances.happens(0.2 if cold else 0.14):
        return Hat(HatKind.NONE, pick(rng, colours.HATS))
    beanie = 3.0 if cold else 0.15
    brimmed = 1.2 if warm else 0.3
    weights = np.array([1.0 if cold else 2.5, beanie, brimmed, 0.0 if wearer.male else 1.0])
    kinds = (HatKind.CAP, HatKind.BEANIE, HatKind.BRIMMED, HatKind.HEADSCARF)
    kind = kinds[rng.choice(4, p=weights / weights.sum())]
    return Hat(kind, cloth(rng, colours.HATS, 0.05))


def _draw_shoes(rng: np.random.Generator, wearer: Wearer, outfit: Outfit) -> Shoes:
    """Draw shoes and socks: boots only over bare or slim legs, long socks only with short legs."""
    bottom = outfit.bottom
    slim = bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS} or bottom.thickness < 0.006
    colour = cloth(rng, colours.SHOES, 0.02)
    boots = not wearer.male and slim and outfit.season != "warm" and rng.random() < 0.4
    if boots:
        colour = pick(rng, colours.SHOES[:1] + colours.SHOES[4:5])
        boot = rng.uniform(-0.68, -0.5)
    else:
        boot = rng.uniform(-0.8, -0.765) if rng.random() < 0.8 else rng.uniform(-0.765, -0.72)
    return Shoes(
        colour=colour,
        sole=_draw_sole(rng, colour, boots),
        boot=float(boot),
        sock=cloth(rng, colours.SOCKS, 0.015),
        sock_top=float(_draw_sock_top(rng, bottom)),
    )


def _draw_sole(rng: np.random.Generator, colour: Colour, boots: bool) -> Colour:
    """Draw the sole: pale under trainers, dark under boots and leather shoes."""
    pale = not boots and rng.random() < (0.45 if sum(colour) < 0.3 else 0.8)
    return pick(rng, ((colours.WHITE, 1.0),) if pale else ((colours.BLACK, 1.0),))


def _draw_sock_top(rng: np.random.Generator, bottom: Bottom) -> float:
    """Draw the height of the socks; under trousers they are always long enough to cover skin."""
    if bottom.cut is BottomCut.TROUSERS and bottom.leg > 1.85:
        return -0.6
    return float(rng.choice([-0.79, -0.735, -0.66, -0.5], p=[0.34, 0.36, 0.22, 0.08]))


def _draw_bag(chances: Chances, wearer: Wearer, top: Top) -> Bag:
    """Draw a bag: backpacks for everybody, shoulder and hand bags mostly for women."""
    rng = chances.rng
    kind = BagKind.NONE
    if chances.happens(0.42 if wearer.male else 0.58):
        weights = [0.68, 0.2, 0.12] if wearer.male else [0.36, 0.4, 0.24]
        kind = (BagKind.BACKPACK, BagKind.SHOULDER, BagKind.HAND)[rng.choice(3, p=weights)]
    if kind is BagKind.BACKPACK and top.cut is TopCut.COAT and rng.random() < 0.5:
        kind = BagKind.SHOULDER
    return Bag(
        kind=kind,
        colour=cloth(rng, colours.BAGS, 0.06),
        size=float(rng.uniform(0.72, 1.2)),
        side=int(rng.choice([-1, 1])),
    )


def _draw_thing(chances: Chances, shape: Shape) -> Thing:
    """Draw what an adult pushes, pulls or holds; mostly nothing."""
    rng = chances.rng
    kind = ThingKind.NONE
    if shape.age > CHILD and chances.happens(0.055):
        kinds = (ThingKind.UMBRELLA, ThingKind.PRAM, ThingKind.SUITCASE)
        kind = kinds[rng.choice(3, p=[0.4, 0.25, 0.35])]
    return Thing(kind, cloth(rng, colours.BAGS, 0.15))


__all__ = ["GROUP_SIZE", "draw_person", "draw_stranger", "shifted"]
