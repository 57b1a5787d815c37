"""Names of people out of what jobs have noted: item errors, results, reasons of failures."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.gallery.disk.conditions import as_json
from service.jobs.file import mark_unclean

_FEW = 4
"""Names that are looked for one by one; looking for more would hold up other jobs."""
_REDACTED = "erased: it named what was erased"


@dataclass(frozen=True, slots=True)
class Names:
    """What an erasure took from a gallery.

    Attributes:
        texts: ids of crops, and identities that no crop has any more.
        all: nothing is left in the gallery, so that everything jobs have noted of it goes.
    """

    texts: frozenset[str] = frozenset()
    all: bool = False

    @property
    def too_many(self) -> bool:
        """Whether everything jobs have noted goes, because there is too much to look for."""
        return self.all or len(self.texts) > _FEW


def erase_names(connection: sqlite3.Connection, gallery: str, names: Names) -> int:
    """Erase the item errors and results of a gallery's jobs that hold one of these names.

    Of more than a few names it erases all item errors of the gallery. Upper and lower case of
    Latin letters are the same; a name in a longer text counts, such as ``anna`` in ``anna/1.jpg``.

    Args:
        connection: of the jobs' file, within a transaction.
        gallery: the gallery.
        names: what was erased.

    Returns:
        How many item errors went.
    """
    if not (names.texts or names.all):
        return 0
    mine = "gallery = ?"
    if names.too_many:
        redact(connection, mine, (gallery,))
        return erase_errors(connection, mine, (gallery,))
    found, texts = _holding("coalesce(result, '') || ' ' || coalesce(error, '')", names)
    redact(connection, f"{mine} AND {found}", (gallery, *texts))
    found, texts = _holding("item || ' ' || reason", names)
    return _erase_items(
        connection,
        f"job_id IN (SELECT job_id FROM jobs WHERE {mine}) AND {found}",  # noqa: S608 - fixed texts
        (gallery, *texts),
    )


def erase_errors(connection: sqlite3.Connection, jobs: str, values: Sequence[object]) -> int:
    """Erase all item errors of some jobs; returns how many."""
    which = f"job_id IN (SELECT job_id FROM jobs WHERE {jobs})"  # noqa: S608 - fixed texts
    return _erase_items(connection, which, values)


def redact(connection: sqlite3.Connection, jobs: str, values: Sequence[object]) -> None:
    """Leave only numbers in the results of some jobs, and no reasons."""
    rows = connection.execute(
        f"SELECT job_id, result, error FROM jobs WHERE (result IS NOT NULL OR error IS NOT NULL) "  # noqa: S608 - fixed texts
        f"AND {jobs}",
        values,
    ).fetchall()
    for job_id, result, error in rows:
        kept = None if result is None else json.dumps(numbers_only(json.loads(result)))
        connection.execute(
            "UPDATE jobs SET result = ?, error = ? WHERE job_id = ?",
            (kept, None if error is None else _REDACTED, job_id),
        )
    if rows:
        mark_unclean(connection)


def forget_jobs(connection: sqlite3.Connection, job_ids: Sequence[str]) -> None:
    """Forget jobs and their item errors."""
    if not job_ids:
        return
    for table in ("item_errors", "jobs"):
        connection.execute(
            f"DELETE FROM {table} WHERE job_id IN (SELECT value FROM json_each(?))",  # noqa: S608 - fixed texts
            (as_json(job_ids),),
        )
    mark_unclean(connection)


def asked_with(connection: sqlite3.Connection, gallery: str, names: Names) -> tuple[str, ...]:
    """Ids of a gallery's jobs that wait, run or failed and were asked with one of these names."""
    if not (names.texts or names.all):
        return ()
    found, texts = "kind = 'import' AND spec <> '{}'", tuple[str, ...]()
    if not names.too_many:
        found, texts = _holding("spec", Names(frozenset(map(_escaped, names.texts))))
    rows = connection.execute(
        f"SELECT job_id FROM jobs WHERE gallery = ? AND {found} ORDER BY number DESC",  # noqa: S608 - fixed texts
        (gallery, *texts),
    )
    return tuple(job_id for (job_id,) in rows.fetchall())


def numbers_only(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """A job's result without its texts, which may name people or files.

    Args:
        result: a JSON object; None where there is none.

    Returns:
        Its numbers and truth values.
    """
    if result is None:
        return None
    return {name: value for name, value in result.items() if isinstance(value, int | float)}


def _erase_items(connection: sqlite3.Connection, which: str, values: Sequence[object]) -> int:
    erased = connection.execute(
        f"DELETE FROM item_errors WHERE {which} RETURNING job_id, length(item) + length(reason)",  # noqa: S608 - fixed texts
        values,
    ).fetchall()
    sizes: dict[str, int] = {}
    for job_id, size in erased:
        sizes[job_id] = sizes.get(job_id, 0) + size
    connection.executemany(
        "UPDATE jobs SET noted = max(noted - ?, 0) WHERE job_id = ?",
        [(size, job_id) for job_id, size in sizes.items()],
    )
    if erased:
        mark_unclean(connection)
    return len(erased)


def _holding(text: str, names: Names) -> tuple[str, tuple[str, ...]]:
    """A condition: a text holds one of the names, and the values of its placeholders."""
    wanted = sorted({one for name in names.texts for one in _spellings(name)})
    parts = " OR ".join("instr(told, ?) > 0" for _ in wanted)
    found = f"EXISTS (SELECT 1 FROM (SELECT lower({text}) AS told) WHERE {parts})"  # noqa: S608 - fixed texts
    return found, tuple(wanted)


def _spellings(name: str) -> set[str]:
    """How file names spell a name: blanks are often something else there."""
    plain = "".join(letter.lower() if letter.isascii() else letter for letter in name)
    return {plain, plain.replace(" ", "_"), plain.replace(" ", "-")}


def _escaped(name: str) -> str:
    return json.dumps(name)[1:-1]
