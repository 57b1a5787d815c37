"""What the repository contains, and what it must never contain."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
import tomllib
from collections import defaultdict
from importlib.metadata import version as metadata_version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
# In parts, so that this file does not contain what it forbids.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("npmjs", "org"),
        ("anaconda", "org"),
        ("proxy", "golang", "org"),
    )
]
MACHINE = re.compile(r"(?<![\w.}$-])/(work|root|home/\w+|tmp/brief)(?![\w.-])(?!/\.cache/pip\b)")


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every file that is committed or could be committed."""
    # In a container, the checkout may belong to another user than the one who runs the tests.
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git checkout, so the repository's files are unknown")
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str:
    """The text of a file, or an empty string if it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_no_file_names_a_path_on_someones_machine(files):
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files
        if path != Path(__file__)
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if MACHINE.search(line)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("line", ["cd /work", "see /root/x", "`/work/main`", "a=/home/me/b"])
def test_a_machine_path_is_noticed(line):
    assert MACHINE.search(line)


@pytest.mark.parametrize(
    "line", [".github/workflows/ci.yml", "target=/root/.cache/pip", "data/work", "/workers"]
)
def test_similar_paths_are_allowed(line):
    assert not MACHINE.search(line)


def test_no_file_names_a_package_registry(files):
    wrong = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in files
        for host in REGISTRIES
        if host in text_of(path)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_crop_of_a_real_person_is_in_the_repository(files):
    if not DATA.is_dir():
        pytest.skip("../shared: the folder with real crops, to compare with, is missing")
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in files:
        by_size[path.stat().st_size].append(path)
    there = [path for path in DATA.rglob("*") if path.is_file() and path.stat().st_size in by_size]
    real = {digest(path): path for path in there}
    ours = [path for path in files if path.stat().st_size]
    copied = [
        f"{path.relative_to(ROOT)} is {real[key]}" for path in ours if (key := digest(path)) in real
    ]
    assert not copied, "\n".join(copied)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", text)
    assert "END OF TERMS AND CONDITIONS" in text
    assert project()["license"] == "Apache-2.0"


def test_version_changelog_and_citation_agree():
    version = project()["version"]
    assert sections()[0] == version, "the newest section of CHANGELOG.md is another release"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (\S+)$", citation, re.MULTILINE) == [version]
    dates = re.findall(r"^date-released: \"?([\d-]+)", citation, re.MULTILINE)
    assert dates in ([], [released(version)]), "CITATION.cff has another date"


def test_releases_follow_each_other_in_the_changelog():
    versions = [tuple(map(int, name.split("."))) for name in sections()]
    assert versions == sorted(versions, reverse=True)
    assert len(set(versions)) == len(versions)
    dates = [released(name) for name in sections()]
    assert dates == sorted(dates, reverse=True)


def test_the_installed_package_has_this_version():
    assert metadata_version("hhcl-reid") == project()["version"], (
        "delete hhcl_reid.egg-info, which older builds left here, and run `make check`"
    )


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def sections() -> list[str]:
    """The versions of the changelog, newest first; each has a date, and only "Unreleased" none."""
    found = re.findall(r"^## (.+)$", changelog(), re.MULTILINE)
    named = found[1:] if found[0] == "Unreleased" else found
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", title) for title in named), named
    return [title.partition(" ")[0] for title in named]


def released(version: str) -> str:
    """The date of a release."""
    (date,) = re.findall(rf"^## {re.escape(version)} \((.+)\)$", changelog(), re.MULTILINE)
    return str(date)


def project() -> dict[str, str]:
    table: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


@pytest.mark.parametrize("document", ["benchmarks/README.md", "docs/benchmarks.md"])
def test_every_benchmark_is_described(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    assert scripts == set(re.findall(r"\b(\w+\.py)\b", text)), f"{document} is out of step"


def test_no_function_exceeds_50_lines(files):
    found = [
        f"{path.relative_to(ROOT)}: {node.name} has {length} lines"
        for path in files
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > 50
    ]
    assert not found
