"""Exceptions of the client mirror the codes of the API."""

from __future__ import annotations

import json

import httpx
import pytest

from service import client, errors
from service.client import Client
from service.client.errors import class_of

PROBLEM = {
    "type": "urn:hhcl-reid:problem:x",
    "title": "Not found",
    "status": 404,
    "detail": "gallery 'g' does not exist",
    "request_id": "abc",
}


def every(parent: type[errors.ReidError]) -> list[type[errors.ReidError]]:
    children = parent.__subclasses__()
    return [*children, *(found for child in children for found in every(child))]


def answering(status: int, body: bytes, **headers: str) -> Client:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers))
    return Client(transport=transport, retry_for=0)


def test_every_code_has_a_class_of_the_same_name_below_the_same_parent():
    named = {"ReidError": "Refused", "Replaced": "Unavailable"}
    # Only the codes of the API: other modules have errors that no answer carries.
    codes = [error for error in every(errors.ReidError) if error.__module__ == errors.__name__]
    assert errors.Overloaded in codes
    for error in codes:
        name = named.get(error.__name__, error.__name__)
        found = getattr(client, name)
        assert class_of(error.code) is found
        if error is not errors.Replaced:
            parent = error.__base__.__name__
            assert issubclass(found, getattr(client, named.get(parent, parent)))


def test_internal_errors_have_a_class():
    assert class_of(errors.ReidError.code) is client.InternalError


def test_an_exception_carries_the_problem_and_the_request_id():
    body = json.dumps(PROBLEM | {"code": "not_found", "crops": 3}).encode()
    headers = {"X-Request-ID": "abc", "Retry-After": "7"}
    with answering(404, body, **headers) as asked, pytest.raises(client.NotFound) as raised:
        asked.galleries.get("g")
    error = raised.value
    assert str(error) == "Not found: gallery 'g' does not exist"
    assert (error.status, error.request_id, error.retry_after) == (404, "abc", 7.0)
    assert error.problem.crops == 3


def test_a_code_that_nobody_knows_is_a_refusal():
    body = json.dumps(PROBLEM | {"code": "brand_new"}).encode()
    with answering(404, body) as asked, pytest.raises(client.Refused) as raised:
        asked.galleries.get("g")
    assert type(raised.value) is client.Refused
    assert raised.value.problem.code == "brand_new"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(502, client.Refused), (503, client.Unavailable), (429, client.TooManyRequests)],
)
def test_an_answer_of_a_proxy_has_no_problem(status, kind):
    with answering(status, b"<html>") as asked, pytest.raises(kind) as raised:
        asked.ops.info()
    assert str(raised.value).startswith(f"http://127.0.0.1:8000/info answered {status}")
    assert raised.value.problem is None


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]"])
def test_an_answer_that_is_none_of_the_service_is_an_error(body):
    with (
        answering(200, body) as asked,
        pytest.raises(client.ServiceError, match="not an answer of the service"),
    ):
        asked.ops.info()


def test_a_redirect_is_not_followed_with_the_key():
    with (
        answering(307, b"", location="http://elsewhere/info") as asked,
        pytest.raises(client.Refused, match="answered 307"),
    ):
        asked.ops.info()
