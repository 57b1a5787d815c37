"""Watch one camera: read frames, choose some, and send them to a running service.

::

    frame.py      a frame on its way, and what every source does
    film.py       frames of a video file
    folder.py     frames that appear in a folder
    stream.py     frames of a camera that sends RTSP or HTTP
    backlog.py    frames that wait to be sent: live ones may be dropped
    tally.py      what was read, sent and dropped
    sending.py    frames to the service, whose detector finds the persons
    following.py  follows the persons, and sends the best pictures of each
    watching.py   reads and sends at the same time until the source ends
"""
