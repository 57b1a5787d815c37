"""Reject a second value for a field that takes one: FastAPI would silently drop the first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from fastapi import Request

from service.api.false_alerts import FalseAlertQuery
from service.api.filters import CropFilter, SearchFilter
from service.errors import InvalidInput
from service.http.request_models import CropsForm, EmbedForm, SearchForm

_LISTS = frozenset(
    {
        name
        for model in (CropFilter, SearchFilter, FalseAlertQuery, SearchForm, EmbedForm, CropsForm)
        for name, field in model.model_fields.items()
        if "list[" in str(field.annotation)
    }
    | {"zones"}  # of imports
)


async def query_given_once(request: Request) -> None:
    """Reject a query that gives one parameter two values. Raises InvalidInput."""
    _require_one_value(request.query_params.multi_items())


async def form_given_once(request: Request) -> None:
    """Reject a form that gives one field two values. Raises InvalidInput."""
    _require_one_value((await request.form()).multi_items())  # FastAPI has read it already


def _require_one_value(given: Iterable[tuple[str, Any]]) -> None:
    values: dict[str, set[Any]] = defaultdict(set)  # a client chooses how many: no list to search
    for name, value in given:
        if name not in _LISTS:
            values[name].add(value)
    for name, found in values.items():
        if len(found) > 1:
            raise InvalidInput(f"{name[:80]} has {len(found)} values: give it once")
