"""``/docs`` behind a proxy that strips a path prefix: "Try it out" asks below the prefix."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import uvicorn
from waiting import PATIENCE, wait_until

from service.http.app import create_app
from service.http.server import bind, server_config, url_of
from service.settings import Settings
from service.testing import FakeEmbedder

PREFIX = "/people"
LEFT_OUT = {"host", "connection", "content-length", "transfer-encoding"}


class Proxy(BaseHTTPRequestHandler):
    """Passes on what is asked below the prefix, without the prefix; answers 404 to all else."""

    target: str
    asked: list[str]

    def do_GET(self) -> None:
        """Answer one request."""
        self.asked.append(self.path)
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        headers = {name: text for name, text in self.headers.items() if name.lower() != "host"}
        answer = httpx.get(
            self.target + self.path.removeprefix(PREFIX), headers=headers, timeout=PATIENCE
        )
        self.send_response(answer.status_code)
        for name, text in answer.headers.items():
            if name.lower() not in LEFT_OUT | {"content-encoding"}:
                self.send_header(name, text)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_args: Any) -> None:
        """Write no log."""


@contextmanager
def behind_proxy(data: Path) -> Iterator[tuple[str, list[str]]]:
    """A service behind the proxy: the proxy's address with the prefix, and what it was asked."""
    settings = Settings(data=data, device="cpu")
    app = create_app(settings, embedder=FakeEmbedder())
    with bind("127.0.0.1", 0) as listener:
        server = uvicorn.Server(server_config(app, settings))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started, "the service did not start"
        handler = type("Handler", (Proxy,), {"target": url_of(listener), "asked": []})
        proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=proxy.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}{PREFIX}", handler.asked
        finally:
            proxy.shutdown()
            proxy.server_close()
            server.should_exit = True
            thread.join()


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address below the prefix, and the paths that the proxy was asked."""
    with behind_proxy(tmp_path / "data") as found:
        yield found


def test_the_server_of_the_document_is_below_the_prefix(proxied):
    url, _ = proxied
    document_url = f"{url}/openapi.json"
    document = httpx.get(document_url, timeout=PATIENCE).json()
    (server,) = document["servers"]
    base = urljoin(document_url, server["url"]).rstrip("/")  # as OpenAPI resolves it
    assert base == url
    for path, operations in document["paths"].items():
        if "get" in operations and "{" not in path:
            assert httpx.get(base + path, timeout=PATIENCE).status_code == 200, path


def test_no_header_of_a_client_changes_the_document(proxied):
    url, _ = proxied
    forged = {"X-Forwarded-Prefix": "//elsewhere.example", "X-Forwarded-Host": "elsewhere.example"}
    plain, asked = (
        httpx.get(f"{url}/openapi.json", timeout=PATIENCE),
        httpx.get(f"{url}/openapi.json", headers=forged, timeout=PATIENCE),
    )
    assert plain.content == asked.content


def test_try_it_out_asks_below_the_prefix(chromium, proxied):
    url, asked = proxied
    page = chromium.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(f"{url}/docs")
    operation = page.locator("#operations-operations-livez_livez_get")
    operation.locator("button.opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    operation.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
    assert f"{url}/livez" in operation.locator(".request-url").inner_text()
    assert asked[-1] == f"{PREFIX}/livez"
    assert not [path for path in asked if not path.startswith(PREFIX) and path != "/favicon.ico"]
    page.close()
