"""Synthetic people, whose identities nobody has to label, so that training needs no photographs.

::

    drawn/       flat people in milliseconds, for demos and tests
    bodies/      people in three dimensions, for models (the extra ``people``)
    scenes/      whole frames with known boxes, identities and tracks
    options.py   what to make                    shots.py       which pictures there are
    artists.py   who makes a picture             dataset.py     a folder of crops
    sheet.py     a contact sheet                 unfinished.py  folders that take long to make
"""

from training.synthetic.dataset import SyntheticSummary, synthesize
from training.synthetic.options import SyntheticOptions
from training.synthetic.sheet import contact_sheet

__all__ = ["SyntheticOptions", "SyntheticSummary", "contact_sheet", "synthesize"]
