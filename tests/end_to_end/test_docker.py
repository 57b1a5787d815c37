"""A real `docker compose up`: a confined container that loses nothing when it is killed.

The tests need a Docker engine with compose, and the base image. Otherwise they are skipped, and
fail in continuous integration (``CI=true``).
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
ENGINE_SCRIPT = ROOT.parent / "shared" / "tools" / "docker-engine.sh"
STAND_IN = "python:3.11-slim-bookworm"
GALLERY = "drawn"
SECONDS_TO_RESTART = 300.0  # on a busy machine
GATEWAY = "{{(index .IPAM.Config 0).Gateway}}"

# One worker runs all of them; otherwise each worker would build and start its own deployment.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("docker"), pytest.mark.timeout(1200)]


def run(*command: str | Path, **variables: str) -> str:
    """Run a program that must succeed, and return its output."""
    answer = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert answer.returncode == 0, f"{command}\n{answer.stdout[-4000:]}\n{answer.stderr[-4000:]}"
    return answer.stdout


def succeeds(*command: str) -> bool:
    """Whether a program runs and exits with 0."""
    try:
        return (
            subprocess.run(command, capture_output=True, timeout=180, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="module")
def _engine() -> Iterator[None]:
    """An engine that answers: the machine's, or one that is started here and stopped afterwards."""
    found = succeeds("docker", "info")
    can_start = ENGINE_SCRIPT.is_file() and os.geteuid() == 0
    if can_start:
        _start_engine()
    elif not found:
        pytest.skip("no Docker engine answers, and ../shared has no script that starts one")
    try:
        _skip_unless_usable()
        yield
    finally:
        if can_start and not found:
            run("bash", ENGINE_SCRIPT, "down")


def _start_engine() -> None:
    try:
        run("bash", ENGINE_SCRIPT, "up")
    except (OSError, AssertionError) as error:
        pytest.skip(f"no Docker engine could be started: {error}")


def _skip_unless_usable() -> None:
    if not succeeds("docker", "compose", "version"):
        pytest.skip("Docker answers, but it has no compose plugin")
    if _base() is None:
        pytest.skip("the base image is neither here nor can it be pulled, and there is no stand-in")


@cache
def _base() -> str | None:
    """The base image: the Dockerfile's, or a local stand-in if no registry answers."""
    (own,) = re.findall(
        r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    if succeeds("docker", "image", "inspect", own) or succeeds("docker", "pull", "-q", own):
        return str(own)
    return STAND_IN if succeeds("docker", "image", "inspect", STAND_IN) else None


@dataclass(frozen=True)
class Deployment:
    """A compose project with a separate name, port and network."""

    project: str
    port: int
    network: str
    base: str

    @property
    def url(self) -> str:
        """The URL of the published service."""
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *arguments: str) -> str:
        """Run docker compose on this project."""
        command = ("docker", "compose", "-p", self.project, *arguments)
        return run(
            *command,
            REID_PORT=str(self.port),
            HHCL_NETWORK=self.network,
            PYTHON_IMAGE=self.base,
        )

    def up(self) -> None:
        """Start it and wait until its health check passes."""
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", "180")
        except AssertionError as error:
            pytest.fail(f"{error}\n{self.compose('logs', '--no-color')}")

    def inspect(self) -> dict[str, Any]:
        """The engine's record of the container."""
        container = self.compose("ps", "--all", "--quiet", "service").strip()
        (record,) = json.loads(run("docker", "inspect", container))
        return dict(record)

    def python(self, program: str, *arguments: str) -> str:
        """Run Python inside the container, as its user."""
        command = ("exec", "-T", "service", "python", "-c", program, *arguments)
        return self.compose(*command).strip()


@pytest.fixture(scope="module")
def deployment(_engine: None) -> Iterator[Deployment]:
    """The service, started by `docker compose up`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = _base()
    assert base is not None
    # One of 65,536 networks, so that a deployment beside this test hardly ever has the same.
    number = uuid.uuid4().int
    network = f"10.{number % 256}.{number // 256 % 256}"
    service = Deployment(f"hhcl-test-{uuid.uuid4().hex[:8]}", port, network, base)
    try:
        service.up()
        yield service
    finally:
        service.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")


def test_the_image_contains_the_service_and_no_training(deployment: Deployment) -> None:
    names = ["service", "onnxruntime", "faiss", "torch", "torchvision", "sklearn", "training"]
    found = deployment.python(
        f"from importlib.util import find_spec; print(*[n for n in {names} if find_spec(n)])"
    )
    assert found.split() == ["service", "onnxruntime", "faiss"]


def test_the_process_is_confined(deployment: Deployment) -> None:
    status = deployment.python("print(open('/proc/1/status').read())")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == ["10001"] * 4
    assert int(facts["CapEff"], 16) == 0
    assert int(facts["CapBnd"], 16) == 0
    assert facts["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    ("folder", "error"), [("/app", "EROFS"), ("/opt/venv", "EROFS"), ("/data", ""), ("/tmp", "")]
)
def test_only_data_and_temporary_files_can_be_written(
    deployment: Deployment, folder: str, error: str
) -> None:
    program = (
        "import errno, tempfile\n"
        f"try: tempfile.TemporaryFile(dir={folder!r}).close()\n"
        "except OSError as error: print(errno.errorcode[error.errno])"
    )
    assert deployment.python(program) == error


def test_the_port_is_open_to_this_machine_alone(deployment: Deployment) -> None:
    (binding,) = deployment.inspect()["NetworkSettings"]["Ports"]["8000/tcp"]
    assert (binding["HostIp"], binding["HostPort"]) == ("127.0.0.1", str(deployment.port))


KNOCK = """
import socket, sys
address = (sys.argv[1], int(sys.argv[2]))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"UDP", address)
try:
    socket.create_connection(address, timeout=60)
    print("TCP")
except OSError as error:
    print(type(error).__name__)
try:
    print(socket.getaddrinfo("out.example", 80))
except socket.gaierror as error:
    print(error.errno == socket.EAI_AGAIN)  # no resolver answered; not: the name does not exist
"""


def test_nothing_leaves_the_container(deployment: Deployment) -> None:
    """Try to reach a listening address of the host outside the container's network."""
    address = run("docker", "network", "inspect", "bridge", "--format", GATEWAY).strip()
    with (
        socket.create_server(("0.0.0.0", 0)) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box,
    ):
        port = listener.getsockname()[1]
        box.bind(("0.0.0.0", port))
        answer = deployment.python(KNOCK, address, str(port))
        for one in (listener, box):
            one.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        with pytest.raises(BlockingIOError):
            box.recv(10)
    assert answer.split() == ["OSError", "True"]


def test_memory_reaches_no_disk(deployment: Deployment) -> None:
    core = deployment.python("import resource; print(*resource.getrlimit(resource.RLIMIT_CORE))")
    assert core == "0 0"
    host = deployment.inspect()["HostConfig"]
    assert host["MemorySwap"] == host["Memory"] > 0


def test_the_image_lists_its_packages(deployment: Deployment) -> None:
    """The list contains every installed package with its version, and no other."""
    listed = deployment.python(
        "import json; bill = json.load(open('/opt/venv/sbom.cdx.json'))\n"
        "assert bill['bomFormat'] == 'CycloneDX'\n"
        "print(*sorted(f\"{part['name']}=={part['version']}\" for part in bill['components']))"
    )
    there = deployment.python(
        "from importlib.metadata import distributions as all\n"
        "print(*sorted(f'{d.name}=={d.version}' for d in all() if d.name != 'hhcl-reid'))"
    )
    assert listed.split() == there.split()
    assert any(name.startswith("onnxruntime==") for name in listed.split())


@pytest.fixture(scope="module")
def drawn_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn set in the layout of Market-1501."""
    folder = tmp_path_factory.mktemp("drawn") / "people"
    run(sys.executable, "-m", "training", "synthesize", folder, "--identities", "6")
    return folder


@dataclass(frozen=True)
class Memory:
    """What a caller sees of the gallery: its counts, and the crops that one search finds."""

    crops: int
    identities: int
    cameras: dict[str, int]
    found: dict[str, Any]


def remembered(deployment: Deployment, query: Path) -> Memory:
    """Fetch the counts and search for one image, through the published port."""
    with httpx.Client(base_url=deployment.url, timeout=60.0) as client:
        gallery = client.get(f"/galleries/{GALLERY}").raise_for_status().json()
        answer = client.post(
            "/search",
            data={"gallery": GALLERY, "min_score": "-1", "top_k": "20"},
            files={"images": (query.name, query.read_bytes())},
        )
        (result,) = answer.raise_for_status().json()["results"]
    found = {match["crop_id"]: pytest.approx(match["score"]) for match in result["matches"]}
    return Memory(gallery["crops"], gallery["identities"], gallery["cameras"], found)


def kill_main_process(deployment: Deployment) -> int:
    """`kill -9` from outside, as the kernel does when memory runs out.

    `docker kill` counts as a manual stop, after which the restart policy does nothing.
    """
    record = deployment.inspect()
    pid = record["State"]["Pid"]
    host = ("docker", "run", "--rm", "--pid=host", "--user=0", "--entrypoint=python")
    run(*host, record["Config"]["Image"], "-c", f"import os; os.kill({pid}, 9)")
    return int(record["RestartCount"])


def wait_until_restarted(deployment: Deployment, restarts: int) -> None:
    """Wait for one more restart and for a passing health check."""
    give_up = time.monotonic() + SECONDS_TO_RESTART
    while time.monotonic() < give_up:
        record = deployment.inspect()
        healthy = record["State"].get("Health", {}).get("Status") == "healthy"
        if record["RestartCount"] > restarts and healthy:
            return
        time.sleep(0.5)
    pytest.fail(f"not healthy after a crash: {record['State']}\n{deployment.compose('logs')}")


def test_nothing_is_lost(deployment: Deployment, drawn_people: Path) -> None:
    """Index through the published port; then crash, stop, remove and start again."""
    index = (sys.executable, "-m", "service", "index", drawn_people / "bounding_box_test")
    run(*index, "--gallery", GALLERY, "--url", deployment.url)
    query = min((drawn_people / "query").glob("*.*"))
    before = remembered(deployment, query)
    assert before.crops == sum(1 for _ in (drawn_people / "bounding_box_test").iterdir())
    assert len(before.found) == 20

    wait_until_restarted(deployment, kill_main_process(deployment))
    assert remembered(deployment, query) == before

    deployment.compose("stop")
    assert deployment.inspect()["State"]["ExitCode"] == 0, "SIGTERM did not end it cleanly"
    deployment.compose("down")
    deployment.up()
    assert remembered(deployment, query) == before
