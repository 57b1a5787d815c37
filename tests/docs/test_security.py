"""Every row in the table of attacks names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(?:\w+::)?(\w+)`")


def rows() -> list[list[str]]:
    """Return the cells of each attack in the table, without the head."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    table = text.partition("| what was tried | before | what holds it | test |\n")[2]
    lines = table.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names_in(path: str) -> set[str]:
    """Return the names of the tests that a file defines."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)} | {
        node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_every_attack_has_its_effect_its_defence_and_an_existing_test(row):
    assert len(row) == 4, row
    assert all(row), f"an empty cell: {row}"
    named = NAMED.findall(row[3])
    assert named, f"no test in the form `tests/FILE.py::NAME`: {row[3]}"
    missing = [f"{path}::{name}" for path, name in named if name not in names_in(path)]
    assert not missing, missing


def test_the_table_has_rows():
    assert len(rows()) >= 20


def test_the_policy_says_how_to_report():
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "private security advisory" in policy
    assert "## Supported versions" in policy
    assert "docs/security.md" in policy
