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
