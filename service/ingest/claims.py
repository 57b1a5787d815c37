"""Which joiners may join an identity: nobody is in two places of one frame."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.gallery.tracks import Span, spans_of
from service.ingest.joiners import Joiner

_MOST_LOOKED_AT = 10_000  # crops of one person by one camera; of more, those of the time alone


class Claims:
    """Grants identities to joiners, the first claim first.

    Joiners whose track has an identity are granted it at once.

    Args:
        gallery: holds the crops of the identities.
        crops: N crops that arrive.
        frames: N numbers of the frames that they were cut out of, where known; or none.
        joiners: what they make.
    """

    def __init__(
        self,
        gallery: Gallery,
        crops: Sequence[Crop],
        frames: Sequence[int | None],
        joiners: Sequence[Joiner],
    ) -> None:
        self._gallery = gallery
        self.granted: list[tuple[Joiner, str]] = []
        """Who joins which identity."""
        self._frames: defaultdict[str, set[int]] = defaultdict(set)
        self._spans: defaultdict[str, list[Span]] = defaultdict(list)
        named: defaultdict[str, list[Crop]] = defaultdict(list)
        for place, crop in enumerate(crops):
            if crop.identity is not None:
                named[crop.identity].append(crop)
                if frames and (frame := frames[place]) is not None:
                    self._frames[crop.identity].add(frame)
        for identity, own in named.items():
            self._spans[identity] += spans_of(own)
        for joiner in joiners:
            if joiner.identity is not None and not joiner.is_nobody:
                self._grant(joiner, joiner.identity)

    def claim(self, joiner: Joiner, identity: str) -> None:
        """Grant an identity to a joiner, unless the person was elsewhere at that time."""
        if not joiner.frames.isdisjoint(self._frames[identity]):
            return
        if (span := joiner.span) is not None and self._was_elsewhere(span, identity):
            return
        self._grant(joiner, identity)

    def _was_elsewhere(self, span: Span, identity: str) -> bool:
        if any(span.meets(other) for other in self._spans[identity]):
            return True
        where = Filter(identities=frozenset({identity}), cameras=frozenset({span.camera}))
        if self._gallery.count(where) > _MOST_LOOKED_AT:
            where = replace(where, since=span.first, until=math.nextafter(span.last, math.inf))
        return any(span.meets(other) for other in spans_of(self._gallery.crops(where)))

    def _grant(self, joiner: Joiner, identity: str) -> None:
        self.granted.append((joiner, identity))
        self._frames[identity] |= joiner.frames
        if (span := joiner.span) is not None:
            self._spans[identity].append(span)
