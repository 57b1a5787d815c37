"""How hard the pictures of three-dimensional people are: every knob, its range and its default.

``python -m training synthesize --kind bodies --set NAME=VALUE`` turns one. Most are factors or
chances: 0 switches the effect off, 1 is the default, and larger values make it stronger.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from service.errors import InvalidInput

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Strength = Annotated[float, Field(ge=0.0, le=3.0)]


@dataclass(frozen=True, config=STRICT)
class PeopleKnobs:
    """Who the people are, and what they do.

    Attributes:
        alike: share of the identities who dress like the others of their group of four, as in a
            work team or a school: same top and bottom but for small differences, other bodies.
        accessories: factor on the chances of hats, bags, prams, suitcases and umbrellas.
        standing: chance that somebody stands.
        sitting: chance that somebody sits.
        phoning: chance that somebody holds a phone to the ear or looks at it.
        carrying: chance that an arm carries something in front of the body.
        creases: factor on the depth of folds in the cloth.
        shift: how far a picture's clothes may differ from the identity's own: an open jacket
            closed, a bag on the other side. 0 never.
    """

    alike: Share = 0.3
    accessories: Strength = 1.0
    standing: Share = 0.22
    sitting: Share = 0.03
    phoning: Share = 0.1
    carrying: Share = 0.08
    creases: Strength = 1.0
    shift: Share = 0.0


@dataclass(frozen=True, config=STRICT)
class SceneKnobs:
    """Where the cameras are, and what stands around.

    Attributes:
        height_low: lowest camera, metres above the ground.
        height_high: highest camera, metres.
        near: least distance from camera to person, metres.
        far: greatest distance, metres.
        backdrop: variety of grounds, houses and things; 0 is a plain ground and wall.
        indoors: chance that a camera hangs indoors.
        passers_by: factor on the number of other people in the picture.
        occlusion: chance that a thing or another person hides part of the person.
        shadows: strength of cast shadows and of shade in creases.
        daylight: how much light's direction, colour and strength differ between a camera's
            pictures, as over a day.
    """

    height_low: Annotated[float, Field(ge=0.5, le=20.0)] = 2.0
    height_high: Annotated[float, Field(ge=0.5, le=20.0)] = 6.0
    near: Annotated[float, Field(ge=2.0, le=60.0)] = 4.0
    far: Annotated[float, Field(ge=2.0, le=60.0)] = 16.0
    backdrop: Strength = 1.0
    indoors: Share = 0.3
    passers_by: Strength = 1.0
    occlusion: Share = 0.15
    shadows: Share = 1.0
    daylight: Strength = 1.0

    def __post_init__(self) -> None:
        """Check the pairs."""
        for low, high in (("height_low", "height_high"), ("near", "far")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low} is {getattr(self, low)}, must be at most {high}, "
                    f"which is {getattr(self, high)}"
                )


@dataclass(frozen=True, config=STRICT)
class PictureKnobs:
    """What lens, sensor, compression and detector do to a picture.

    Attributes:
        exposure: pictures too dark or too bright.
        levels: how far cameras stretch tones from black to white, as automatic exposure does.
        colour: differences of white balance, saturation and gamma between cameras.
        blur: lens blur.
        motion: motion blur.
        noise: sensor noise.
        compression: JPEG artefacts.
        low_resolution: how often and how far people are smaller than the crop.
        box: errors of the detector's boxes: too wide, cut off, shifted.
        tightness: how far boxes narrow from the crop's own shape to the person; the crop then shows
            somebody slim as wide as somebody broad, as detectors' crops do.
    """

    exposure: Strength = 1.0
    levels: Share = 0.8
    colour: Strength = 1.0
    blur: Strength = 1.0
    motion: Strength = 1.0
    noise: Strength = 1.0
    compression: Strength = 1.0
    low_resolution: Strength = 1.0
    box: Strength = 1.0
    tightness: Share = 1.0


@dataclass(frozen=True, config=STRICT)
class Knobs:
    """All knobs.

    Attributes:
        people: who the people are.
        scene: where the cameras are.
        picture: what cameras and detectors do to pictures.
        supersampling: rays per pixel and direction; 2 takes about twice the time of 1.
    """

    people: PeopleKnobs = Field(default_factory=PeopleKnobs)
    scene: SceneKnobs = Field(default_factory=SceneKnobs)
    picture: PictureKnobs = Field(default_factory=PictureKnobs)
    supersampling: Annotated[int, Field(ge=1, le=3)] = 1


def parse_knobs(values: dict[str, str]) -> Knobs:
    """Set knobs by name.

    Args:
        values: texts by dotted name, such as ``{"picture.blur": "2"}``.

    Returns:
        The knobs; the others keep their defaults.

    Raises:
        InvalidInput: a name is unknown, or a value breaks its rule.
    """
    tree: dict[str, Any] = {}
    names = knob_names()
    for name, value in values.items():
        if name not in names:
            raise InvalidInput(f"no knob is called {name}; there are {', '.join(names)}")
        section, _, knob = name.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[knob] = value
    try:
        return TypeAdapter(Knobs).validate_python(tree)
    except ValidationError as error:
        broken = error.errors()[0]
        name = ".".join(map(str, broken["loc"]))
        raise InvalidInput(f"{name} = {broken['input']!r}: {broken['msg']}") from error


def knob_names() -> list[str]:
    """List all knobs.

    Returns:
        Dotted names, in the order of this file.
    """
    names = []
    for each in fields(Knobs):
        value = getattr(Knobs(), each.name)
        if is_dataclass(value):
            names += [f"{each.name}.{knob.name}" for knob in fields(value)]
        else:
            names.append(each.name)
    return names
