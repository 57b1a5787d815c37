"""Headers for browsers, and which origins' pages may use the service."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from waiting import PATIENCE

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.testing import solid

CROP = solid((200, 20, 20))
FORM: dict[str, Any] = {"files": {"images": ("a.jpg", CROP)}}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/galleries", 200),
        ("GET", "/galleries/nowhere", 404),
        ("POST", "/galleries", 422),
        ("GET", "/nothing", 404),
        ("POST", "/livez", 405),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/docs/assets/swagger-ui.css", 200),
        ("GET", "/", 200),
    ],
)
def test_every_answer_carries_the_headers(service, method, path, status):
    answer = service.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    if path != "/":
        assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_rejections_carry_them_too(start, tmp_path):
    with start() as service:
        make_key(tmp_path / "data")
        answer = service.http.get("/galleries")
    assert answer.status_code == 401
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_runs_no_inline_script(service):
    answer = service.http.get("/")
    policy = directives(answer)
    assert policy["default-src"] == {"'self'"}
    assert policy["img-src"] >= {"'self'", "blob:"}
    for name in ("base-uri", "object-src", "frame-ancestors"):
        assert policy[name] == {"'none'"}
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", answer.text)


def test_the_documentation_runs_its_own_script_and_no_other(service):
    answer = service.http.get("/docs")
    scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert directives(answer)["script-src"] == {"'self'", f"'sha256-{digest}'"}


def directives(answer: httpx.Response) -> dict[str, set[str]]:
    """Parse the policy of an answer."""
    parts = answer.headers["Content-Security-Policy"].split(";")
    return {name: set(values) for name, *values in (part.split() for part in parts)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium for which evil.example is this machine, as after DNS rebinding."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright, which drives the browser, is not installed"
    )
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"]
        try:
            browser = driver.chromium.launch(executable_path=chromium, args=flags)
        except playwright.Error as error:
            pytest.skip(f"no Chromium starts: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.mark.slow
def test_the_documentation_works_in_a_browser(service, browser):
    complaints: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{service.url}/docs")
    page.get_by_text("/whoami").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.get_by_text('"anonymous"').first.wait_for()
    page.close()
    assert complaints == []


@contextmanager
def page_of_elsewhere() -> Iterator[str]:
    """A web server that is none of ours."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>kittens</title>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


# A form of a picture needs no preflight: without a look at Origin the service would take it.
ATTACK = """async ([url, picture]) => {
    const form = new FormData();
    const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
    form.append("images", new Blob([bytes]), "a.jpg");
    form.append("crops", JSON.stringify([{crop_id: "planted"}]));
    try {
        return (await fetch(url, {method: "POST", mode: "no-cors", body: form})).status;
    } catch {
        return "blocked";
    }
}"""


def test_a_page_of_elsewhere_plants_no_crop(service, browser):
    picture = base64.b64encode(CROP).decode()
    target = f"{service.url}/galleries/default/crops"
    with page_of_elsewhere() as url:
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(url)
        assert page.evaluate(ATTACK, [target, picture]) == "blocked"
        refused = 'method="POST",route="/galleries/{gallery}/crops",status="403"'
        assert refused in service.http.get("/metrics").text  # it had arrived
        assert "planted" not in service.crop_ids("default")
        page.goto(f"{service.url}/docs", wait_until="commit")  # the same script on its own origin
        assert page.evaluate(ATTACK, [target, picture]) == 200
        assert "planted" in service.crop_ids("default")
        page.close()
    service.http.delete("/galleries/default/crops/planted")


def test_a_name_that_was_made_to_resolve_here_is_not_answered(service, browser):
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    port = service.url.rpartition(":")[2]
    assert page.goto(f"http://localhost:{port}/").status == 200
    assert page.goto(f"http://evil.example:{port}/").status == 403
    page.close()


def make_key(data: Path) -> dict[str, str]:
    """The header with a new key."""
    with closing(KeyStore(data / FILE)) as store:
        _, text = store.create(NewKey(label="a", scope="admin"))
    return {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1:1", "http://localhost", "null", "x", "", "http://["],
)
def test_pages_of_other_origins_can_neither_search_nor_change(service, origin):
    headers = {"Origin": origin}
    for method, path in [
        ("POST", "/search"),
        ("POST", "/embed"),
        ("POST", "/detect"),
        ("POST", "/galleries"),
        ("PUT", "/galleries/default/crops/a"),
        ("POST", "/galleries/default/frames"),
        ("PATCH", "/galleries/default"),
        ("DELETE", "/galleries/default"),
        ("POST", "/galleries/default/crops/delete"),
        ("POST", "/keys"),
    ]:
        answer = service.http.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path
    read = service.http.get("/galleries", headers=headers)
    assert read.status_code == 200
    assert "Access-Control-Allow-Origin" not in read.headers  # so the page cannot read it


def test_the_services_own_page_may_search(service):
    assert service.http.post("/search", headers={"Origin": service.url}, **FORM).status_code == 200
    behind_a_proxy = {"Origin": "https://localhost:8443", "Host": "localhost:8443"}
    assert service.http.post("/search", headers=behind_a_proxy, **FORM).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("reid.localhost:80", 200),
        ("127.0.0.1", 200),
        ("127.8.7.6:99", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.7", 403),
        ("service:8000", 403),
        ("[::1", 400),
        ("a@localhost", 400),
    ],
)
def test_without_keys_only_names_of_this_machine_are_answered(service, host, status):
    assert service.http.get("/galleries", headers={"Host": host}).status_code == status
    assert service.http.get("/", headers={"Host": host}).status_code == status


def test_a_service_that_an_operator_opens_answers_to_local_names_only(start):
    opened = {"allow_anonymous": True, "cors_origins": ["https://reid.example"]}
    with start(**opened) as service:
        for host, status in {
            "10.0.0.7:8000": 200,
            "[fe80::1]": 200,
            "service:8000": 200,
            "reid.example": 200,
            "evil.example": 403,
        }.items():
            assert service.http.get("/galleries", headers={"Host": host}).status_code == status


def test_with_keys_neither_host_nor_origin_matter(start, tmp_path):
    with start() as service:
        headers = make_key(tmp_path / "data")
        headers |= {"Origin": "https://evil.example", "Host": "reid.example"}
        assert service.http.post("/search", headers=headers, **FORM).status_code == 200


def test_cors_is_closed_unless_a_setting_opens_it(start):
    asked = {
        "Origin": "https://reid.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    with start() as service:
        assert service.http.options("/search", headers=asked).status_code == 405
    with start(cors_origins=["https://reid.example"]) as service:
        allowed = service.http.options("/search", headers=asked)
        assert allowed.status_code == 200
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://reid.example"
        assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
        origin = {"Origin": "https://reid.example"}
        found = service.http.post("/search", headers=origin, **FORM)
        assert found.status_code == 200
        assert found.headers["Access-Control-Allow-Origin"] == "https://reid.example"
        evil = asked | {"Origin": "https://evil.example"}
        refused = service.http.options("/search", headers=evil)
        assert refused.status_code == 400
        assert "Access-Control-Allow-Origin" not in refused.headers
        missing = service.http.get("/galleries/nowhere", headers=origin)
        assert missing.headers["Access-Control-Allow-Origin"] == "https://reid.example"
