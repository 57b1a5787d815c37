"""Building a street from a seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from training.synthetic.bodies.street.fronts import fill_row
from training.synthetic.bodies.street.indoors import furnish_hall
from training.synthetic.bodies.street.outdoors import furnish_outdoors
from training.synthetic.bodies.street.pavement import lay_ground
from training.synthetic.bodies.street.scene import Row, Scene
from training.synthetic.bodies.street.sky import hall, open_sky
from training.synthetic.bodies.street.street import Street

if TYPE_CHECKING:
    import numpy as np

    from training.synthetic.bodies.knobs import SceneKnobs

CHANCES = {"street": 0.32, "square": 0.18, "campus": 0.25, "park": 0.1, "yard": 0.15}


def build_street(rng: np.random.Generator, knobs: SceneKnobs, *, indoors: bool) -> Street:
    """Build what a camera sees around the people.

    Cameras hang on the side of positive x and look about towards negative x: that side stays open.

    Args:
        rng: source of randomness; the street depends on nothing else.
        knobs: ``backdrop`` scales the number of things; 0 leaves a plain ground and one wall.
        indoors: a hall instead of a street.

    Returns:
        The street; under about 8,000 triangles.
    """
    character = "hall" if indoors else str(rng.choice(list(CHANCES), p=list(CHANCES.values())))
    scene = Scene(
        rng,
        angle=math.pi + rng.uniform(-0.2, 0.2),
        open_radius=float(rng.uniform(3.5, 9.0) if indoors else rng.uniform(4.5, 13.0)),
        variety=knobs.backdrop,
    )
    ground = lay_ground(scene, character)
    if knobs.backdrop == 0.0:
        fill_row(scene, Row(scene.open_radius, 0.0, -math.pi / 2, 40.0), "wall")
    elif indoors:
        furnish_hall(scene)
    else:
        furnish_outdoors(scene, character)
    return Street(
        part=scene.whole(),
        places=scene.places,
        open_radius=scene.open_radius,
        indoors=indoors,
        atlas=scene.atlas.build(),
        ground=ground,
        panorama=hall(rng) if indoors else open_sky(rng),
    )
