"""What operators see: probes, info, metrics, documentation, request ids, problems."""

from __future__ import annotations

import logging
import re
import shutil
from importlib.metadata import version
from itertools import count

import pytest

from service.access.rules import RULES
from service.testing import solid

CROP = solid((200, 20, 20))


def samples(service) -> dict[str, float]:
    lines = service.http.get("/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_the_probes_of_a_sound_service(service):
    assert service.http.get("/livez").json() == {"status": "ok"}
    assert service.http.get("/readyz").json() == {"status": "ok"}


def test_not_ready_while_the_disk_accepts_no_writes(start, tmp_path):
    seconds = count()  # the clock moves a second per look, so that no result is reused
    with start(clock=lambda: float(next(seconds))) as service:
        assert service.http.get("/readyz").status_code == 200
        shutil.rmtree(tmp_path / "data")
        answer = service.http.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert service.http.get("/livez").status_code == 200


def test_not_ready_while_draining(start):
    with start() as service:
        service.parts.lifecycle.phase = "draining"
        answer = service.http.get("/readyz")
        assert answer.status_code == 503
        assert "draining" in answer.json()["detail"]


def test_not_ready_when_the_network_fails(start):
    class Broken:
        broken = False

        def __call__(self, image):
            if self.broken:
                raise RuntimeError("the device fell off the bus")

    from service.testing import FakeEmbedder

    fault, seconds = Broken(), count()
    with start(FakeEmbedder(fault=fault), clock=lambda: float(next(seconds))) as service:
        assert service.http.get("/readyz").status_code == 200
        fault.broken = True
        assert service.http.get("/readyz").status_code == 503
        answer = service.search(("a", CROP))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "bus" not in answer.text


def test_info_says_what_is_running(service):
    info = service.http.get("/info").json()
    assert info["version"] == version("hhcl-reid")
    assert info["model"]["sha256"] == service.parts.manifest.sha256
    assert info["model"]["calibration"]["threshold"] == 0.5
    assert info["providers"] == {"network": "cpu", "search": "cpu"}
    assert info["limits"]["max_images"] == 64
    assert "default" in {gallery["name"] for gallery in info["galleries"]}


def test_metrics_count_what_happened(service):
    service.create("measured")
    before = samples(service)
    service.put("measured", "a/b", CROP)
    service.search(("a", CROP), ("b", b"bad"), gallery="measured")
    service.http.get("/no/such/path")
    after = samples(service)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    crop_route = 'route="/galleries/{gallery}/crops/{crop_id}"'
    assert grown(f'reid_requests_total{{method="PUT",{crop_route},status="201"}}') == 1
    assert grown('reid_requests_total{method="POST",route="/search",status="200"}') == 1
    assert grown('reid_requests_total{method="GET",route="unknown",status="404"}') == 1
    assert grown('reid_request_seconds_count{method="POST",route="/search"}') == 1
    assert grown('reid_stage_seconds_count{stage="decode"}') == 2
    assert grown('reid_stage_seconds_count{stage="query"}') == 1
    assert grown('reid_images_total{outcome="decoded"}') == 2
    assert grown('reid_images_total{outcome="failed"}') == 1
    assert grown("reid_batch_images_sum") == 2
    assert after["reid_queue_images"] == 0
    assert after['reid_provider{part="network",provider="cpu"}'] == 1
    assert after['reid_gallery_crops{gallery="measured"}'] == 1


def test_the_documentation_page_needs_no_network(service):
    page = service.http.get("/docs").text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(assets) == 3
    for asset in assets:
        assert not asset.startswith(("http", "//"))
        assert service.http.get(f"/{asset}").status_code == 200
    assert "url: 'openapi.json'" in page


def test_openapi_documents_every_route_and_its_errors(service):
    schema = service.http.get("/openapi.json").json()
    routes = {(method.upper(), path) for path, item in schema["paths"].items() for method in item}
    hidden = {"/", "/web", "/docs", "/docs/assets", "/openapi.json"}
    assert routes == {(method, path) for method, path in RULES if path not in hidden}
    for path, item in schema["paths"].items():
        for operation in item.values():
            assert operation["description"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    content = response["content"]["application/problem+json"]
                    assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
                    for example in content.get("examples", {}).values():
                        assert example["value"]["status"] == int(status)
    references = set(re.findall(r"#/components/schemas/(\w+)", str(schema)))
    assert references <= set(schema["components"]["schemas"])
    search = schema["paths"]["/search"]["post"]
    assert set(search["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert set(search["responses"]) == {
        *("200", "400", "401", "403", "404", "408", "409", "413", "422", "429"),
        *("501", "503", "507"),
    }


def test_a_request_id_is_kept_returned_and_logged(service, caplog):
    with caplog.at_level(logging.INFO, "service.requests"):
        answer = service.http.get("/info", headers={"X-Request-ID": "trace-7.a_b"})
    assert answer.headers["X-Request-ID"] == "trace-7.a_b"
    assert any("GET /info 200" in line and "trace-7.a_b" in line for line in caplog.messages)


def test_probes_are_logged_only_if_they_fail(service, caplog):
    with caplog.at_level(logging.INFO, "service.requests"):
        assert service.http.get("/livez").status_code == 200
        assert service.http.post("/livez").status_code == 405
    assert [line.split()[:3] for line in caplog.messages] == [["POST", "/livez", "405"]]


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "a\tb", "é"])
def test_a_missing_or_invalid_request_id_is_replaced(service, given):
    headers = {} if given is None else {"X-Request-ID": given.encode()}
    answer = service.http.get("/livez", headers=headers)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_a_path_cannot_forge_log_lines(service, caplog):
    with caplog.at_level(logging.INFO, "service.requests"):
        service.http.get("/x%0AGET%20/forged%20200")
    assert all("\n" not in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/search", 405, "method_not_allowed"),
        ("GET", "/docs/assets/nothing.js", 404, "not_found"),
        ("POST", "/search", 422, "invalid_input"),
        ("DELETE", "/galleries/nothing", 404, "not_found"),
    ],
)
def test_every_failure_is_a_problem(service, method, path, status, code):
    answer = service.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:hhcl-reid:problem:{code}"
    assert (problem["status"], problem["code"], problem["instance"]) == (status, code, path)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["X-Request-ID"]


def test_broken_json_and_broken_multipart_are_problems(service):
    broken = service.http.post(
        "/galleries", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert (broken.status_code, broken.json()["code"]) == (422, "invalid_input")
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = service.http.post(
            "/search", content=b"garbage", headers={"Content-Type": content_type}
        )
        assert 400 <= answer.status_code < 500
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_programming_error_gets_500_without_its_text(start, caplog):
    with start() as service:
        service.parts.store.close()
        service.parts.store._catalogue.served = (
            None  # must never happen, so it stands for any programming error
        )
        answer = service.search(("a", CROP))
        assert answer.status_code == 500
        assert answer.json()["code"] == "internal"
        assert "NoneType" not in answer.text
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
        assert "NoneType" in caplog.text
        service.parts.store._catalogue.served = {}
        assert 'route="/search",status="500"' in service.http.get("/metrics").text
