"""The architecture page and the contributor's questions name what is there, and all of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("service", "training")
NO_PYTHON = {"service/http/web", "training/configs"}
"""Rooms that are no packages."""
PATH = re.compile(r"`((?:service|training|tests|docs|models|benchmarks|docker)/[\w./*-]*)`")


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def documents() -> list[str]:
    """The documents that name modules by path."""
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return sorted(page.relative_to(ROOT).as_posix() for page in pages)


def tree() -> list[str]:
    """The paths that the page's tree names, from its indentation."""
    block = re.search(
        r"^```text\n(service/ .*?)^```$", text_of("docs/architecture.md"), re.MULTILINE | re.DOTALL
    )
    assert block, "docs/architecture.md has no tree"
    paths: list[str] = []
    above: list[str] = []
    for line in block[1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name.rstrip("/")]
        paths.append("/".join(above))
    return paths


def rooms() -> set[str]:
    """Every package of both programs, and the rooms that are none."""
    packages = (path.parent for name in PROGRAMS for path in ROOT.glob(f"{name}/**/__init__.py"))
    return {path.relative_to(ROOT).as_posix() for path in packages} | NO_PYTHON


def test_the_tree_names_every_room_and_no_other():
    named = {path for path in tree() if not path.endswith(".py")}
    assert named == rooms()


def test_the_tree_names_every_room_once():
    assert len(tree()) == len(set(tree()))


@pytest.mark.parametrize("path", [path for path in tree() if path.endswith(".py")])
def test_a_module_in_the_tree_exists(path):
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_floors_are_those_of_the_linter(program):
    tables = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    contract = next(
        table
        for table in tables
        if table["type"] == "layers" and table["layers"][0].startswith(f"{program}.")
    )
    linted = [
        " · ".join(room.strip().removeprefix(f"{program}.") for room in floor.split("|"))
        for floor in contract["layers"]
        if floor != f"{program}.__main__"
    ]
    name = {"service": "The service's", "training": "Training's"}[program]
    block = re.search(
        rf"^{name} floors:\n\n```text\n(.*?)^```$",
        text_of("docs/architecture.md"),
        re.MULTILINE | re.DOTALL,
    )
    assert block
    assert block[1].splitlines() == linted


def exists(path: str) -> bool:
    """Whether a file has the path; ``*`` and a word in capitals stand for any text."""
    return (ROOT / path).exists() or any(ROOT.glob(re.sub(r"[A-Z]{3,}", "*", path)))


@pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_both_pages_answer_by_path(document):
    assert PATH.search(text_of(document))


@pytest.mark.parametrize("document", documents())
def test_every_path_exists(document):
    named = PATH.findall(text_of(document))
    missing = [path for path in named if not exists(path)]
    assert not missing, f"{document} names paths that do not exist: {missing}"


def test_every_function_of_the_walk_is_where_the_page_says():
    walked = re.findall(r"`(\w+)` in `([\w/]+\.py)`", text_of("docs/architecture.md"))
    assert len(walked) >= 5
    missing = [
        f"{name} in {path}"
        for name, path in walked
        if not re.search(rf"^(def|class) {name}\b", text_of(path), re.MULTILINE)
    ]
    assert not missing, missing


def test_newcomers_get_twenty_answers_by_path():
    section = text_of("CONTRIBUTING.md").partition("\n## Where is what")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+\?) \| (.+) \|$", section, re.MULTILINE)
    assert len(rows) >= 20
    without = [question for question, answer in rows if not PATH.search(answer)]
    assert not without, f"answered without a path: {without}"


def test_each_page_of_decisions_is_listed():
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", text_of("docs/adr/README.md")))
    assert listed == {path.name for path in (ROOT / "docs/adr").glob("[0-9]*.md")}


def test_the_page_has_a_line_per_contract_of_the_linter():
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    section = text_of("docs/architecture.md").partition("## Who may import whom")[2]
    rules = re.findall(r"^- ", section.partition("floors:")[0], re.MULTILINE)
    # One line covers both programs' floors, and one covers the two methods and HHCL's loop.
    assert len(rules) == len(contracts) - 3
