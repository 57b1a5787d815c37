"""What an identity looks like: everything that stays the same from camera to camera.

Colours are linear RGB reflectances, 0..1. Heights (``hem``, ``neckline``, ``boot``) are those of
the neutral body in metres, with the hip joint's height as zero; ``sleeve`` and ``leg`` count
joints: 0 shoulder or hip, 1 elbow or knee, 2 wrist or ankle.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Colour = tuple[float, float, float]


class HairStyle(StrEnum):
    """Cut of the hair."""

    BALD = "bald"
    SHORT = "short"
    LONG = "long"
    BUN = "bun"
    PONYTAIL = "ponytail"


class HatKind(StrEnum):
    """Headwear."""

    NONE = "none"
    CAP = "cap"
    BEANIE = "beanie"
    BRIMMED = "brimmed"
    HEADSCARF = "headscarf"


class TopCut(StrEnum):
    """Cut of the upper clothes."""

    TEE = "tee"
    TANK = "tank"
    SHIRT = "shirt"
    JUMPER = "jumper"
    HOODIE = "hoodie"
    JACKET = "jacket"
    COAT = "coat"


class BottomCut(StrEnum):
    """Cut of the lower clothes."""

    TROUSERS = "trousers"
    SHORTS = "shorts"
    SKIRT = "skirt"
    DRESS = "dress"


class PatternKind(StrEnum):
    """Print of the upper clothes."""

    PLAIN = "plain"
    STRIPES = "stripes"
    PINSTRIPES = "pinstripes"
    CHECKS = "checks"
    BLOCK = "block"
    RAGLAN = "raglan"
    PRINT = "print"
    LOGO = "logo"
    BACK = "back"


class BagKind(StrEnum):
    """Kind of bag."""

    NONE = "none"
    BACKPACK = "backpack"
    SHOULDER = "shoulder"
    HAND = "hand"


class ThingKind(StrEnum):
    """What somebody has with them besides a bag."""

    NONE = "none"
    UMBRELLA = "umbrella"
    PRAM = "pram"
    SUITCASE = "suitcase"


@dataclass(frozen=True, slots=True)
class Shape:
    """The body's phenotype, each 0..1.

    Attributes:
        maleness: 0 is a woman's body, 1 a man's.
        age: 0.5 is a child of school age, 0.6..0.8 an adult.
        muscle: 0.5 is average.
        weight: 0.5 is average.
        height: 0.38 is average.
        proportions: 0.5 is average.
    """

    maleness: float
    age: float
    muscle: float
    weight: float
    height: float
    proportions: float


@dataclass(frozen=True, slots=True)
class Hair:
    """Hair; length (long hair, ponytail) and thickness in metres."""

    style: HairStyle
    colour: Colour
    length: float
    thickness: float
    beard: bool


@dataclass(frozen=True, slots=True)
class Hat:
    """Headwear."""

    kind: HatKind
    colour: Colour


@dataclass(frozen=True, slots=True)
class Pattern:
    """Print of the upper clothes.

    Attributes:
        kind: what is printed.
        pitch: stripes per metre.
        phase: shift of the stripes, radians.
        duty: the sine's level above which a stripe is, -1..1.
        edge: height of a colour block's edge, metres.
        emblem: centre x, centre height, half width, half height of a logo, metres.
        seed: of a print's shapes.
    """

    kind: PatternKind
    pitch: float
    phase: float
    duty: float
    edge: float
    emblem: tuple[float, float, float, float]
    seed: int


@dataclass(frozen=True, slots=True)
class Top:
    """Upper clothes.

    Attributes:
        cut: what it is.
        sleeve: where sleeves end, in joints; below 0 there are none.
        hem: height of the lower edge, metres.
        neckline: height of the upper edge, metres.
        v_neck: how far the neckline falls at the front, metres.
        thickness: distance from the skin, metres.
        colour: main colour.
        accent: second colour, of the pattern.
        third: third colour, of emblems.
        pattern: print.
        opening: half width of an open front, metres; 0 is closed.
        inner: colour of what an open front shows.
        zip: a line down the front.
        quilted: sewn into horizontal rolls, as a padded jacket.
    """

    cut: TopCut
    sleeve: float
    hem: float
    neckline: float
    v_neck: float
    thickness: float
    colour: Colour
    accent: Colour
    third: Colour
    pattern: Pattern
    opening: float
    inner: Colour
    zip: bool
    quilted: bool = False


@dataclass(frozen=True, slots=True)
class Bottom:
    """Lower clothes.

    Attributes:
        cut: what it is; a dress takes the top's colour and pattern.
        leg: where trousers or shorts end, in joints.
        length: of a skirt or dress below the hip, metres; under trousers it means how far a coat
            hangs over them.
        thickness: distance from the skin, metres.
        flare: how wide legs or the skirt's edge become, 0..1.
        pleats: depth of a skirt's folds, as a share of its radius.
        colour: main colour.
        side: colour of a stripe along the leg, or None.
        denim: mottled and worn at thigh and knee.
        tights: colour of the legs below a skirt or shorts, or None for skin.
    """

    cut: BottomCut
    leg: float
    length: float
    thickness: float
    flare: float
    pleats: float
    colour: Colour
    side: Colour | None
    denim: bool
    tights: Colour | None


@dataclass(frozen=True, slots=True)
class Shoes:
    """Shoes and socks; ``boot`` and ``sock_top`` are the heights where they end, metres.

    A low shoe ends at -0.78, a boot below the knee at -0.5; a sock at -0.74 covers the ankle.
    """

    colour: Colour
    sole: Colour
    boot: float
    sock: Colour
    sock_top: float = -0.72


@dataclass(frozen=True, slots=True)
class Bag:
    """A bag; side is +1 for the person's left, -1 for the right; size 1 is average."""

    kind: BagKind
    colour: Colour
    size: float
    side: int


@dataclass(frozen=True, slots=True)
class Thing:
    """What somebody pushes, pulls or holds."""

    kind: ThingKind
    colour: Colour


@dataclass(frozen=True, slots=True)
class Person:
    """One identity.

    Attributes:
        shape: the body.
        skin: colour of the skin.
        hair: hair and beard.
        hat: headwear.
        top: upper clothes.
        bottom: lower clothes.
        shoes: shoes and socks.
        bag: a bag, perhaps none.
        thing: a pram, a suitcase, an umbrella, mostly nothing.
        creases: depth of the folds in the cloth, 0..1.
        seed: of everything small: folds, mottling.
    """

    shape: Shape
    skin: Colour
    hair: Hair
    hat: Hat
    top: Top
    bottom: Bottom
    shoes: Shoes
    bag: Bag
    thing: Thing
    creases: float
    seed: int
