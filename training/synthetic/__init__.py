"""Drawn pedestrians, so that tests and demos need no photographs of people.

::

    palette.py   colours                                person.py    body, hair, clothes, bag
    pose.py      one moment of a walk                   brush.py     projecting, filling shapes
    clothes.py   clothes and bags on the skeleton       head.py      face, hair, hat
    figure.py    one person, painted back to front      backdrop.py  the street behind people
    camera.py    view, colours and noise of a camera    crop.py      all of it in one JPEG
    options.py   what to draw                           dataset.py   a folder of crops
    sheet.py     a contact sheet

People differ by what they wear and carry, as in the real task. Each camera changes all colours
about as much as two people differ. No two crops share pose, box, street or noise.
"""

from training.synthetic.dataset import SyntheticSummary, synthesize
from training.synthetic.options import SyntheticOptions
from training.synthetic.sheet import contact_sheet

__all__ = ["SyntheticOptions", "SyntheticSummary", "contact_sheet", "synthesize"]
