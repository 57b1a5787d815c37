"""Follow persons from frame to frame of one camera, and choose which pictures of them to keep.

It knows boxes, scores and times; neither pictures, HTTP nor galleries.

::

    options.py      when a box continues a track, and how long a track lives
    motion.py       where a person will be: a Kalman filter on a box
    association.py  which box continues which track
    tracker.py      the persons of one camera: boxes in, names of tracks out
    gate.py         drops pictures that show a person badly, and counts why
    thinning.py     of many pictures of a track, the best few
    keeping.py      all of it: the persons on each frame in, pictures to keep out
    scoring.py      how well people were followed, where the truth is known
"""
