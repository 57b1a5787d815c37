"""The values that the labels of metrics may have. Every set is fixed, and only this module decides.

Prometheus keeps one series per combination of label values, in memory and forever. If clients could
invent values, they could fill the memory.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Generic, TypeVar

from prometheus_client.metrics import MetricWrapperBase

from service.access.rules import RULES

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)

OTHER = "other"
NO_ROUTE = "unknown"  # one label for all unknown paths, however many are tried
CLIENT_LEFT = 499  # as in nginx: appears in logs and metrics, and is never sent

ROUTES = frozenset({route for _, route in RULES} | {NO_ROUTE})
STATUSES = frozenset({str(status.value) for status in HTTPStatus} | {str(CLIENT_LEFT)})
STAGES = frozenset({"cut", "decode", "detect", "embed", "judge", "query", "rerank", "upsert"})
OUTCOMES = frozenset({"decoded", "failed"})
STATES = frozenset({"queued", "running"})
TASKS = frozenset(
    {"alerts", "audit", "deliveries", "events", "jobs", "keys", "mqtt", "retention", "tidy"}
)
PARTS = frozenset({"network", "search"})
PROVIDERS = frozenset({"cpu", "cuda", "milvus"})


class Bounded(Generic[_Metric]):
    """A metric whose labels take known values only; any other value becomes ``other``.

    Args:
        metric: the metric.
        known: the values that each of its labels may have, in order.
    """

    def __init__(self, metric: _Metric, *known: frozenset[str]) -> None:
        self._metric = metric
        self._known = known

    def labels(self, *values: object) -> _Metric:
        """Return the series of some values.

        Args:
            values: one per label; numbers become text.

        Returns:
            The series.
        """
        texts = zip(map(str, values), self._known, strict=True)
        return self._metric.labels(*(text if text in known else OTHER for text, known in texts))
