"""Find the persons on whole frames.

::

    detector.py       what the service needs from a detector
    onnx_detector.py  a detector on ONNX Runtime
    letterbox.py      a part of a frame on the network's input, and boxes back to the frame
    tiles.py          the parts of a frame that the network sees
    nms.py            of boxes that overlap, the best
    frames.py         one frame: the network's pictures of it, and the persons on them
    frame_intake.py   image files in, persons out: decode in threads, run in shared batches
    quality.py        how well a frame shows each person on it
    cutting.py        persons out of a frame, as image files
    person_cutter.py  image files in, a picture and the quality of each person out
    detection.py      opens the detector when the first frame comes
"""
