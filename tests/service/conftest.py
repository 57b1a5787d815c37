"""Real services on real sockets, without weights."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from waiting import PATIENCE, ended, wait_until

from service.http.app import create_app
from service.http.server import bind, server_config, url_of
from service.settings import Settings
from service.testing import FakeEmbedder, solid
from service.wiring import Parts

Image = tuple[str, bytes]

RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For addresses without TLS: to read the certificates takes longer than most requests."""
MORNING = 1_795_249_800.0  # 2026-11-21 08:30 UTC


def shade(colour: tuple[int, int, int], step: int) -> bytes:
    """A crop that resembles others of its colour and differs from every other step."""
    red, green, blue = colour
    return solid((red, green, min(blue + 4 * step, 255)), kind="PNG")


class Service:
    """A running service, and helpers to call it."""

    def __init__(self, url: str, parts: Parts) -> None:
        self.url = url
        self.parts = parts
        self.http = httpx.Client(base_url=url, timeout=PATIENCE, verify=PLAIN)

    def search(self, *images: Image, **fields: Any) -> httpx.Response:
        files = [("images", image) for image in images]
        return self.http.post("/search", files=files, data=fields)

    def put(self, gallery: str, crop_id: str, data: bytes, **fields: Any) -> httpx.Response:
        files = {"image": ("crop.png", data)}
        return self.http.put(f"/galleries/{gallery}/crops/{crop_id}", files=files, data=fields)

    def add(self, gallery: str, entries: list[dict[str, Any]], *data: bytes) -> httpx.Response:
        files = [("images", (f"{index}.png", one)) for index, one in enumerate(data)]
        form = {"crops": json.dumps(entries)}
        return self.http.post(f"/galleries/{gallery}/crops", files=files, data=form)

    def create(self, gallery: str) -> str:
        assert self.http.post("/galleries", json={"name": gallery}).status_code == 201
        return gallery

    def crop_ids(self, gallery: str, **query: Any) -> list[str]:
        page = self.http.get(f"/galleries/{gallery}/crops", params={"limit": 1000, **query}).json()
        return [crop["crop_id"] for crop in page["crops"]]

    def ended(self, job: httpx.Response | str) -> dict[str, Any]:
        """The job that a request began, or whose path this is, once it has ended."""
        return ended(self.http, job)


@contextmanager
def running(
    data: Path,
    embedder: FakeEmbedder | None = None,
    clock: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> Iterator[Service]:
    """Run a service in a thread while the block runs."""
    # On a busy machine an image may wait longer than the default allows.
    chosen = Settings(data=data, device="cpu", **{"max_queue_seconds": PATIENCE} | settings)
    app = create_app(chosen, embedder=embedder or FakeEmbedder(), clock=clock)
    with bind("127.0.0.1", 0) as listener:
        server = uvicorn.Server(server_config(app, chosen))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        service = Service(url_of(listener), app.state.parts)
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started, "the service did not start"
            yield service
        finally:
            service.http.close()
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def launch() -> Callable[..., Any]:
    """Start services on any folder; use as a context manager."""
    return running


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    """Start services for one test; use as a context manager."""

    def start_one(embedder: FakeEmbedder | None = None, **settings: Any) -> Any:
        return running(tmp_path / "data", embedder, **settings)

    return start_one


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service per test file, so that files may use the same names of galleries."""
    with running(tmp_path_factory.mktemp("data")) as service:
        yield service


@pytest.fixture(scope="module")
def people(service: Service) -> str:
    """A gallery with three identities on three cameras, a minute apart, and two unknown crops."""
    service.create("people")
    entries, images = [], []
    for identity, colour in {"red": RED, "green": GREEN, "blue": BLUE}.items():
        for step, camera in enumerate(("c1", "c2", "c3")):
            entries.append(
                {
                    "crop_id": f"{identity}/{camera}.png",
                    "identity": identity,
                    "camera": camera,
                    "timestamp": MORNING + 60.0 * step,
                }
            )
            images.append(shade(colour, step))
    for step, name in enumerate(("nobody", "somebody")):
        entries.append({"crop_id": name})
        images.append(solid((120 + step, 120, 120), kind="PNG"))
    assert service.add("people", entries, *images).status_code == 200
    return "people"
