"""CITATION.cff is a valid citation file, and it and the badges state the project's own values."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# The keys that version 1.2.0 of the Citation File Format requires.
REQUIRED = {"cff-version", "message", "title", "authors"}
OPTIONAL = {"abstract", "type", "version", "license", "keywords", "references", "date-released"}
REFERENCE = {"type", "title", "authors", "year", "notes", "identifiers", "doi"}
PUBLISHED_IN = {"conference", "journal"}
TYPES = {"conference-paper", "article"}
BADGES = {
    "badge-licence.svg": "licence: Apache-2.0",
    "badge-python.svg": "Python: 3.11 or newer",
    "badge-types.svg": "types: mypy strict",
}


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_file_has_the_keys_of_its_format(citation):
    assert citation["cff-version"] == "1.2.0"
    assert citation.keys() >= REQUIRED
    assert citation.keys() <= REQUIRED | OPTIONAL
    assert citation["type"] == "software"
    assert all(author.keys() == {"name"} for author in citation["authors"])


def test_it_cites_the_version_and_licence_of_the_project(citation, pyproject):
    assert str(citation["version"]) == pyproject["project"]["version"]
    assert citation["license"] == pyproject["project"]["license"]


def test_it_cites_both_papers(citation):
    papers = citation["references"]
    assert [(paper["authors"][0]["family-names"], paper["year"]) for paper in papers] == [
        ("Hu", 2021),
        ("Pang", 2022),
    ]
    for paper in papers:
        assert paper["type"] in TYPES
        assert paper.keys() - REFERENCE <= PUBLISHED_IN
        assert all(author.keys() == {"family-names", "given-names"} for author in paper["authors"])
        assert all(one.keys() == {"type", "value", "description"} for one in paper["identifiers"])
        assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", paper["identifiers"][0]["value"])


def test_the_badges_are_true(pyproject):
    assert pyproject["project"]["license"] == "Apache-2.0"
    assert pyproject["project"]["requires-python"] == ">=3.11"
    assert pyproject["tool"]["mypy"]["strict"] is True
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"!\[(.+?)\]\(docs/images/(badge-\w+\.svg)\)", readme))
    assert {name: text.lower() for text, name in shown.items()} == {
        name: text.lower() for name, text in BADGES.items()
    }
    for name, text in BADGES.items():
        picture = (ROOT / "docs/images" / name).read_text(encoding="utf-8")
        assert f"<title>{text}</title>" in picture
        assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


def comparison() -> list[list[str]]:
    """The cells of the README's comparison with other projects, without its head."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Compared with")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (?!\||---)(.+) \|$", section, re.MULTILINE)
    return [line.split(" | ") for line in lines]


def test_every_cell_of_the_comparison_has_a_source_or_is_not_known():
    rows = comparison()
    assert len(rows) >= 10
    for name, *cells in rows:
        assert len(cells) == 7, name
        without = [cell for cell in cells if "[^" not in cell and cell != "not known"]
        assert not without, f"{name}: {without}"


def test_every_source_is_given_and_used():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    given = re.findall(r"^\[\^([\w-]+)\]: (.+)$", text, re.MULTILINE)
    used = {
        name for row in comparison() for cell in row for name in re.findall(r"\[\^(.+?)\]", cell)
    }
    assert {name for name, _ in given} == used
    assert len(given) == len(used)
    without = [name for name, source in given if "](" not in source and "metadata" not in source]
    assert not without, f"sources without an address: {without}"
