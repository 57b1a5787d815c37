"""Invent the people to draw: body, hair, clothes and bag of one identity.

Identities come in families of three. A member shares some traits with its family and has others of
its own, and all colours come from one short palette. So every data set contains people who look
alike from a distance and differ in a bag, a sleeve or a stripe.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING

from training.synthetic.drawn.palette import CLOTH, HAIR, LEATHER, LEGS, RGB, SKIN, pick, vary

if TYPE_CHECKING:
    import numpy as np

FAMILY_SIZE = 3


class HairStyle(StrEnum):
    """Cut of the hair."""

    BALD = "bald"
    SHORT = "short"
    BOB = "bob"
    LONG = "long"
    PONYTAIL = "ponytail"
    BUN = "bun"


class Hat(StrEnum):
    """Headwear."""

    NONE = "none"
    CAP = "cap"
    BEANIE = "beanie"


class Top(StrEnum):
    """Cut of the upper clothes."""

    SHIRT = "shirt"
    HOODIE = "hoodie"
    JACKET = "jacket"
    COAT = "coat"
    DRESS = "dress"


class Sleeves(StrEnum):
    """Length of the sleeves."""

    NONE = "none"
    SHORT = "short"
    LONG = "long"


class Pattern(StrEnum):
    """Print of the upper clothes."""

    PLAIN = "plain"
    STRIPES = "stripes"
    CHECKS = "checks"
    LOGO = "logo"
    TWO_TONE = "two-tone"


class Bottom(StrEnum):
    """Cut of the lower clothes."""

    TROUSERS = "trousers"
    LEGGINGS = "leggings"
    SHORTS = "shorts"
    SKIRT = "skirt"


class BagKind(StrEnum):
    """Kind of bag."""

    NONE = "none"
    BACKPACK = "backpack"
    SHOULDER = "shoulder"


@dataclass(frozen=True, slots=True)
class Body:
    """Shape and skin: height in metres, build as a factor on all widths."""

    height: float
    build: float
    skin: RGB


@dataclass(frozen=True, slots=True)
class Hair:
    """Hair and what covers it."""

    style: HairStyle
    colour: RGB
    beard: bool
    hat: Hat
    hat_colour: RGB


@dataclass(frozen=True, slots=True)
class Upper:
    """Upper clothes; the accent colours the pattern, the lining and the zip."""

    top: Top
    sleeves: Sleeves
    pattern: Pattern
    colour: RGB
    accent: RGB


@dataclass(frozen=True, slots=True)
class Lower:
    """Lower clothes."""

    bottom: Bottom
    colour: RGB


@dataclass(frozen=True, slots=True)
class Shoes:
    """Shoes; a pale sole marks a trainer."""

    colour: RGB
    pale_sole: bool


@dataclass(frozen=True, slots=True)
class Bag:
    """A bag; side is +1 for the person's left hip, -1 for the right."""

    kind: BagKind
    colour: RGB
    side: int


@dataclass(frozen=True, slots=True)
class Person:
    """Everything about a person that stays the same from camera to camera."""

    body: Body
    hair: Hair
    upper: Upper
    lower: Lower
    shoes: Shoes
    bag: Bag


def draw_person(family: np.random.Generator, own: np.random.Generator) -> Person:
    """Invent one identity with its own body and one to three traits of its family.

    Args:
        family: random stream shared by the members of a family, at its start.
        own: random stream of this identity alone.

    Returns:
        The person.
    """
    relative, person = draw_stranger(family), draw_stranger(own)
    traits = [field.name for field in fields(Person) if field.name != "body"]
    shared = own.permutation(len(traits))[: own.integers(1, 4)]
    inherited = {traits[i] for i in shared}
    return Person(
        body=person.body,
        hair=(relative if "hair" in inherited else person).hair,
        upper=(relative if "upper" in inherited else person).upper,
        lower=(relative if "lower" in inherited else person).lower,
        shoes=(relative if "shoes" in inherited else person).shoes,
        bag=(relative if "bag" in inherited else person).bag,
    )


def draw_stranger(rng: np.random.Generator) -> Person:
    """Invent a person without a family.

    Args:
        rng: the random stream.

    Returns:
        The person.
    """
    return Person(
        body=Body(
            height=float(rng.uniform(1.52, 1.94)),
            build=float(rng.uniform(0.86, 1.24)),
            skin=vary(rng, pick(rng, SKIN)),
        ),
        hair=_hair(rng),
        upper=_upper(rng),
        lower=_lower(rng),
        shoes=Shoes(vary(rng, pick(rng, LEATHER)), pale_sole=bool(rng.random() < 0.4)),
        bag=_bag(rng),
    )


def _hair(rng: np.random.Generator) -> Hair:
    styles = (
        (HairStyle.BALD, 0.6),
        (HairStyle.SHORT, 4.0),
        (HairStyle.BOB, 1.5),
        (HairStyle.LONG, 2.0),
        (HairStyle.PONYTAIL, 1.2),
        (HairStyle.BUN, 0.7),
    )
    hats = ((Hat.NONE, 8.0), (Hat.CAP, 1.2), (Hat.BEANIE, 0.8))
    style = pick(rng, styles)
    may_have_beard = style in {HairStyle.SHORT, HairStyle.BALD}
    return Hair(
        style=style,
        beard=bool(rng.random() < 0.3) and may_have_beard,
        colour=vary(rng, pick(rng, HAIR)),
        hat=pick(rng, hats),
        hat_colour=vary(rng, pick(rng, CLOTH)),
    )


def _upper(rng: np.random.Generator) -> Upper:
    tops = (
        (Top.SHIRT, 5.0),
        (Top.HOODIE, 2.0),
        (Top.JACKET, 2.0),
        (Top.COAT, 1.0),
        (Top.DRESS, 0.8),
    )
    patterns = (
        (Pattern.PLAIN, 4.0),
        (Pattern.STRIPES, 1.3),
        (Pattern.CHECKS, 0.9),
        (Pattern.LOGO, 1.8),
        (Pattern.TWO_TONE, 1.3),
    )
    sleeves = ((Sleeves.NONE, 0.5), (Sleeves.SHORT, 3.0), (Sleeves.LONG, 2.5))
    top = pick(rng, tops)
    may_be_short = top in {Top.SHIRT, Top.DRESS}
    return Upper(
        top=top,
        sleeves=pick(rng, sleeves) if may_be_short else Sleeves.LONG,
        pattern=pick(rng, patterns),
        colour=vary(rng, pick(rng, CLOTH)),
        accent=vary(rng, pick(rng, CLOTH)),
    )


def _lower(rng: np.random.Generator) -> Lower:
    bottoms = (
        (Bottom.TROUSERS, 5.0),
        (Bottom.LEGGINGS, 1.5),
        (Bottom.SHORTS, 2.0),
        (Bottom.SKIRT, 1.2),
    )
    return Lower(pick(rng, bottoms), vary(rng, pick(rng, LEGS)))


def _bag(rng: np.random.Generator) -> Bag:
    kinds = ((BagKind.NONE, 5.0), (BagKind.BACKPACK, 3.0), (BagKind.SHOULDER, 2.0))
    return Bag(
        kind=pick(rng, kinds),
        colour=vary(rng, pick(rng, CLOTH)),
        side=1 if rng.random() < 0.5 else -1,
    )
