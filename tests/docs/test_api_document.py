"""docs/api.md describes the API of the code: routes, fields, errors, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import errors
from service.api.ops import Limits
from service.http.app import api
from service.settings import Settings

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^### `([A-Z]+ /\S*)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
FILTERS = re.compile(r"^## Filters\n(.*?)(?=^## )", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVERYWHERE = {"invalid_input", "unauthorized", "forbidden", "too_many_requests"}
OF_HTTP = {
    (400, "bad_request"),
    (405, "method_not_allowed"),
    (408, "request_timeout"),
    (431, "request_header_fields_too_large"),
    (500, "internal"),
}


@pytest.fixture(scope="module")
def text() -> str:
    """The document."""
    return (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The OpenAPI document."""
    return api()[1]


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation by its method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_has_its_section(text, schema):
    titles = [title for title, _ in SECTION.findall(text)]
    assert sorted(titles) == sorted(operations(schema))


def test_every_request_field_is_in_the_section_of_its_route(text, schema):
    """The section on filters counts too, if the route's section links to it."""
    sections, (filters,) = dict(SECTION.findall(text)), FILTERS.findall(text)
    shared = {route: filters if "(#filters)" in told else "" for route, told in sections.items()}
    missing = [
        f"{route}: {field}"
        for route, operation in operations(schema).items()
        for field in request_fields(schema, operation)
        if field not in words_of(sections[route] + shared[route])
    ]
    assert not missing, f"docs/api.md does not name {missing}"


def request_fields(schema: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    """Query parameters, and fields of the form or body."""
    yield from (p["name"] for p in operation.get("parameters", []) if p["in"] == "query")
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from properties(schema, content["schema"])


def properties(schema: dict[str, Any], node: dict[str, Any]) -> set[str]:
    """Names of the fields of a schema, at any depth."""
    if "$ref" in node:
        node = schema["components"]["schemas"][node["$ref"].rpartition("/")[2]]
    found = set(node.get("properties", {}))
    inner = [*node.get("properties", {}).values(), *node.get("anyOf", [])]
    inner += [node[key] for key in ("items", "contentSchema") if key in node]
    return found.union(*(properties(schema, part) for part in inner))


def words_of(section: str) -> set[str]:
    """Words set as code, in prose, tables or examples."""
    code = FENCED.findall(section) + re.findall(r"`([^`\n]+)`", FENCED.sub("", section))
    return {word for part in code for word in re.findall(r"\w+", part)}


def test_every_field_of_an_answer_is_shown(text, schema):
    model_card = properties(schema, {"$ref": "#/components/schemas/ModelRecord"})
    missing = {
        field
        for operation in operations(schema).values()
        for status, response in operation["responses"].items()
        if status.startswith("2")
        for content in response.get("content", {}).values()
        for field in properties(schema, content.get("schema", {}))
    }
    missing -= words_of(text) | model_card  # the model's own fields are shown in part
    assert not missing, f"docs/api.md shows no {missing}"


def test_every_section_names_the_errors_of_its_route(text, schema):
    for route, section in SECTION.findall(text):
        found = re.search(r"^Errors: (.+?)(?=^\n|\.$|\Z)", section, re.MULTILINE | re.DOTALL)
        named = set(re.findall(r"`(\w+)`", found[1] if found else ""))
        assert named == codes(operations(schema)[route]) - EVERYWHERE, route


def codes(operation: dict[str, Any]) -> set[str]:
    """The error codes an operation declares."""
    return {
        code
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
        for code in content.get("examples", {})
    }


def test_the_table_of_errors_is_that_of_the_code(text):
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| \S", text, re.MULTILINE)
    answered = {(kind.status, kind.code) for kind in tree(errors.ReidError)}
    answered.discard((errors.ArtifactError.status, errors.ArtifactError.code))  # at start-up only
    assert {(int(status), code) for status, code in rows} == answered | OF_HTTP


def tree(kind: type[errors.ReidError]) -> Iterator[type[errors.ReidError]]:
    """A class and all its subclasses in the service."""
    if kind.__module__ == errors.__name__:
        yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


def test_the_table_of_limits_is_that_of_the_settings(text):
    rows = re.findall(r"^\| `(max_\w+)` \| (\d+) \|", text, re.MULTILINE)
    defaults = {name: Settings.model_fields[name].default for name in Limits.model_fields}
    assert {name: int(value) for name, value in rows} == defaults
