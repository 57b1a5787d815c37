"""Every text and every list of a request has a limit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

LONG = "x" * 60_000
MANY = [f"n{number}" for number in range(10_001)]

# REID_MAX_IMAGES limits their number, which the schema does not show.
_ENDS = frozenset({"maxLength", "enum", "const", "contentMediaType"})
BY_SETTING = {"images", "post /search crop_ids", "post /search query_tracks"}


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def endless(document: dict[str, Any], given: dict[str, Any], name: str) -> Iterator[str]:
    """The texts, lists and maps of a schema without a limit."""
    schema = resolved(document, given)
    for way in ("anyOf", "oneOf", "allOf"):
        for other in schema.get(way, ()):
            yield from endless(document, other, name)
    kind = schema.get("type")
    if kind == "string" and not _ENDS & schema.keys() and schema.get("format") != "binary":
        yield name
    if kind == "array":
        if "maxItems" not in schema:
            yield name
        yield from endless(document, schema.get("items", {}), f"{name} item")
    if kind == "object":
        yield from endless_of_object(document, schema, name)


def endless_of_object(document: dict[str, Any], schema: dict[str, Any], name: str) -> Iterator[str]:
    for key, value in schema.get("properties", {}).items():
        yield from endless(document, value, f"{name} {key}".strip())
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        if "maxProperties" not in schema:
            yield name
        yield from endless(document, values, f"{name} value")


def test_every_field_of_every_request_has_a_limit(service):
    document = service.http.get("/openapi.json").json()
    found = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query":  # the limit of a head also limits a path
                    found |= set(
                        endless(document, parameter["schema"], f"{where} {parameter['name']}")
                    )
            for body in operation.get("requestBody", {}).get("content", {}).values():
                found |= set(endless(document, body.get("schema", {}), where))
    assert {name for name in found if not {name, name.split()[-1]} & BY_SETTING} == set()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/galleries", {"name": LONG}),
        ("POST", "/galleries", {"name": "a", "model": LONG}),
        ("POST", "/galleries", {"name": "a", LONG: 1}),
        ("POST", "/galleries", {"name": "a", **dict.fromkeys(MANY, 1)}),
        ("POST", "/galleries/default/crops/delete", {"crop_ids": MANY, "dry_run": True}),
        ("POST", "/galleries/default/crops/delete", {"cameras": MANY, "dry_run": True}),
        ("POST", "/galleries/default/crops/delete", {"identities": MANY, "dry_run": True}),
        ("POST", "/galleries/default/crops/delete", {"zone": LONG, "since": "2026-01-01"}),
        ("POST", "/galleries/default/crops/delete", {"since": "2026-01-01" + " " * 100_000}),
        ("POST", "/galleries/default/cluster", {"cameras": MANY}),
        ("POST", "/galleries/default/identities/merge", {"identities": MANY, "into": "a"}),
        ("POST", "/galleries/default/identities/label", {"crop_ids": MANY, "identity": "a"}),
        ("POST", "/galleries/default/imports", {"folder": LONG}),
        ("POST", "/galleries/default/imports", {"folder": ".", "zone": LONG}),
        ("POST", "/keys", {"label": "a", "scope": "search", "galleries": [LONG]}),
        ("POST", "/keys", {"label": "a", "scope": "search", "expires": LONG}),
    ],
)
def test_endless_values_are_rejected_and_not_repeated(service, method, path, body):
    answer = service.http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text[:300]
    assert len(answer.content) < 10_000


def test_descriptions_of_too_many_images_are_rejected_at_once(service):
    entries = json.dumps([{}] * 200_000)
    files = [("images", ("a.png", b"x"))]
    path = "/galleries/default/crops"
    answer = service.http.post(path, files=files, data={"crops": entries})
    assert answer.status_code in {413, 422}
    assert len(answer.content) < 10_000
    answer = service.http.post(path, files=files, data={"crops": json.dumps([{}] * 1001)})
    assert answer.status_code == 422
    assert "at most 1000 items" in answer.json()["detail"]
