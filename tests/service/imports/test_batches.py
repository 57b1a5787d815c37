"""How an import groups its items before it stores them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from service.errors import InvalidInput
from service.gallery.base import Crop
from service.imports.items import Items, Picture
from service.imports.storing import _Batches
from service.ingest.sent_embeddings import EmbeddedCrop

CONTEXT = cast("Any", SimpleNamespace())


def ready(count: int, dimension: int = 4) -> Items:
    row = np.zeros(dimension, np.float32)
    return (EmbeddedCrop(Crop(f"{number}"), row, f"{number}") for number in range(count))


def sizes(items: Items, *, joining: bool) -> list[int]:
    batches = _Batches(CONTEXT, items)
    found = []
    for batch in batches:
        batches.joining = joining
        found.append(len(batch))
    return found


def test_embeddings_come_in_large_batches_once_it_is_known_that_they_join_nothing() -> None:
    assert sizes(ready(2500), joining=False) == [256, 1024, 1024, 196]


def test_embeddings_that_may_join_groups_come_in_small_batches() -> None:
    assert sizes(ready(600), joining=True) == [256, 256, 88]


def test_long_embeddings_come_in_smaller_batches() -> None:
    assert sizes(ready(1000, 4096), joining=False) == [256, 512, 232]
    assert sizes(ready(600, 65536), joining=False) == [256, 256, 88]


def test_pictures_come_in_batches_of_half_a_run() -> None:
    pictures = (Picture(f"{number}", Crop(f"{number}"), b"") for number in range(40))
    assert sizes(pictures, joining=False) == [16, 16, 8]


def test_what_came_before_a_failure_is_stored() -> None:
    def items() -> Items:
        yield from ready(3)
        raise InvalidInput("the file ends here")

    batches = iter(_Batches(CONTEXT, items()))
    assert len(next(batches)) == 3
    with pytest.raises(InvalidInput, match="ends here"):
        next(batches)
