"""The service as a process on a real network: signals, kills, the demo."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE, is_up, wait_until

from service.testing import solid

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def reid(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "service", *map(str, arguments)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A service in a separate process."""

    def __init__(self, popen: subprocess.Popen[str], port: int, log: Path) -> None:
        self.popen = popen
        self.port = port
        self.log = log
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.popen.poll() is not None or is_up(self.http))
        assert self.popen.poll() is None, self.log.read_text()


Starter = Callable[[], Any]


@pytest.fixture
def serve(tiny_model: Path, tmp_path: Path) -> Starter:
    """Starts the service on the test's data folder."""

    @contextmanager
    def start() -> Iterator[Process]:
        port, log = free_port(), tmp_path / "log"
        flags = ("--port", port, "--model", tiny_model, "--data", tmp_path / "data")
        with log.open("a") as file:
            command = reid("serve", *flags, "--device", "cpu")
            popen = subprocess.Popen(command, stderr=file, env=ENVIRONMENT, text=True)
        process = Process(popen, port, log)
        try:
            process.wait_until_ready()
            yield process
        finally:
            process.http.close()
            popen.kill()
            popen.wait()

    return start


def multipart(image: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
    return head + image + b"\r\n--x--\r\n"


def listens(port: int) -> bool:
    """Whether a service answers on the port."""
    try:
        httpx.get(f"http://127.0.0.1:{port}/livez", timeout=PATIENCE)
    except httpx.TransportError:
        return False
    return True


def test_sigterm_lets_a_running_request_finish(serve):
    body = multipart(solid((200, 20, 20)))
    head = (
        f"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nConnection: close\r\n"
        "Expect: 100-continue\r\n\r\n"
    ).encode()
    with serve() as process:
        with socket.create_connection(("127.0.0.1", process.port), timeout=PATIENCE) as request:
            request.sendall(head)
            # The service sends this when it begins to read the body.
            assert request.recv(65536).startswith(b"HTTP/1.1 100 ")
            request.sendall(body[:100])
            process.popen.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(process.port))
            request.sendall(body[100:])
            answer = b"".join(iter(lambda: request.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["results"][0]["status"] == "unknown"
        assert process.popen.wait(timeout=PATIENCE) == 0
        assert "drained" in process.log.read_text()


def test_acknowledged_crops_survive_kill_9(serve):
    crops: list[str] = []
    with serve() as process:
        for start in range(0, 60, 10):
            entries = [{"crop_id": f"{start + n:03}", "camera": "c1"} for n in range(10)]
            files = [("images", ("a", solid((start, n, 0), kind="PNG"))) for n in range(10)]
            form = {"crops": json.dumps(entries)}
            answer = process.http.post("/galleries/default/crops", data=form, files=files)
            crops += [entry["crop_id"] for entry in answer.json()["results"]]
        process.popen.kill()
        process.popen.wait()
    with serve() as process:
        page = process.http.get("/galleries/default/crops", params={"limit": 1000}).json()
        assert [crop["crop_id"] for crop in page["crops"]] == crops
        image = ("q", solid((50, 3, 0), kind="PNG"))
        answer = process.http.post("/search", files={"images": image}, data={"top_k": 1}).json()
        assert answer["results"][0]["matches"][0]["score"] == pytest.approx(1, abs=1e-4)


def test_the_log_names_the_devices_and_two_services_cannot_share_a_folder(
    serve, tiny_model, tmp_path
):
    with serve() as process:
        log = process.log.read_text()
        assert re.search(r"model tiny \([0-9a-f]{12}\): network on cpu, search on cpu", log)
        assert f"listening on http://127.0.0.1:{process.port}" in log
        flags = ("--port", 0, "--model", tiny_model, "--data", tmp_path / "data")
        second = subprocess.run(
            reid("serve", *flags),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=ENVIRONMENT,
            check=False,
        )
    assert second.returncode == 1
    assert second.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in second.stderr


HELD = """
import logging, sys, time
from pathlib import Path
from service.http.app import create_app
from service.http.server import bind, server_config
from service.settings import Settings
from service.testing import FakeEmbedder
import uvicorn

data, port, go = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
seen = []

def wait(image):
    seen.append(1)
    while len(seen) > 200 and not go.exists():
        time.sleep(0.01)

logging.basicConfig(level=logging.INFO)
settings = Settings(data=data, device="cpu")
app = create_app(settings, embedder=FakeEmbedder(fault=wait))
with bind("127.0.0.1", port) as listener:
    uvicorn.Server(server_config(app, settings)).run([listener])
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Process, Path]]:
    """A service that embeds two hundred crops, and the rest when a file appears."""
    port, log, go = free_port(), tmp_path / "log", tmp_path / "go"
    command = [sys.executable, "-c", HELD, str(tmp_path / "data"), str(port), str(go)]
    with log.open("w") as file:
        popen = subprocess.Popen(command, stderr=file, env=ENVIRONMENT, text=True)
    process = Process(popen, port, log)
    try:
        process.wait_until_ready()
        yield process, go
    finally:
        go.touch()
        popen.terminate()
        popen.wait(PATIENCE)
        process.http.close()


def test_ctrl_c_interrupts_an_index_that_a_second_run_completes(held, tmp_path):
    process, go = held
    folder = tmp_path / "people"
    folder.mkdir()
    for number in range(400):
        image = solid((number % 256, number // 256, 9), kind="PNG")
        (folder / f"{number:04}_c1s1_{number:06}_00.png").write_bytes(image)
    command = reid("index", folder, "--url", f"http://127.0.0.1:{process.port}")

    def stored() -> int:
        return int(process.http.get("/galleries/default").json()["crops"])

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        wait_until(stored)
        first.send_signal(signal.SIGINT)
        wait_until(lambda: "/cancel 2" in process.log.read_text())
        go.touch()
        output, errors = first.communicate(timeout=PATIENCE)
    assert first.returncode == 130, errors
    assert b"Traceback" not in errors
    assert re.match(rb"\d+ new, ", output)
    kept = stored()
    assert 0 < kept < 400
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{400 - kept} new, 0 replaced, {kept} unchanged")
    assert stored() == 400


NEW_SESSION: dict[str, Any] = {
    "stdout": subprocess.PIPE,
    "env": ENVIRONMENT,
    "start_new_session": True,
}


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Three people on two cameras, in Market-1501's layout."""
    colours = [(200, 20, 20), (20, 200, 20), (20, 20, 200)]
    for part, camera in (("bounding_box_test", 1), ("bounding_box_test", 2), ("query", 1)):
        (tmp_path / "drawn" / part).mkdir(parents=True, exist_ok=True)
        for identity, colour in enumerate(colours, start=1):
            name = f"{identity:04}_c{camera}s1_000000_00.png"
            (tmp_path / "drawn" / part / name).write_bytes(solid(colour, kind="PNG"))
    return tmp_path / "drawn"


def test_the_demo_shows_a_search_and_ends(drawn, tiny_model):
    command = reid("demo", drawn, "--model", tiny_model, "--once")
    with subprocess.Popen(command, text=True, **NEW_SESSION, stderr=subprocess.PIPE) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "6 new" in output
    assert re.search(r"1 +0001_c2s1_000000_00.png +0001 +c2 +1\.000 .*right", output)
    assert "rank-1: 3 of 3 queries (100.0%)" in output
    assert "The page is at http://127.0.0.1:" in output
    require_ended(process)


def require_ended(process: subprocess.Popen[str]) -> None:
    """Check that no process of the program is left; its port may already belong to another."""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_its_service_too(drawn, tiny_model, sign):
    command = reid("demo", drawn, "--model", tiny_model)
    with (
        socket.socket() as taken,
        subprocess.Popen(command, text=True, **NEW_SESSION) as process,
    ):
        with suppress(OSError):
            taken.bind(("127.0.0.1", 8000))  # so that the demo must find another port
        url = ""
        for line in process.stdout:
            found = re.search(r"The page is at (\S+),", line)
            url = found[1] if found else url
            if line.startswith("Ctrl-C"):
                break
        assert httpx.get(f"{url}/livez", timeout=PATIENCE).status_code == 200
        process.send_signal(sign)
        assert process.wait(timeout=PATIENCE) == (0 if sign == signal.SIGINT else 143)
    require_ended(process)


def test_a_demo_with_a_broken_model_explains_and_ends(drawn, build_model):
    done = subprocess.run(
        reid("demo", drawn, "--model", build_model(ending="long"), "--once"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: the service ended with status 1")
