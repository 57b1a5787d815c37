"""Texts of a job: what a file is called need not be text that a database and JSON take."""

from __future__ import annotations

from typing import Any


def storable(value: Any) -> Any:
    """Make every text of a JSON value one that UTF-8 can write.

    Args:
        value: texts, numbers, lists and objects, nested in any way.

    Returns:
        The value with ``?`` for bytes of file names that are not UTF-8.
    """
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {storable(name): storable(part) for name, part in value.items()}
        case list() | tuple():
            return [storable(part) for part in value]
        case _:
            return value


def bounded(value: Any, *, text: int = 400, entries: int = 100) -> Any:
    """Cut a JSON value to a size that many jobs may have.

    Args:
        value: texts, numbers, lists and objects, nested in any way.
        text: characters of each text.
        entries: of each list and object.

    Returns:
        The value; a text that was cut ends in ``…``.
    """
    match value:
        case str():
            return cut(value, text)
        case dict():
            some = list(value.items())[:entries]
            return {
                cut(name, text): bounded(part, text=text, entries=entries) for name, part in some
            }
        case list() | tuple():
            return [bounded(part, text=text, entries=entries) for part in value[:entries]]
        case _:
            return value


def cut(text: str, most: int) -> str:
    """A text of at most so many characters; one that was cut ends in ``…``."""
    return text if len(text) <= most else text[: most - 1] + "…"
