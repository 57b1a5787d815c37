"""What the pictures of a request give to search for."""

from __future__ import annotations

import numpy as np
import pytest

from service.embedding.encoded_image import EncodedImage
from service.errors import InvalidImage
from service.search.results import in_order
from service.search.shots import Miss, Nobody, QueryPicture, Shot, queries_of, uploaded_shots

FILE = EncodedImage("a.png", b"")
ROW = np.array([1.0, 0.0], dtype=np.float32)
DAMAGED = InvalidImage("damaged")


def test_each_picture_has_its_entry_in_order():
    pictures = [
        QueryPicture(None, "image 0"),
        QueryPicture(FILE, "person 1 of image 1", of_frame=True),
        QueryPicture(DAMAGED, "image 2"),
        QueryPicture(FILE, "person 1 of image 3", of_frame=True),
    ]
    shots = uploaded_shots(pictures, [ROW, InvalidImage("5x12 pixels")], "c1")
    assert [type(shot) for shot in shots] == [Nobody, Shot, Miss, Miss]
    (query,) = queries_of(shots, combine=False)
    assert (query.shots[0].image, query.camera) == (1, "c1")
    (alone,) = in_order([shots[0]], [], combine=False)
    assert (alone.images, alone.status) == ((0,), "nobody")


@pytest.mark.parametrize("combine", [False, True])
def test_a_person_too_small_on_a_usable_frame_rejects_no_request(combine):
    small = Miss(InvalidImage("5x12 pixels"), "person 1 of image 0", image=0, of_frame=True)
    assert queries_of([small, Nobody(1)], combine=combine) == []
    (result, _) = in_order([small, Nobody(1)], [], combine=combine)
    assert (result.status, result.images) == ("error", (0,))


def test_unusable_files_reject_the_request():
    with pytest.raises(InvalidImage, match="damaged"):
        queries_of([Miss(DAMAGED, "image 0", image=0)], combine=False)
