"""The files around the code do what they promise: Makefile, Dockerfile, compose files, workflow.

No test here needs a Docker engine; tests/end_to_end/test_docker.py runs what is checked here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from service.settings import Settings, unknown_variables

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COMPOSE = ("docker-compose.yml",)
COMPOSE_GPU = ("docker-compose.yml", "docker/compose.gpu.yml")


def text(name: str) -> str:
    """One file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def tool(name: str) -> str:
    """A program of the extra `dev`; skips the test and names the program if it is missing."""
    found = shutil.which(name, path=BIN) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; it comes with the extra `dev`")
    return found


def run(
    *command: str, cwd: Path = ROOT, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program; the test judges its exit status."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@cache
def configuration(*files: str, **variables: str) -> dict[str, Any]:
    """The files as compose merges and fills them in."""
    flags = [flag for file in files for flag in ("--file", file)]
    answer = run(tool("docker-compose"), *flags, "config", "--format", "json", variables=variables)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def composed(*files: str, **variables: str) -> dict[str, Any]:
    """The only service of the files."""
    (service,) = configuration(*files, **variables)["services"].values()
    return dict(service)


def networks(*files: str, **variables: str) -> dict[str, Any]:
    """The networks of the files."""
    return dict(configuration(*files, **variables)["networks"])


# ---- Makefile, workflow, .ci/run ----------------------------------------------------------------


def targets() -> set[str]:
    """The targets that the Makefile declares phony."""
    (names,) = re.findall(r"^\.PHONY:(.*)$", text("Makefile"), re.MULTILINE)
    return set(names.split())


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run make, independent of a make that may run these tests."""
    return run(tool("make"), *arguments, cwd=cwd, variables={"MAKEFLAGS": "", "MAKELEVEL": "0"})


def test_make_alone_lists_every_target() -> None:
    answer = make()
    assert answer.returncode == 0, answer.stderr
    listed = set(re.findall(r"^  make (\S+) +\S", answer.stdout, re.MULTILINE))
    assert listed == targets()
    assert {"demo", "test", "check", "serve", "train-smoke", "bench", "docker-test"} <= listed


@pytest.mark.parametrize("target", ["demo", "test", "serve", "train-smoke", "bench"])
def test_every_command_make_runs_exists(target: str) -> None:
    """Modules after ``python -m`` and files after ``--config`` exist."""
    recipe = make("--dry-run", target, "ONCE=1").stdout
    for module in re.findall(r"-m (service|training)\b", recipe):
        assert (ROOT / module / "__main__.py").is_file()
    for config in re.findall(r"--config (\S+)", recipe):
        assert (ROOT / config).is_file(), config
    assert ".venv/bin/" in recipe


@pytest.fixture
def bare_checkout(tmp_path: Path) -> Path:
    """A checkout in which nothing has been set up yet."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    return tmp_path


def python_that(folder: Path, body: str) -> str:
    """A shell script in place of an interpreter, with a defect."""
    program = folder / "crippled-python"
    program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_make_names_the_python_it_needs(bare_checkout: Path) -> None:
    old = python_that(bare_checkout, "exit 1")
    answer = make("demo", f"PYTHON={old}", cwd=bare_checkout)
    assert answer.returncode != 0
    assert "older than Python 3.11" in answer.stderr
    assert not (bare_checkout / ".venv").exists()


def test_make_says_what_to_install_if_venv_is_missing(bare_checkout: Path) -> None:
    without_venv = python_that(
        bare_checkout, f'case "$*" in *ensurepip*) exit 1;; *) exec {sys.executable} "$@";; esac'
    )
    answer = make("demo", f"PYTHON={without_venv}", cwd=bare_checkout)
    assert answer.returncode != 0
    assert "apt install python3-venv" in answer.stderr


def test_continuous_integration_runs_the_demo_and_the_whole_suite_and_nothing_else() -> None:
    commands = re.findall(r"^ +- run: (.+)$", text(".github/workflows/ci.yml"), re.MULTILINE)
    assert commands == ["make demo ONCE=1", 'sudo env "PATH=$PATH" .ci/run']
    assert {"demo", "test"} <= targets()


def test_the_workflow_runs_every_python_that_the_lock_files_serve() -> None:
    (versions,) = re.findall(
        r"^ +python: (\[.+\])$", text(".github/workflows/ci.yml"), re.MULTILINE
    )
    assert json.loads(versions) == ["3.11", "3.12", "3.13"]
    assert "cache-dependency-path: docker/requirements-*.txt" in text(".github/workflows/ci.yml")


def test_ci_run_is_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = [line for line in text(".ci/run").splitlines() if not line.startswith("#")]
    assert lines[:2] == ["set -eu", 'cd "$(dirname "$0")/.."']
    assert lines[2].startswith("export CI=true")  # a skipped test fails there
    assert lines[-1] == "exec make test"
    assert not any(
        "pytest" in line or "make " in line for line in lines[:-1] if "install" not in line
    )


def test_actions_are_named_by_commit() -> None:
    """A tag can be moved to other code, a commit cannot; the comment names the release."""
    used = re.findall(r"\buses: (.+)$", text(".github/workflows/ci.yml"), re.MULTILINE)
    assert used
    wrong = [name for name in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} +# v[\d.]+", name)]
    assert not wrong, wrong


# ---- Dockerfile ---------------------------------------------------------------------------------


def stages() -> dict[str, str]:
    """Each stage of the Dockerfile by name, in order."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", text("Dockerfile"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_dockerfile_is_clean() -> None:
    answer = run(tool("hadolint"), "Dockerfile")
    assert answer.returncode == 0, answer.stdout


def test_the_default_image_is_the_service_on_cpu() -> None:
    assert list(stages())[-1] == "service"
    assert composed(*COMPOSE)["build"]["target"] == "service"


def test_only_the_training_image_holds_training() -> None:
    copying = {name for name, stage in stages().items() if "COPY training/" in stage}
    assert copying == {"environment-training"}


def test_no_image_runs_as_root() -> None:
    for name in ("runtime", "training"):
        assert re.findall(r"^USER (.+)$", stages()[name], re.MULTILINE) == ["10001:10001"]


def test_the_build_context_holds_only_what_the_dockerfile_copies() -> None:
    rules = [line for line in text(".dockerignore").splitlines() if line[:1] not in {"#", ""}]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text("Dockerfile"), re.MULTILINE)
    assert {name.rstrip("/") for names in copied for name in names.split()} == allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_the_base_image_is_named_by_digest() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.+)$", text("Dockerfile"), re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    sources = re.findall(r"^FROM (\S+) AS \S+$", text("Dockerfile"), re.MULTILINE)
    assert set(sources) <= {"${PYTHON_IMAGE}", *stages()}
    assert sources.count("${PYTHON_IMAGE}") == 1


# ---- compose ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", COMPOSE_GPU)
def test_compose_file_is_clean(file: str) -> None:
    """The overlay alone lacks most settings, so only its severe findings count."""
    answer = run(tool("compose-lint"), file)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("files", [COMPOSE, COMPOSE_GPU])
def test_container_is_confined(files: tuple[str, ...]) -> None:
    service = composed(*files)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "10001:10001"
    assert service["restart"] == "unless-stopped"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("files", [COMPOSE, COMPOSE_GPU])
@pytest.mark.parametrize("memory", [{}, {"HHCL_MEMORY": "3g"}])
def test_memory_reaches_no_disk(files: tuple[str, ...], memory: dict[str, str]) -> None:
    """Memory holds pictures, embeddings and keys: no core dumps, no swap."""
    service = composed(*files, **memory)
    assert service["ulimits"] == {"core": {}}  # compose leaves zeros out of its JSON
    assert service["memswap_limit"] == service["deploy"]["resources"]["limits"]["memory"]


@pytest.mark.parametrize("files", [COMPOSE, COMPOSE_GPU])
def test_nothing_leads_out_of_the_container(files: tuple[str, ...]) -> None:
    """The gateway is the network's last address, which no container can get."""
    assert composed(*files)["networks"] == {"front": None}
    assert composed(*files)["dns"] == ["127.0.0.1"]
    network = networks(*files)["front"]
    assert network["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    (pool,) = network["ipam"]["config"]
    *_, last = ip_network(pool["subnet"]).hosts()
    assert pool["aux_addresses"] == {"DefaultGatewayIPv4": str(last)}
    assert pool["gateway"] != str(last)


def test_the_network_can_be_changed() -> None:
    (pool,) = networks(*COMPOSE, HHCL_NETWORK="10.1.2")["front"]["ipam"]["config"]
    assert pool["subnet"] == "10.1.2.0/29"
    assert pool["aux_addresses"] == {"DefaultGatewayIPv4": "10.1.2.6"}


def test_the_base_image_can_be_changed() -> None:
    assert composed(*COMPOSE, PYTHON_IMAGE="mine")["build"]["args"] == {"PYTHON_IMAGE": "mine"}
    assert not composed(*COMPOSE)["build"].get("args")  # then the digest in the Dockerfile applies


def test_port_is_published_to_this_machine_alone() -> None:
    (port,) = composed(*COMPOSE, REID_PORT="9000")["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "9000", 8000)


def test_only_a_port_on_this_machine_works_without_a_key() -> None:
    service = composed(*COMPOSE)
    assert service["environment"]["REID_ALLOW_ANONYMOUS"] == "true"
    assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.1"]
    assert "ALLOW_ANONYMOUS" not in stages()["runtime"]  # the person who runs the image decides


def test_only_the_data_folder_outlives_the_container() -> None:
    (volume,) = composed(*COMPOSE)["volumes"]
    assert (volume["type"], volume["target"]) == ("volume", "/data")
    assert "REID_DATA=/data" in stages()["runtime"]


def test_running_requests_can_finish_before_docker_kills_the_service() -> None:
    grace = composed(*COMPOSE)["stop_grace_period"]
    seconds = int(re.fullmatch(r"(\d+)s", grace)[1])  # type: ignore[index]  # None fails the test
    assert seconds > Settings.model_fields["drain_seconds"].default


def test_the_gpu_overlay_reserves_a_gpu_and_requires_it() -> None:
    service = composed(*COMPOSE_GPU)
    assert service["build"]["target"] == "service-gpu"
    assert service["image"] != composed(*COMPOSE)["image"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert service["environment"]["REID_DEVICE"] == "cuda"


def test_every_variable_of_the_container_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    image = dict(re.findall(r"\b(REID_[A-Z_]+)=(\S+)", stages()["runtime"]))
    given = {**image, **composed(*COMPOSE_GPU)["environment"]}
    assert unknown_variables(given) == []
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert Settings().device == "cuda"


# ---- documents ----------------------------------------------------------------------------------


def test_the_readme_of_docker_describes_every_file() -> None:
    described = set(re.findall(r"^- `([^`]+)`: \S", text("docker/README.md"), re.MULTILINE))
    there = {path.name for path in (ROOT / "docker").iterdir() if path.is_file()}
    assert described == there - {"README.md"}


def documented(field: FieldInfo) -> str:
    """A setting's default, as the document words it."""
    if field.default_factory:
        return "one per available processor"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return "none" if str(field.default) in {"", "None"} else str(field.default)


def test_operations_lists_every_setting_with_its_default() -> None:
    row = re.compile(r"^\| `(REID_\w+)` \| `?([^`|]+?)`? \|", re.MULTILINE)
    fields = Settings.model_fields.items()
    defaults = {f"REID_{name.upper()}": documented(field) for name, field in fields}
    assert dict(row.findall(text("docs/operations.md"))) == defaults


def test_operations_names_every_variable_of_compose() -> None:
    named = {match for file in COMPOSE_GPU for match in re.findall(r"\$\{(\w+)", text(file))}
    assert not [name for name in named if f"`{name}`" not in text("docs/operations.md")]
