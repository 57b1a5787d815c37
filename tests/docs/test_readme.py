"""Documented commands work, and links lead somewhere.

A document marks the commands to run: a line ``<!-- tested: curl -->`` before a fenced block. In
that block a command starts with ``$`` and a space, and lines that end with a backslash continue it.
JSON after a command is its answer: the keys must match, the values need not; a key ``…`` stands for
those left out. A block without ``$`` has one command per line. ``<!-- tested: curl, refused -->``
marks commands that the service rejects. The commands of one document run in order, on one service.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parents[2]
MARKED = re.compile(
    r"^<!-- tested: (?P<what>[a-z, ]+) -->\n+```(?:console|bash|sh)\n(?P<block>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
TO_FILL = re.compile(r"@@\w+@@|\bTODO\b|\bTBD\b")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A command, whether the service should reject it, and the documented answer."""

    text: str
    refused: bool
    answer: str


def commands(document: str) -> Iterator[Command]:
    """Yield the commands of a document's marked blocks, in order."""
    for found in MARKED.finditer(document):
        block = found["block"]
        if not block.startswith("$ "):  # every line is a command or a comment
            block = re.sub(r"(?<!\\\n)^(?!#)(?=\S)", "$ ", block, flags=re.MULTILINE)
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            whole = re.match(r"(?:.*\\\n)*.*", part)
            assert whole
            answer = part[whole.end() :].strip()
            yield Command(whole[0], "refused" in found["what"], answer)


def code(document: str) -> str:
    """Return a document's code: its blocks and spans."""
    return "\n".join([*FENCED.findall(document), *CODE_SPAN.findall(FENCED.sub("", document))])


# ---- what people type


def documents_with_commands() -> list[str]:
    """The documents that mark commands; each cleans up after itself."""
    paths = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    return [
        path.relative_to(ROOT).as_posix()
        for path in paths
        if MARKED.search(path.read_text(encoding="utf-8"))
    ]


def test_readme_api_tutorial_and_most_guides_mark_commands():
    marked = set(documents_with_commands())
    assert {"README.md", "docs/api.md", "docs/tutorial.md"} <= marked
    # The others need Docker, a GPU, a Milvus, a second data folder or minutes of training.
    assert len([name for name in marked if name.startswith("docs/guides/")]) >= 10


@pytest.mark.parametrize("name", documents_with_commands())
def test_documented_commands_work(name, documents, place):
    if shutil.which("curl") is None:
        pytest.skip("curl, with which the documents show the API, is not installed")
    for command in commands(documents[name]):
        done = place.run(command.text)
        report = f"{name}: $ {command.text}\n{done.stdout}{done.stderr}"
        assert (done.returncode != 0) == command.refused, report
        if command.answer:
            differences = list(differing(json.loads(command.answer), json.loads(done.stdout)))
            assert not differences, f"{differences}\n{report}"


def differing(shown: object, answered: object, where: str = "answer") -> Iterator[str]:
    """Yield the keys that only one of two JSON values has, at any depth."""
    match shown, answered:
        case dict(), dict():
            extra = set() if "…" in shown else answered.keys() - shown.keys()
            missing = shown.keys() - answered.keys() - {"…"}
            yield from (f"{where}.{key} is not answered" for key in sorted(missing))
            yield from (f"{where}.{key} is not shown" for key in sorted(extra))
            for key in sorted(shown.keys() & answered.keys()):
                yield from differing(shown[key], answered[key], f"{where}.{key}")
        case list(), list():
            if bool(shown) != bool(answered):
                yield f"{where}: shown {len(shown)} items, answered {len(answered)}"
            for index, pair in enumerate(zip(shown, answered, strict=False)):
                yield from differing(*pair, f"{where}[{index}]")
        case (dict() | list(), _) | (_, dict() | list()):
            yield f"{where}: shown {shown!r:.60}, answered {answered!r:.60}"


def test_differences_are_noticed():
    shown = {"a": [{"b": 1}], "c": None, "d": {"…": "…"}}
    assert not list(differing(shown, {"a": [{"b": 2}, {}], "c": 3, "d": {"x": 1}}))
    assert list(differing(shown, {"a": [{}], "c": {}, "e": 1})) == [
        "answer.d is not answered",
        "answer.e is not shown",
        "answer.a[0].b is not answered",
        "answer.c: shown None, answered {}",
    ]


def test_commands_are_found():
    text = (
        "<!-- tested: curl -->\n```console\n$ one \\\n    more\n{}\n$ two\n```\n"
        "```sh\nunmarked\n```\n"
        "<!-- tested: service, refused -->\n```sh\n# why\nthree\nfour \\\n  more\n```\n"
    )
    assert list(commands(text)) == [
        Command("one \\\n    more", False, "{}"),
        Command("two", False, ""),
        Command("three", True, ""),
        Command("four \\\n  more", True, ""),
    ]


def test_the_shipped_model_answers(place):
    if place.model.name == "tiny":
        pytest.skip("the shipped model is missing: the documents' commands ran on a tiny network")
    assert (place.model / "manifest.json").is_file()


# ---- what is named


def test_nothing_is_left_to_be_filled_in(documents):
    left = [f"{name}: {word}" for name, text in documents.items() for word in TO_FILL.findall(text)]
    assert not left, left


def test_every_make_target_exists(documents):
    there = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name, text in documents.items():
        named = re.findall(r"^make ([a-z][a-z-]*)", code(text), re.MULTILINE)
        missing = set(named) - set(there)
        assert not missing, f"{name} names make targets that do not exist: {missing}"
    assert "make demo" in documents["README.md"]
    assert "make test" in documents["README.md"]


def test_every_link_leads_somewhere(documents):
    broken = []
    for name, text in documents.items():
        for found in LINK.finditer(FENCED.sub("", text)):
            path, _, anchor = found["target"].partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            if re.match(r"[a-z]+:", path):
                continue
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{name}: {found['target']}")
    assert not broken, f"broken links: {broken}"


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and GitLab name them."""
    titles = HEADING.findall(FENCED.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def programs() -> dict[str, dict[str, Any]]:
    """Return the commands of both command lines by name."""
    from service.__main__ import cli
    from training.__main__ import app

    both = {"service": cli, "training": app}
    return {name: vars(typer.main.get_command(line))["commands"] for name, line in both.items()}


def test_every_command_is_documented(documents):
    written = "\n".join(code(text) for text in documents.values())
    missing = [
        f"python -m {program} {command}"
        for program, commands_of_it in programs().items()
        for command in commands_of_it
        if f"python -m {program} {command}" not in written
    ]
    assert not missing, f"no document shows {missing}"


def test_every_documented_command_and_option_exists(documents):
    wrong = []
    for name, text in documents.items():
        lines = code(text).replace("\\\n", " ").splitlines()
        for line in lines:
            for program, rest in re.findall(r"python -m (service|training)\b(.*)", line):
                wrong += [f"{name}: {line.strip()}: {what}" for what in unknown(program, rest)]
    assert not wrong, f"the command lines do not know: {wrong}"


def unknown(program: str, rest: str) -> list[str]:
    """Return the command, or the options, that a program does not have."""
    there = programs()[program]
    words = re.sub(r"[|;&>].*", "", rest).split()
    if not words or words[0].startswith("-"):
        return []
    if words[0] not in there:
        return [words[0]]
    command = there[words[0]]
    inner = vars(command).get("commands", {})  # of a command such as `keys create`
    if inner and len(words) > 1 and not words[1].startswith("-"):
        if words[1] not in inner:
            return [words[1]]
        command = inner[words[1]]
    options = {"--help"}.union(*(parameter.opts for parameter in command.params))
    return [
        word for word in words if word.startswith("--") and word.partition("=")[0] not in options
    ]


def test_every_variable_is_a_setting(documents):
    from service.settings import KEY_VARIABLE, PREFIX, Settings

    settings = {PREFIX + name.upper() for name in Settings.model_fields} | {KEY_VARIABLE}
    for name, text in documents.items():
        wrong = set(re.findall(r"\bREID_[A-Z_]*[A-Z]\b", text)) - settings
        assert not wrong, f"{name} names settings that do not exist: {wrong}"
