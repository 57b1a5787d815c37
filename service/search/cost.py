"""What a search costs, before it runs: one estimate decides how much of the service it may take.

A search is charged by its cost, not by its being one request: more than is allowed is refused, what
is heavy runs on threads of its own and takes more than one request from the share of its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.errors import InvalidInput

GROUPED_CANDIDATES = 10_000
"""Grouping by identity looks at no more than this many crops of the gallery."""
MAX_MATCHES = 64_000
"""Most matches of one answer, some 25 MB: as many as 64 images with ``top_k`` 1000."""
MAX_RERANKED = 16_000
"""Most crops re-ranked for one request: 16 images with ``rerank_top`` 1000, or 64 with 250."""
MAX_CANDIDATES = 640_000
"""Most crops looked at for one request beyond a plain scan: 64 images grouped by identity."""
LIGHT_SECONDS = 0.1
"""What costs no more is light: it runs at once, and counts as one request."""
TOKEN_SECONDS = 0.1
"""A key pays one of its requests a minute for each of these. 600 a minute make one processor."""

# Measured on one core with 8,000 crops of 1,280 dimensions on six cameras, standardised, 64 queries
# a request; see benchmarks/heavy_searches.py.
_SCAN_SECONDS = 6e-7  # a crop of the gallery and a query: both products
_CANDIDATE_SECONDS = 2.2e-5  # a crop scored to the last bit, ranked, and written out
_GROUPED_SECONDS = 1.4e-5  # the same, and counted for its identity; few are written out
_RERANK_SECONDS = 8e-5  # a crop's neighbours and their encoding
_PAIR_SECONDS = 3.5e-8  # the distance of two crops that are re-ranked
_STEP_SECONDS = 0.1

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class SearchCost:
    """How much one search asks for.

    Attributes:
        queries: how many there are.
        top_k: matches wanted of each.
        rerank_top: crops re-ranked for each; 0 where none are.
        grouped: whether matches are grouped by identity.
    """

    queries: int
    top_k: int
    rerank_top: int
    grouped: bool

    @property
    def depth(self) -> int:
        """How many crops each query may have to look at."""
        return GROUPED_CANDIDATES if self.grouped else max(self.top_k, self.rerank_top)

    def require_allowed(self) -> None:
        """Refuse what is too much for one request, however large the gallery is.

        Raises:
            InvalidInput: too many matches, re-ranked crops or grouped queries; the message says
                what is allowed.
        """
        self._require("top_k", self.top_k, MAX_MATCHES, "one answer holds at most {most} matches")
        self._require(
            "rerank_top",
            self.rerank_top,
            MAX_RERANKED,
            "one request re-ranks at most {most} crops",
        )
        if self.queries * self.depth > MAX_CANDIDATES:
            raise InvalidInput(
                f"group_by=identity for {self.queries} queries: at most "
                f"{MAX_CANDIDATES // self.depth} images and crops are allowed in one request"
            )

    def seconds(self, crops: int) -> float:
        """Time of one core that the search takes at most, by estimate.

        Args:
            crops: how many the gallery has.

        Returns:
            Seconds, of ordinary hardware.
        """
        return self.queries * self._query_seconds(crops)

    def is_light(self, crops: int) -> bool:
        """Whether the search runs at once; a single look at the gallery makes none heavy.

        Args:
            crops: how many the gallery has.
        """
        return self.seconds(crops) - crops * _SCAN_SECONDS <= LIGHT_SECONDS

    def tokens(self, crops: int) -> int:
        """How many requests the search counts as, 1 for a light one.

        Args:
            crops: how many the gallery has.
        """
        return 1 if self.is_light(crops) else 1 + int(self.seconds(crops) / TOKEN_SECONDS)

    def steps(self, items: Sequence[_Item], crops: int) -> Iterator[Sequence[_Item]]:
        """Queries in parts that each take about a tenth of a second, or one query's time.

        Args:
            items: queries.
            crops: how many the gallery has.

        Yields:
            Consecutive queries.
        """
        size = max(1, int(_STEP_SECONDS / max(self._query_seconds(crops), 1e-9)))
        for start in range(0, len(items), size):
            yield items[start : start + size]

    def _query_seconds(self, crops: int) -> float:
        looked_at, reranked = min(self.depth, crops), min(self.rerank_top, crops)
        candidate = _GROUPED_SECONDS if self.grouped else _CANDIDATE_SECONDS
        return (
            crops * _SCAN_SECONDS
            + looked_at * candidate
            + reranked * _RERANK_SECONDS
            + reranked**2 * _PAIR_SECONDS
        )

    def _require(self, field: str, value: int, most: int, rule: str) -> None:
        if self.queries * value > most:
            raise InvalidInput(
                f"{field} {value} for {self.queries} queries: {rule.format(most=most)}; ask for a "
                f"{field} of at most {most // self.queries}, or send fewer images and crops in "
                "one request"
            )
