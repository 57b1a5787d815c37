"""Names of groups that nobody named: stable from one clustering to the next."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

_MADE_UP = re.compile(r"person-([0-9]{4,18})")


def name_groups(
    former: Sequence[Sequence[str]], known: Collection[str], *, pinned: Collection[str]
) -> list[str]:
    """Name each group as most of its crops were called, or afresh.

    A name goes to the group that holds most crops of that name; the other groups that have some get
    another of their former names, or a new one.

    Args:
        former: of each group, the former name of every crop that had one.
        known: every identity of the gallery; a fresh name is none of them.
        pinned: identities of labelled crops; no group may take one of them.

    Returns:
        A name a group, all different.
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
    """``person-0001`` and so on, from the first number above all that are in use.

    Args:
        known: every identity of the gallery.

    Yields:
        Names that are not among them.
    """
    numbers = (int(match[1]) for match in map(_MADE_UP.fullmatch, known) if match)
    number = max(numbers, default=0)
    while True:
        number += 1
        yield f"person-{number:04d}"
