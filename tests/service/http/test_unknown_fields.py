"""An unknown field is rejected by its name, and the field that was probably meant is suggested."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.access.rules import RULES
from service.testing import solid

QUERY = solid((200, 20, 20))
FILES = {"files": [("images", QUERY)]}


def rejection(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 422, answer.text[:200]
    body: dict[str, Any] = answer.json()
    assert body["code"] == "invalid_input"
    return body


@pytest.mark.parametrize(
    ("method", "path", "sent", "where", "field", "meant"),
    [
        ("POST", "/search", FILES | {"data": {"topk": "3"}}, "body", "topk", "top_k"),
        ("POST", "/search", FILES | {"data": {"min-score": "0"}}, "body", "min-score", "min_score"),
        ("POST", "/embed", FILES | {"data": {"encodings": "x"}}, "body", "encodings", "encoding"),
        ("POST", "/detect", FILES | {"data": {"tile": "2x2"}}, "body", "tile", "tiles"),
        (
            "POST",
            "/galleries/default/frames",
            FILES | {"data": {"box": ""}},
            "body",
            "box",
            "boxes",
        ),
        ("POST", "/galleries", {"json": {"name": "x", "Join": True}}, "body", "Join", "join"),
        ("GET", "/galleries/default/crops", {"params": {"camera": "c"}}, "query", "camera", None),
        ("GET", "/galleries/default/crops", {"params": {"limt": "1"}}, "query", "limt", "limit"),
        ("DELETE", "/galleries/x", {"params": {"snapshot": "1"}}, "query", "snapshot", "snapshots"),
        ("GET", "/jobs", {"params": {"galery": "x"}}, "query", "galery", "gallery"),
        (
            "POST",
            "/galleries/default/imports",
            {"json": {"folder": ".", "patern": "x"}},
            "body",
            "patern",
            "pattern",
        ),
        (
            "POST",
            "/galleries/default/imports",
            {"content": b"x", "params": {"enconding": "x"}},
            "query",
            "enconding",
            "encoding",
        ),
    ],
)
def test_the_field_that_was_meant_is_suggested(service, method, path, sent, where, field, meant):
    body = rejection(service.http.request(method, path, **sent))
    (error,) = body["errors"]
    assert (error["where"], error["field"]) == (where, field)
    assert body["detail"] == error["detail"]
    expected = f"Unknown field `{field}`; did you mean `{meant or 'cameras'}`?"
    assert body["detail"] == expected


def test_a_field_inside_a_list_is_compared_with_the_fields_of_its_entry(service):
    crops = json.dumps([{"crop_id": "a", "camra": "c1"}])
    answer = service.http.post("/galleries/default/crops", **FILES, data={"crops": crops})
    body = rejection(answer)
    assert body["errors"][0]["field"] == "crops.0.camra"
    assert body["detail"] == "Unknown field `camra`; did you mean `camera`?"


def test_nothing_is_suggested_where_nothing_is_close(service):
    body = rejection(service.http.post("/search", **FILES, data={"zebra": "1"}))
    assert body["detail"] == "Unknown field `zebra`"
    body = rejection(service.http.post("/galleries", json={"name": "x", "zebra": 1}))
    assert body["detail"].startswith("Unknown field `zebra`; allowed: `name`, `model`,")


def test_several_unknown_fields_and_another_fault_are_all_listed(service):
    body = rejection(service.http.post("/search", **FILES, data={"topk": "1", "rerank_top": "0"}))
    assert {error["field"] for error in body["errors"]} == {"topk", "rerank_top"}
    assert "Unknown field `topk`; did you mean `top_k`?" in body["detail"]
    assert "rerank_top: Input should be greater than or equal to 1" in body["detail"]


@pytest.mark.parametrize("name", ["x" * 5000, "a\nb\x1b[31m", "`rm`", "ü\u202e"])
def test_the_name_in_the_message_is_bounded_and_printable(service, name):
    answer = service.http.post("/galleries", json={"name": "x", name: 1})
    detail = rejection(answer)["detail"]
    assert len(detail) < 300
    assert detail.isprintable()
    assert detail.partition("; ")[0].count("`") == 2
    answer = service.http.get("/galleries", params={name: "1"})
    assert rejection(answer)["detail"].isprintable()


def routes(methods: set[str], scope_is_open: bool) -> list[tuple[str, str]]:
    return [
        (method, path)
        for (method, path), rule in RULES.items()
        if method in methods and (rule.scope == "open") == scope_is_open
    ]


@pytest.mark.parametrize(("method", "path"), routes({"GET", "POST", "PATCH", "DELETE"}, False))
def test_every_route_that_may_need_a_key_rejects_an_unknown_parameter(service, method, path):
    address = path.format(gallery="default", crop_id="x", job_id="x", key_id="x", sha256="x",
                          snapshot_id="x", watch_id="x", event_id="x")  # fmt: skip
    answer = service.http.request(method, address, params={"unheard_of": "1"})
    detail = rejection(answer)["detail"]
    assert detail.startswith("Unknown field `unheard_of`")
    if "crop_id" in path:
        assert "write a '?' in a crop id as %3F" in detail


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/whoami", "/docs", "/"])
def test_open_routes_ignore_what_probes_and_browsers_add(service, path):
    assert service.http.get(path, params={"cache_buster": "1"}).status_code == 200
