"""Read videos: the frames of a file or a stream, with their times.

::

    sampling.py   which frames of a video are looked at
    needed.py     whether the extra ``video`` is installed
    decoding.py   frames of a file, within limits; needs the extra
"""
