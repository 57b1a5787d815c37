"""Flat people, drawn in milliseconds without torch or a body model, for demos and tests.

::

    palette.py   colours                                person.py    body, hair, clothes, bag
    pose.py      one moment of a walk                   brush.py     projecting, filling shapes
    clothes.py   clothes and bags on the skeleton       head.py      face, hair, hat
    figure.py    one person, painted back to front      backdrop.py  the street behind people
    camera.py    view, colours and noise of a camera    crop.py      all of it in one JPEG

People differ by what they wear and carry, as in the real task. Each camera changes all colours
about as much as two people differ. No two crops share pose, box, street or noise.
"""
