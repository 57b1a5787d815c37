"""Names for groups that nobody named, stable from one clustering to the next."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

_MADE_UP = re.compile(r"person-([0-9]{4,18})")


def name_groups(
    former: Sequence[Sequence[str]], known: Collection[str], *, pinned: Collection[str]
) -> list[str]:
    """Give each group the former name of most of its crops, or a new name.

    A name goes to the group with the most crops of that name. Other groups with such crops get
    another of their former names, or a new one.

    Args:
        former: per group, the former name of every crop that had one.
        known: all identities of the gallery; new names differ from them.
        pinned: identities of labelled crops; no group gets one of these.

    Returns:
        One name per group, all different.
    """
    held = [Counter(name for name in names if name not in pinned) for names in former]
    claims = sorted(
        (-crops, group, name) for group, names in enumerate(held) for name, crops in names.items()
    )
    chosen: dict[int, str] = {}
    given: set[str] = set()
    for _, group, name in claims:
        if group not in chosen and name not in given:
            chosen[group] = name
            given.add(name)
    fresh = fresh_names(known)
    return [chosen[group] if group in chosen else next(fresh) for group in range(len(former))]


def fresh_names(known: Collection[str]) -> Iterator[str]:
    """Make names such as ``person-0001``, with numbers above all that are in use.

    Args:
        known: all identities of the gallery.

    Yields:
        Names that are not in use.
    """
    numbers = (int(match[1]) for match in map(_MADE_UP.fullmatch, known) if match)
    number = max(numbers, default=0)
    while True:
        number += 1
        yield f"person-{number:04d}"
