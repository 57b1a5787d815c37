"""A change of a gallery, paused at each of its locks and awaits, and every operation meanwhile.

Whatever the pause, the gallery must end as if one operation had run after the other: everything
acknowledged is there, and nothing that was refused. Pictures match their digests, the versions can
be made to agree, and no thread waits forever.
"""

from __future__ import annotations

import pytest
from pauses.operations import ON_GALLERIES, OPERATIONS
from pauses.pairs import check_every_pause


@pytest.mark.parametrize("second", OPERATIONS)
@pytest.mark.parametrize("first", ON_GALLERIES)
def test_two_concurrent_operations_end_as_if_run_in_sequence(pair, first, second):
    check_every_pause(pair, first, second)
