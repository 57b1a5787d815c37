"""What operators ask: is it alive, is it ready, what is it, what has it done?"""

from __future__ import annotations

from service.api import ops as api
from service.client.call import Call, get
from service.client.routes import Group, Route, Sender


def _livez() -> Call[api.Alive]:
    """The process answers."""
    return get("/livez", api.Alive)


def _readyz() -> Call[api.Alive]:
    """The network runs and the disk accepts writes; raises Unavailable if not."""
    return get("/readyz", api.Alive)


def _info() -> Call[api.Info]:
    """Version, model, providers, limits and the galleries the key may use."""
    return get("/info", api.Info)


def _metrics() -> Call[str]:
    """Counters in Prometheus' text format."""
    return Call(method="GET", path="/metrics", read=lambda answer: answer.text, repeat="always")


class Ops(Group[Sender]):
    """What operators ask."""

    livez = Route(_livez)
    readyz = Route(_readyz)
    info = Route(_info)
    metrics = Route(_metrics)
