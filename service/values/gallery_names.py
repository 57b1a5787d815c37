"""Check names of galleries, which are also the names of their folders."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def is_gallery_name(name: str) -> bool:
    """Whether a text is a valid gallery name."""
    return _NAME.fullmatch(name) is not None


def gallery_name_of(name: str) -> str:
    """Read a gallery's name.

    Args:
        name: 1..64 of ``a-z 0-9 _ -``, starting with a letter or digit.

    Returns:
        The name.

    Raises:
        ValueError: the name breaks the rule.
    """
    if not is_gallery_name(name):
        raise ValueError(
            f"gallery name {name[:80]!r}: must be 1 to 64 characters of a-z, 0-9, '_' and '-', "
            "starting with a letter or digit"
        )
    return name
