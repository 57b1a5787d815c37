"""Drawn pedestrians: tests and demos need no photograph of anyone.

::

    palette.py   colours                                  person.py   who: body, hair, clothes, bag
    pose.py      in which moment of a walk                brush.py    projecting, filling shapes
    clothes.py   what hangs on the skeleton               head.py     face, hair, hat
    figure.py    one person, painted back to front        backdrop.py the street behind people
    camera.py    where it hangs, what it does to colours  crop.py     all of it in one JPEG
    options.py   what to draw                             dataset.py  a folder of crops
    sheet.py     a contact sheet

People are told apart by what they wear and carry, as in the real task, and every camera changes all
colours about as much as two people differ. No two crops share pose, box, street or noise.
"""

from training.synthetic.dataset import SyntheticSummary, synthesize
from training.synthetic.options import SyntheticOptions
from training.synthetic.sheet import contact_sheet

__all__ = ["SyntheticOptions", "SyntheticSummary", "contact_sheet", "synthesize"]
