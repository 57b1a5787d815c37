"""Everything that enters an image is pinned with its hash, and listed.

Nothing here needs a Docker engine; tests/end_to_end/test_docker.py builds and reads an image.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def text(name: str) -> str:
    """One file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


LOCKS = {"cpu": ["cpu"], "gpu": ["gpu"], "training": ["cpu", "train"], "build": []}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)( ; .+?)? \\$")


def wanted(lock: str) -> list[Requirement]:
    """What pyproject.toml asks for where this file of pins is used."""
    project = tomllib.loads(text("pyproject.toml"))
    if not LOCKS[lock]:
        return [Requirement(line) for line in project["dependency-groups"]["image"]]
    extras = [project["project"]["optional-dependencies"][extra] for extra in LOCKS[lock]]
    named = [*project["project"]["dependencies"], *(line for extra in extras for line in extra)]
    return [Requirement(line) for line in named]


def pins(lock: str) -> dict[str, str]:
    """The pinned versions by package; every line must be a pin, a hash of one, or a comment."""
    found: dict[str, str] = {}
    hashed = True
    for line in text(f"docker/requirements-{lock}.txt").splitlines():
        if pin := PIN.match(line):
            assert hashed, f"{line}: the one before has no hash"
            found[canonicalize_name(pin[1])] = pin[2]
            hashed = False
        elif re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line):
            hashed = True
        else:
            assert line.startswith("#"), line  # no index, no link, no unpinned name
    assert hashed
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_an_image_is_pinned_with_its_hash(lock: str) -> None:
    """`make lock` keeps the pins in step with pyproject.toml; a missing one fails here."""
    pinned = pins(lock)
    for requirement in wanted(lock):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} has no pin: run `make lock`"
        assert version in requirement.specifier, f"{requirement}: pinned {version}: run `make lock`"


def test_images_install_nothing_without_a_hash() -> None:
    build = text("Dockerfile") + text("docker/install.sh")
    joined = build.replace("\\\n", " ")
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel|download)\b([^\n&]*)", joined)
    assert len(installs) == len(LOCKS) + 2
    for options in installs:
        assert "--require-hashes" in options or "--no-index" in options, options
    used = set(re.findall(r"--requirement docker/requirements-(\w+)\.txt", joined))
    assert used == set(LOCKS)


def test_every_environment_lists_what_it_holds() -> None:
    stages = re.split(r"^FROM ", text("Dockerfile"), flags=re.MULTILINE)
    environments = [stage for stage in stages if stage.startswith("builder AS environment-")]
    assert len(environments) == len(LOCKS) - 1
    assert all("RUN sh docker/install.sh\n" in stage for stage in environments)
    assert "cyclonedx-py environment" in text("docker/install.sh")
    assert "/opt/venv/sbom.cdx.json" in text("docker/install.sh")
