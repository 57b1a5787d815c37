"""Streets: the ground that people walk on, and what stands around it.

::

    street.py      a finished street: mesh, colours, sky      outdoors.py   streets, squares, parks
    atlas.py       all textures in one array, with mips       indoors.py    stations, malls
    noise.py       noise that tiles                           things.py     cars, benches, lamps
    masonry.py     bricks, slabs, cobbles, planks             cycles.py     bicycles, railings
    surfaces.py    asphalt, grass, plaster, leaves            greenery.py   trees, hedges, planters
    facade.py      houses: storeys, windows, doors            solids.py     boxes, tubes, prisms
    shopfront.py   shop windows, signs, posters               scene.py      collects the parts
    ground.py      lanes, markings, patches on the ground     sky.py        clouds, horizon
"""

from training.synthetic.bodies.street.build import build_street
from training.synthetic.bodies.street.street import Place, Street

__all__ = ["Place", "Street", "build_street"]
