"""``python -m service demo --video``: films of several cameras, from the first frame to the alert.

::

    films/         three short films of synthetic people, and the truth about everyone in them
    walk.py        watch the films, name the people of the first, be told of them, search
    sightings.py   the tracks that were stored, and where each was seen again
    truth.py       compares what was found and followed with the truth
    report.py      prints it
"""
