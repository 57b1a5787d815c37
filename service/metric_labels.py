"""The values a metric's labels may have: one place decides, and every set is fixed.

Prometheus keeps one series per combination of label values, in memory and for good. A value that a
client can invent would therefore let the client fill the memory.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Generic, TypeVar

from prometheus_client.metrics import MetricWrapperBase

from service.access.rules import RULES

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)

OTHER = "other"
NO_ROUTE = "unknown"  # one label for all paths nobody serves, however many are tried
CLIENT_LEFT = 499  # nginx's word for it; appears in log and metrics, and is sent to nobody

ROUTES = frozenset({route for _, route in RULES} | {NO_ROUTE})
STATUSES = frozenset({str(status.value) for status in HTTPStatus} | {str(CLIENT_LEFT)})
STAGES = frozenset({"decode", "embed", "query", "rerank", "upsert"})
OUTCOMES = frozenset({"decoded", "failed"})
STATES = frozenset({"queued", "running"})
TASKS = frozenset({"audit", "jobs", "keys", "retention", "tidy"})
PARTS = frozenset({"network", "search"})
PROVIDERS = frozenset({"cpu", "cuda", "milvus"})


class Bounded(Generic[_Metric]):
    """A metric whose labels have known values only; any other value becomes ``other``.

    Args:
        metric: what counts.
        known: for each of its labels, in order, the values it may have.
    """

    def __init__(self, metric: _Metric, *known: frozenset[str]) -> None:
        self._metric = metric
        self._known = known

    def labels(self, *values: object) -> _Metric:
        """The series of these values.

        Args:
            values: one for each label; numbers are written out.

        Returns:
            The series, which counts.
        """
        texts = zip(map(str, values), self._known, strict=True)
        return self._metric.labels(*(text if text in known else OTHER for text, known in texts))
