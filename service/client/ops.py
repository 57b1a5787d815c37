"""What operators ask: is it alive, is it ready, what is it, what has it done?"""

from __future__ import annotations

from dataclasses import replace

from service.api import ops as api
from service.client.call import Call, Steps, get
from service.client.errors import Unavailable, Unreachable
from service.client.routes import Conversation, Group, Route, Sender


def _livez() -> Call[api.Alive]:
    """The process answers."""
    return get("/livez", api.Alive)


def _readyz() -> Call[api.Alive]:
    """The network runs and the disk accepts writes; raises Unavailable if not."""
    return get("/readyz", api.Alive)


def _is_ready() -> Steps[bool]:
    """Whether the service is ready at this moment; False if nothing answers."""
    try:
        yield replace(_readyz(), repeat="never")
    except (Unavailable, Unreachable):
        return False
    return True


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
    is_ready = Conversation(_is_ready)
    info = Route(_info)
    metrics = Route(_metrics)
