"""Unknown people in a manifest do not change figures, however the manifest marks them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

CommandLine = Callable[..., tuple[int, str, str]]


def manifest(drawn: Path, folder: Path, name: str, unknown: str) -> Path:
    """The drawn people's query and gallery, two of three marked as unknown."""
    rows = []
    for split, where in (("query", "query"), ("gallery", "bounding_box_test")):
        for path in sorted((drawn / where).iterdir()):
            identity, camera = path.name.split("_")[:2]
            written = f'"{identity}"' if int(identity) % 3 == 0 else unknown
            rows.append((path, split, written, camera))
    file = folder / name
    if file.suffix == ".csv":
        lines = ["path,split,identity,camera"]
        lines += [f"{path},{split},{known},{camera}" for path, split, known, camera in rows]
    else:
        lines = [
            f'{{"path": "{path}", "split": "{split}", "identity": {known}, "camera": "{camera}"}}'
            for path, split, known, camera in rows
        ]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("people.jsonl", "NaN"),
        ("people.jsonl", '""'),
        ("people.jsonl", "-1"),
        ("people.jsonl", "-1.0"),
        ("people.csv", ""),
        ("people.csv", "nan"),
        ("people.csv", "-1"),
    ],
)
def test_the_spelling_of_unknown_does_not_change_evaluate(
    training: CommandLine, exported: Path, drawn: Path, tmp_path: Path, name: str, unknown: str
) -> None:
    (tmp_path / "null").mkdir()
    measured = []
    for file in (
        manifest(drawn, tmp_path / "null", "people.jsonl", "null"),
        manifest(drawn, tmp_path, name, unknown),
    ):
        words = ("--model", exported, "--data", file, "--format", "json")
        status, out, err = training("evaluate", *words)
        assert status == 0, err
        measured.append(json.loads(out)["results"])
    assert measured[0] == measured[1]


def test_inspect_does_not_count_unknown_people(
    training: CommandLine, drawn: Path, tmp_path: Path
) -> None:
    counts = []
    for name, unknown in (("a.jsonl", "null"), ("b.jsonl", "NaN"), ("c.jsonl", "-1.0")):
        file = manifest(drawn, tmp_path, name, unknown)
        status, out, err = training("inspect", file, "--layout", "manifest", "--format", "json")
        assert status == 0, err
        counts.append(json.loads(out)["splits"])
    assert counts[0] == counts[1] == counts[2]


def test_ignored_columns_are_listed(training: CommandLine, drawn: Path, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    rows = [f"{path},c1,7" for path in sorted((drawn / "query").iterdir())]
    file.write_text("\n".join(["path,camera,person_id", *rows]) + "\n")
    status, out, err = training("inspect", file, "--layout", "manifest")
    assert (status, err) == (0, "")
    assert "ignored columns without a meaning: person_id" in out
