"""The ids of frames, and of the crops that are cut out of them."""

from __future__ import annotations

from service.values.names import MAX_NAME, id_of

MAX_PERSONS = 1000
"""Most persons on the frames of one request."""

MAX_FRAME_ID = MAX_NAME - len(f"/{MAX_PERSONS}")
"""Longest id of a frame, in characters, so that its crops have valid ids."""


def frame_id_of(text: str) -> str:
    """Read the id of a frame.

    Args:
        text: the text as written; blanks around it are dropped.

    Returns:
        The id in its normal form; the rules are those of crop ids.

    Raises:
        ValueError: it is not a valid crop id, or too long for one that continues it.
    """
    frame_id = id_of(text)
    if len(frame_id) > MAX_FRAME_ID:
        raise ValueError(f"must be at most {MAX_FRAME_ID} characters long, got {len(frame_id)}")
    return frame_id


def crop_id_on(frame_id: str, number: int) -> str:
    """The id of the crop of one person.

    Args:
        frame_id: of the frame, as :func:`frame_id_of` reads it.
        number: of the person on that frame, from 1.

    Returns:
        ``FRAME/01``. Two persons never share an id: what follows the last slash is the number, and
        what comes before it is the frame.
    """
    return f"{frame_id}/{number:02d}"
