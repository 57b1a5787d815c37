"""``HEAD`` answers like ``GET``, without the body, and needs the same key."""

from __future__ import annotations

import pytest

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.access.rules import RULES
from service.testing import solid

CROP = solid((200, 20, 20))
PATHS = {
    "{gallery}": "headed",
    "{crop_id}": "a/b.png",
    "{job_id}": "absent",
    "{snapshot_id}": "absent",
    "{watch_id}": "absent",
}
ROUTES = sorted(path for method, path in RULES if method == "GET")
FILES = ["/web/app.js", "/docs/assets/swagger-ui.css"]
VOLATILE = {"x-request-id", "date"}


def address(template: str) -> str:
    for name, value in PATHS.items():
        template = template.replace(name, value)
    return template


@pytest.fixture(scope="module")
def headed(service):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.http.event_stream.LIFETIME", 0.0)
        yield prepared(service)


def prepared(service):
    service.http.post("/galleries", json={"name": "headed", "store_crops": True})
    assert service.put("headed", "a/b.png", CROP).is_success
    return service


@pytest.mark.parametrize("template", [*ROUTES, *FILES, "/nothing", "/search"])
def test_status_and_headers_are_those_of_get(headed, template):
    path = address(template)
    got, asked = headed.http.get(path), headed.http.head(path)
    assert asked.status_code == got.status_code
    assert asked.content == b""
    # Counters and sizes change between requests.
    volatile = VOLATILE | ({"content-length"} if path in {"/metrics", "/audit", "/info"} else set())
    headers = [
        {name: value for name, value in answer.headers.items() if name not in volatile}
        for answer in (got, asked)
    ]
    assert headers[0] == headers[1]


def test_it_needs_the_key_that_get_needs(start, tmp_path):
    with start() as service:
        _, text = KeyStore(tmp_path / "data" / FILE).create(
            NewKey(label="guard", scope="search", galleries=["other"])
        )
        key = {"Authorization": f"Bearer {text}"}
        for path in ("/info", "/galleries/default", "/galleries/default/crops", "/keys", "/audit"):
            assert service.http.head(path).status_code == 401
            bound = service.http.get(path, headers=key).status_code
            assert service.http.head(path, headers=key).status_code == bound
        assert service.http.head("/readyz").status_code == 200


def test_it_is_counted_as_head_and_not_documented(service):
    service.http.head("/models")
    counted = service.http.get("/metrics").text
    assert 'reid_requests_total{method="HEAD",route="/models",status="200"}' in counted
    schema = service.http.get("/openapi.json").json()
    assert not any("head" in item for item in schema["paths"].values())


def test_other_methods_are_told_that_head_is_there(service):
    refused = service.http.post("/livez")
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "GET, HEAD"
