"""Estimate the cost of a search before it runs, to limit how much of the service it may use.

A search is charged by its cost, not as one request. A search that is too expensive is rejected; a
heavy one runs on separate threads and counts as several requests of its key's limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from service.errors import InvalidInput

GROUPED_CANDIDATES = 10_000
"""Most crops per query that grouping looks at."""
MAX_MATCHES = 64_000
"""Most matches in one answer, about 25 MB: 64 images with ``top_k`` 1000."""
MAX_RERANKED = 16_000
"""Most crops re-ranked per request: 16 images with ``rerank_top`` 1000, or 64 with 250."""
MAX_CANDIDATES = 640_000
"""Most crops examined per request beyond a plain scan: 64 images grouped by identity."""
LIGHT_SECONDS = 0.1
"""A search that costs at most this is light: it runs immediately and counts as one request."""
TOKEN_SECONDS = 0.1
"""A heavy search counts as one more request per this time. 600 requests per minute equal the time
of one processor."""

# Measured on one core with 1,280 dimensions and six cameras, standardised: scans with
# benchmarks/default_search.py, the rest with benchmarks/heavy_searches.py.
_READ_SECONDS = 3e-7  # per crop of the gallery and batch of queries: reading it from memory
_SCAN_SECONDS = 2e-7  # per crop of the gallery and query: both products
_CANDIDATE_SECONDS = 2.2e-5  # per crop that is scored exactly, ranked and written to the answer
_GROUPED_SECONDS = 1.4e-5  # the same, counted for its identity; few are written to the answer
_RERANK_SECONDS = 8e-5  # per re-ranked crop: its neighbours and their encoding
_PAIR_SECONDS = 3.5e-8  # per pair of re-ranked crops: their distance
_BATCH_SECONDS = 0.1

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class SearchCost:
    """The amount of work that one search asks for.

    Attributes:
        queries: number of queries.
        top_k: matches per query.
        rerank_top: crops re-ranked per query; 0 for none.
        grouped: whether matches are grouped, by identity or by track.
    """

    queries: int
    top_k: int
    rerank_top: int
    grouped: bool

    @property
    def depth(self) -> int:
        """How many crops one query may have to examine."""
        return GROUPED_CANDIDATES if self.grouped else max(self.top_k, self.rerank_top)

    def require_allowed(self) -> None:
        """Reject a search that is too large for one request, whatever the size of the gallery.

        Raises:
            InvalidInput: too many matches, re-ranked crops or grouped queries; the message states
                the limit.
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
                f"group_by for {self.queries} queries: at most "
                f"{MAX_CANDIDATES // self.depth} images and crops are allowed in one request"
            )

    def seconds(self, crops: int) -> float:
        """Estimate the time the search takes at most.

        Args:
            crops: number of crops in the gallery.

        Returns:
            Seconds of one core of ordinary hardware.
        """
        batches = -(-self.queries // self._batch(crops))
        return batches * crops * _READ_SECONDS + self.queries * self._query_seconds(crops)

    def is_light(self, crops: int) -> bool:
        """Whether the search runs immediately. One scan of the gallery never makes it heavy.

        Args:
            crops: number of crops in the gallery.
        """
        one_scan = crops * (_READ_SECONDS + _SCAN_SECONDS)
        return self.seconds(crops) - one_scan <= LIGHT_SECONDS

    def tokens(self, crops: int) -> int:
        """How many requests the search counts as; 1 for a light search.

        Args:
            crops: number of crops in the gallery.
        """
        return 1 if self.is_light(crops) else 1 + int(self.seconds(crops) / TOKEN_SECONDS)

    def batches(self, items: Sequence[_Item], crops: int) -> Iterator[Sequence[_Item]]:
        """Split queries into batches of about a tenth of a second, at least one query each.

        Args:
            items: queries.
            crops: number of crops in the gallery.

        Yields:
            Consecutive queries.
        """
        size = self._batch(crops)
        for start in range(0, len(items), size):
            yield items[start : start + size]

    def _batch(self, crops: int) -> int:
        """How many queries take about a tenth of a second together."""
        left = _BATCH_SECONDS - crops * _READ_SECONDS
        return max(1, int(left / max(self._query_seconds(crops), 1e-9)))

    def _query_seconds(self, crops: int) -> float:
        examined, reranked = min(self.depth, crops), min(self.rerank_top, crops)
        candidate = _GROUPED_SECONDS if self.grouped else _CANDIDATE_SECONDS
        return (
            crops * _SCAN_SECONDS
            + examined * candidate
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
