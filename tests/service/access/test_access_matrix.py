"""Every route requested with every kind of key over HTTP: access follows the table.

``pytest -s tests/service/access/test_access_matrix.py`` prints the matrix.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from waiting import PATIENCE

from service.access.caller import SCOPES, Scope
from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.access.rules import RULES, Rule
from service.http.route_table import require_rules
from service.testing import solid

ROOT = Path(__file__).parents[3]
CROP = solid((200, 20, 20))
MINE, OTHER = "mine", "other"
Row = tuple[str, str]


@dataclass(frozen=True)
class Column:
    """A kind of caller; one without a scope is always rejected."""

    name: str
    scope: Scope | None = None
    bound_to: str | None = None


KEYLESS = [Column(name) for name in ("no key", "wrong", "expired", "revoked")]
COLUMNS = KEYLESS + [
    Column(scope if gallery is None else f"{scope}@{gallery}", scope, gallery)
    for gallery in (None, MINE, OTHER)
    for scope in SCOPES[1:]
]


@dataclass(frozen=True)
class Ask:
    """A request to a route, and its status if it is allowed; None for any status but a refusal."""

    status: int | None = None
    content: dict[str, Any] = field(default_factory=dict)


FORM = {"files": [("images", ("a.jpg", CROP))]}
ASKS: dict[Row, Ask] = {
    ("GET", "/"): Ask(200),
    ("GET", "/web"): Ask(404),
    ("GET", "/docs"): Ask(200),
    ("GET", "/docs/assets"): Ask(404),
    ("GET", "/openapi.json"): Ask(200),
    ("GET", "/livez"): Ask(200),
    ("GET", "/readyz"): Ask(200),
    ("GET", "/metrics"): Ask(200),
    ("GET", "/whoami"): Ask(200),
    ("POST", "/search"): Ask(200, FORM | {"data": {"gallery": MINE}}),
    ("POST", "/galleries/{gallery}/seen"): Ask(200, {"json": {"crop_ids": ["a/b"]}}),
    ("POST", "/embed"): Ask(200, FORM),
    ("POST", "/detect"): Ask(200, FORM),
    ("GET", "/info"): Ask(200),
    ("GET", "/models"): Ask(200),
    ("GET", "/galleries"): Ask(200),
    ("POST", "/galleries"): Ask(409, {"json": {"name": MINE}}),
    ("GET", "/galleries/{gallery}"): Ask(200),
    ("PATCH", "/galleries/{gallery}"): Ask(200, {"json": {"store_crops": True}}),
    ("GET", "/galleries/{gallery}/crops"): Ask(200),
    ("POST", "/galleries/{gallery}/crops"): Ask(
        200, FORM | {"data": {"crops": '[{"crop_id": "x"}]'}}
    ),
    ("POST", "/galleries/{gallery}/frames"): Ask(200, FORM),
    ("POST", "/galleries/{gallery}/crops/delete"): Ask(200, {"json": {"crop_ids": ["absent"]}}),
    ("GET", "/galleries/{gallery}/crops/{crop_id}"): Ask(200),
    ("PUT", "/galleries/{gallery}/crops/{crop_id}"): Ask(200, {"files": {"image": CROP}}),
    ("DELETE", "/galleries/{gallery}/crops/{crop_id}"): Ask(200),
    ("GET", "/galleries/{gallery}/pictures/{crop_id}"): Ask(200),
    ("GET", "/galleries/{gallery}/watches"): Ask(200),
    ("POST", "/galleries/{gallery}/watches"): Ask(201, {"json": {"watch_for": "unknown"}}),
    ("GET", "/galleries/{gallery}/watches/{watch_id}"): Ask(404),
    ("DELETE", "/galleries/{gallery}/watches/{watch_id}"): Ask(404),
    ("GET", "/galleries/{gallery}/false-alerts"): Ask(200),
    ("GET", "/galleries/{gallery}/events"): Ask(200),
    ("GET", "/galleries/{gallery}/events/stream"): Ask(422, {"params": {"cameras": ""}}),
    ("POST", "/galleries/{gallery}/events/{event_id}/deliver"): Ask(404),
    ("GET", "/jobs"): Ask(200),
    ("GET", "/jobs/{job_id}"): Ask(200),
    ("GET", "/jobs/{job_id}/errors"): Ask(200),
    ("DELETE", "/jobs/{job_id}/errors"): Ask(200),
    ("GET", "/keys"): Ask(200),
    ("POST", "/keys"): Ask(422),
    ("DELETE", "/keys/{key_id}"): Ask(404),
    ("GET", "/audit"): Ask(200),
}
# These routes show callers only their own galleries; the other routes that check it refuse.
LISTINGS = {("GET", path) for path in ("/metrics", "/info", "/galleries", "/jobs")}


def expected(row: Row, rule: Rule, column: Column) -> int | None:
    """The expected status by the table; None for any status but a refusal."""
    if column.scope is None:
        wrong = column.name != "no key"  # a key that is sent must be valid, on every route
        if rule.scope != "open" or wrong:
            return 401
    else:
        if SCOPES.index(column.scope) < SCOPES.index(rule.scope):
            return 403
        if rule.gallery == "all" and column.bound_to is not None:
            return 403
        named = rule.gallery == "path" or (rule.gallery == "route" and row not in LISTINGS)
        if named and column.bound_to == OTHER:
            return 404 if "{job_id}" in row[1] else 403  # as for an unknown job
    return ASKS.get(row, Ask()).status


MOUNTS = {("GET", "/web"), ("GET", "/docs/assets")}
# These destroy what the next request needs.
DESTROYING = {
    ("DELETE", "/galleries/{gallery}"),
    ("DELETE", "/galleries/{gallery}/crops/{crop_id}"),
}


class Place:
    """A service with galleries, a crop, a job, and a key of every kind."""

    def __init__(self, service: Any, data: Path) -> None:
        self.service = service
        self.store = KeyStore(data / FILE)
        self.keys = {column.name: self._key(column) for column in COLUMNS}
        service.http.headers["Authorization"] = f"Bearer {self.keys['admin']}"
        service.http.post("/galleries", json={"name": OTHER})
        self.restore()
        self._rows = count(1)

    def restore(self) -> None:
        """Restore what a row destroyed."""
        self.service.http.post("/galleries", json={"name": MINE, "store_crops": True})
        assert self.service.put(MINE, "a/b", CROP).is_success
        self.job = self.service.parts.board.submit("cluster", MINE, {}).job_id

    def _key(self, column: Column) -> str | None:
        if column.name == "no key":
            return None
        wanted = NewKey(
            label=column.name,
            scope=column.scope or "admin",
            galleries=None if column.bound_to is None else [column.bound_to],
            requests_per_minute=1_000_000,
        )
        if column.name == "expired":  # created before it expired
            wanted = wanted.model_copy(update={"expires": time.time() - 1.0})
        key, text = self.store.create(wanted)
        if column.name == "revoked":
            self.store.revoke(key.key_id)
        return text[:-1] + "~" if column.name == "wrong" else text

    def ask_all(self, row: Row) -> list[int]:
        """The status that each column receives."""
        # Wrong keys are counted per address, so each row uses an address of its own.
        transport = httpx.HTTPTransport(local_address=f"127.0.1.{next(self._rows)}")
        with httpx.Client(
            base_url=self.service.url, transport=transport, timeout=PATIENCE
        ) as client:
            ask = partial(self._ask, client, row)
            if row in DESTROYING:
                return list(map(ask, COLUMNS))
            with ThreadPoolExecutor(len(COLUMNS)) as threads:
                return list(threads.map(ask, COLUMNS))

    def _ask(self, client: httpx.Client, row: Row, column: Column) -> int:
        if row in DESTROYING and column.scope is not None:
            self.restore()
        method, template = row
        names = {"gallery": MINE, "crop_id": "a/b", "job_id": self.job}
        absent = dict.fromkeys(
            ("snapshot_id", "key_id", "sha256", "watch_id", "event_id"), "absent"
        )
        key = self.keys[column.name]
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        content = ASKS.get(row, Ask()).content
        path = template.format_map(names | absent) + ("/absent" if row in MOUNTS else "")
        return client.request(method, path, headers=headers, **content).status_code


@pytest.fixture(scope="module")
def matrix(launch, tmp_path_factory) -> Iterator[dict[Row, list[int]]]:
    """All statuses, by row and column."""
    data = tmp_path_factory.mktemp("data")
    with launch(data) as service:
        place = Place(service, data)
        with closing(place.store):
            served = served_by(service)
            yield {row: place.ask_all(row) for row in RULES if row in served}


def test_every_route_answers_every_key_as_the_table_says(matrix):
    print("\n" + table(matrix))
    wrong = [
        f"{' '.join(row)} asked by {column.name}: {status}, expected {promised or 'no refusal'}"
        for row, statuses in matrix.items()
        for column, status in zip(COLUMNS, statuses, strict=True)
        if not fits(status, promised := expected(row, RULES[row], column))
    ]
    assert not wrong, "\n".join(wrong)


def fits(status: int, promised: int | None) -> bool:
    """Whether a status is as expected; None allows any but a refusal or a failure."""
    return status == promised if promised else status < 500 and status not in {401, 403, 429}


def table(matrix: dict[Row, list[int]]) -> str:
    """The matrix as text."""
    routes = [" ".join(row) for row in matrix]
    width = max(map(len, routes))
    lines = [f"{'route':{width}}  scope   " + "  ".join(f"{c.name:>12}" for c in COLUMNS)]
    for route, (row, statuses) in zip(routes, matrix.items(), strict=True):
        cells = "  ".join(f"{status:>12}" for status in statuses)
        lines.append(f"{route:{width}}  {RULES[row].scope:6}  {cells}")
    return "\n".join(lines)


def served_by(service: Any) -> set[Row]:
    """The routes of a service, including the page and documents that OpenAPI omits."""
    paths = service.http.get("/openapi.json").json()["paths"]
    hidden = {("GET", path) for path in ("/", "/web", "/docs", "/docs/assets", "/openapi.json")}
    return hidden | {(method.upper(), path) for path, item in paths.items() for method in item}


def test_every_row_of_the_table_has_a_route(service):
    assert served_by(service) == set(RULES)


def test_unknown_routes_and_methods_reveal_nothing(start, tmp_path):
    with start() as service:
        service.http.post("/keys", json={"label": "a", "scope": "admin"})
        for method, path, status in [
            ("GET", "/nothing", 404),
            ("POST", "/livez", 405),
            ("HEAD", "/galleries", 401),  # as GET
            ("HEAD", "/search", 405),
            ("PUT", "/galleries", 405),
            ("OPTIONS", "/galleries", 405),
            ("OPTIONS", "/galleries/default/crops/a", 405),
            ("GET", "/galleries/default/nothing", 404),
        ]:
            answer = service.http.request(method, path)
            assert answer.status_code == status, (method, path)
            assert "default" not in answer.text.replace(path, "")


def test_a_route_without_a_row_keeps_the_app_from_starting():
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    router = APIRouter(prefix="/galleries")
    router.add_api_route("/{gallery}", lambda: None, methods=["GET"])
    app.include_router(router)
    require_rules(app.routes)
    app.add_api_route("/new/{crop_id:path}", lambda: None, methods=["PUT"])
    with pytest.raises(RuntimeError, match=r"PUT /new/\{crop_id\} has no row"):
        require_rules(app.routes)


def test_the_documented_table_is_the_one_in_force():
    document = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([A-Z]+) (\S+)` \| (.*) \|$", document, re.MULTILINE)
    assert [((method, path), cells.split(" | ")) for method, path, cells in documented] == [
        (row, written(rule)) for row, rule in RULES.items()
    ]


def written(rule: Rule) -> list[str]:
    """A row of the documented table, after the route."""
    bound = {"path": "its own", "route": "its own", "all": "no", "none": "yes"}[rule.gallery]
    everybody = rule.scope == "open" and rule.gallery == "none"
    return [rule.scope, "" if everybody else bound, "" if rule.audit == "none" else rule.audit]
