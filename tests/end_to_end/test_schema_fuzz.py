"""The service answers every request as its own OpenAPI document says.

schemathesis reads the document and sends valid and invalid requests. ``REID_SCHEMA_CASES`` sets the
cases per operation, by default 3; a hundred take some minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from waiting import PATIENCE, wait_until

from service.access.new_key import NewKey
from service.http.app import create_app
from service.http.server import bind, server_config, url_of
from service.settings import Settings
from service.testing import FakeEmbedder, solid

HERE = Path(__file__).parent
UNLIMITED = 1_000_000  # requests per minute


@contextmanager
def serving(data: Path) -> Iterator[tuple[str, str]]:
    """Run a service with an admin key; yields its address and the key."""
    settings = Settings(data=data, device="cpu", max_queue_seconds=60)
    app = create_app(settings, embedder=FakeEmbedder())
    wanted = NewKey(label="schemathesis", scope="admin", requests_per_minute=UNLIMITED)
    _, key = app.state.gate.keys.create(wanted)
    with bind("127.0.0.1", 0) as listener:
        server = uvicorn.Server(server_config(app, settings))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started, "the service did not start"
            yield url_of(listener), key
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    monkeypatch.setattr("service.http.event_stream.LIFETIME", 0.0)  # schemathesis reads to the end
    with serving(tmp_path / "data") as (url, key):
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE
        ) as http:
            created = http.post("/galleries", json={"name": "lobby", "store_crops": True})
            assert created.status_code == 201
            image = {"image": ("one.jpg", solid((200, 20, 20)))}
            assert http.put("/galleries/lobby/crops/one", files=image).status_code == 201
        yield url, key


def test_schemathesis_finds_nothing(service, tmp_path):
    url, key = service
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(HERE / "schemathesis.toml"), "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {key}"),
        *("--max-examples", os.environ.get("REID_SCHEMA_CASES", "3"), "--seed", "1"),
        *("--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
        *("--generation-database", "none", "--no-color", "--request-timeout", "20"),
        # JSON Schema cannot express every rule, such as that an image must decode, so the service
        # rejects some requests that the document allows. And schemathesis looks at one path
        # template at a time, although /crops/delete also matches the path of a crop.
        *("--exclude-checks", "positive_data_acceptance,allow_header_conformance"),
        # It would revoke the key that it uses. The routes of keys have separate tests.
        *("--exclude-path", "/keys/{key_id}"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "schema_hooks", "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    output = "\n".join(line[:300] for line in done.stdout.splitlines())  # some URLs are long
    assert done.returncode == 0, output[-20_000:] + done.stderr[-2_000:]
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated
    assert int(generated[1]) > 500
    after = httpx.get(
        f"{url}/galleries", headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE
    )
    assert after.status_code == 200
