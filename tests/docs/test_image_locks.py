"""Every environment is installed from a lock file with hashes, and every image lists what it holds.

No test here needs a Docker engine; tests/end_to_end/test_docker.py builds and reads an image.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
ALIASES = {"cpu": "server-cpu", "gpu": "server-gpu"}
BUILDING_BLOCKS = {"server", "train"}
"""Extras that other extras include; nobody installs them alone."""

# The extras or the dependency group that each lock file is compiled from.
LOCKS: dict[str, tuple[str, ...]] = {
    "client": (),
    "server-cpu": ("server-cpu", "mqtt"),
    "server-gpu": ("server-gpu", "mqtt"),
    "training": ("training",),
    "people": ("people",),
    "timm": ("timm",),
    "infomap": ("infomap",),
    "milvus": ("milvus",),
    "mqtt": ("mqtt",),
    "parquet": ("parquet",),
    "video": ("video",),
    "dev": ("dev", "server-cpu", "training"),
}
GROUPS = {"make": "make", "build": "image"}
IMAGES = ("server-cpu", "server-gpu", "training")

PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)(?: ; (.+?))? \\$")


def text(name: str) -> str:
    """One file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def pyproject() -> dict[str, Any]:
    return tomllib.loads(text("pyproject.toml"))


@dataclass(frozen=True)
class Pin:
    """One line of a lock file: a package in one version, for some machines or for all."""

    name: str
    version: str
    marker: str


def pins(lock: str) -> list[Pin]:
    """All pins of a lock file; every line has to be a pin, a hash of the pin, or a comment."""
    found: list[Pin] = []
    hashed = True
    for line in text(f"docker/requirements-{lock}.txt").splitlines():
        if match := PIN.match(line):
            assert hashed, f"{line}: the pin before has no hash"
            found.append(Pin(canonicalize_name(match[1]), match[2], match[3] or ""))
            hashed = False
        elif re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line):
            hashed = True
        else:
            assert line.startswith("#"), line  # no index, no link, no unpinned name
    assert hashed
    return found


def linux(python: str) -> dict[str, str]:
    """The environment of a marker on Linux on x86-64."""
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }


def installed(lock: str, python: str) -> dict[str, str]:
    """The versions that pip installs from a lock file on Linux; each package has one pin there."""
    environment = linux(python)
    chosen = [
        pin for pin in pins(lock) if not pin.marker or Marker(pin.marker).evaluate(environment)
    ]
    names = [pin.name for pin in chosen]
    assert len(names) == len(set(names)), f"{lock} pins a package twice for Python {python}"
    return {pin.name: pin.version for pin in chosen}


def required(lock: str) -> list[Requirement]:
    """What pyproject.toml requires where this lock file is used."""
    document = pyproject()
    if group := GROUPS.get(lock):
        return list(_of_group(document["dependency-groups"], group))
    extras = document["project"]["optional-dependencies"]
    direct = [Requirement(line) for line in document["project"]["dependencies"]]
    return [*direct, *(one for extra in LOCKS[lock] for one in _of_extra(extras, extra))]


def _of_group(groups: dict[str, Any], name: str) -> list[Requirement]:
    found: list[Requirement] = []
    for entry in groups[name]:
        if isinstance(entry, dict):
            found += _of_group(groups, entry["include-group"])
        else:
            found.append(Requirement(entry))
    return found


def _of_extra(extras: dict[str, list[str]], name: str) -> list[Requirement]:
    found: list[Requirement] = []
    for line in extras[name]:
        one = Requirement(line)
        if one.name == "hhcl-reid":
            found += [inner for extra in sorted(one.extras) for inner in _of_extra(extras, extra)]
        else:
            found.append(one)
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", [*LOCKS, *GROUPS])
def test_every_required_package_is_pinned_with_its_hash(lock: str, python: str) -> None:
    """`make lock` keeps the pins in step with pyproject.toml; a missing or outdated pin fails."""
    there, environment = installed(lock, python), linux(python)
    for requirement in required(lock):
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        pinned = there.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement} has no pin: run `make lock`"
        assert pinned in requirement.specifier, f"{requirement}: pinned {pinned}: run `make lock`"


def test_every_extra_has_a_lock_file() -> None:
    extras = set(pyproject()["project"]["optional-dependencies"])
    assert extras - set(ALIASES) - BUILDING_BLOCKS == set(LOCKS) - {"client"}
    files = {path.stem for path in (ROOT / "docker").glob("requirements-*.txt")}
    assert files == {f"requirements-{lock}" for lock in (*LOCKS, *GROUPS)}


def test_extras_of_the_first_release_are_aliases() -> None:
    extras = pyproject()["project"]["optional-dependencies"]
    assert {"cpu", "gpu", "train", "infomap", "milvus", "parquet", "dev"} <= set(extras)
    for alias, extra in ALIASES.items():
        assert extras[alias] == [f"hhcl-reid[{extra}]"]


@pytest.mark.parametrize("python", PYTHONS)
def test_what_is_shipped_has_the_versions_that_are_tested(python: str) -> None:
    """The GPU image shares no CUDA library with PyTorch, so it follows the CPU image alone."""
    tested = installed("dev", python)
    for lock in set(LOCKS) - {"server-gpu"}:
        assert installed(lock, python).items() <= tested.items(), lock
    cpu, gpu = installed("server-cpu", python), installed("server-gpu", python)
    assert all(cpu[name] == gpu[name] for name in cpu.keys() & gpu.keys())


def test_the_client_installs_neither_server_nor_arrays() -> None:
    heavy = {"numpy", "scipy", "pillow", "fastapi", "uvicorn", "starlette", "onnxruntime", "torch"}
    assert not heavy & {pin.name for pin in pins("client")}


def test_the_installed_uvicorn_is_one_that_our_protocol_was_tested_with() -> None:
    """service/http/connections extends uvicorn's internals, which any release may change."""
    (uvicorn,) = [one for one in required("server-cpu") if one.name == "uvicorn"]
    assert {spec.operator for spec in uvicorn.specifier} == {">=", "<"}, "uvicorn has no bounds"
    assert version("uvicorn") in uvicorn.specifier, (
        f"uvicorn {version('uvicorn')} is installed, tested are {uvicorn.specifier}: "
        "run tests/service/http and tests/service/hostile, then raise the bound (ADR 0020)"
    )


def installs(script: str) -> list[str]:
    """The options of every `pip install`, `wheel` or `download` in a Dockerfile or shell script."""
    joined = script.replace("\\\n", " ")
    return re.findall(r"pip (?:--python \S+ )?(?:install|wheel|download)\b([^\n&]*)", joined)


def test_images_install_nothing_without_a_hash() -> None:
    build = text("Dockerfile") + text("docker/install.sh")
    assert len(installs(build)) == len(IMAGES) + 3
    for options in installs(build):
        assert "--require-hashes" in options or "--no-index" in options, options
    used = set(re.findall(r"--requirement docker/requirements-([\w-]+)\.txt", build))
    assert used == {*IMAGES, "build"}


def test_make_installs_nothing_without_a_hash() -> None:
    """`make demo`, `make test` and continuous integration install from the lock files."""
    makefile = text("Makefile")
    assert "\nLOCKED = --require-hashes --requirement $(LOCKS)\n" in makefile
    installs = re.findall(r"(?:\$\(PIP\)|\$\(UV\)) (.+?)(?: \|\||$)", makefile, re.MULTILINE)
    assert installs == [
        "$(LOCKED)make.txt",
        "$(LOCKED)$(1).txt",
        "$(LOCKED)$(1).txt",
        "--no-deps --no-build-isolation --editable .",
    ]
    assert re.findall(r"\$\(call INSTALL,([\w-]+)\)", makefile) == ["server-cpu", "dev"]


def test_every_environment_lists_what_it_holds() -> None:
    stages = re.split(r"^FROM ", text("Dockerfile"), flags=re.MULTILINE)
    environments = [stage for stage in stages if stage.startswith("builder AS environment-")]
    assert len(environments) == len(IMAGES)
    assert all("RUN sh docker/install.sh\n" in stage for stage in environments)
    assert "cyclonedx-py environment" in text("docker/install.sh")
    assert "/opt/venv/sbom.cdx.json" in text("docker/install.sh")
