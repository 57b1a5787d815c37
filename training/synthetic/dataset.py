"""Make a folder of synthetic people in the layout of Market-1501 (Zheng et al., ICCV 2015)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from service.machine.durable import replaced_file
from training.synthetic.artists import artist_for
from training.synthetic.options import SyntheticOptions
from training.synthetic.shots import (
    GALLERY,
    QUERY,
    TRAIN,
    Shot,
    count_shots,
    list_shots,
)
from training.synthetic.unfinished import FolderKind, begin, file_error, finish, share

NOTE = "synthetic.json"
FOLDER = FolderKind(
    note=NOTE,
    entries=frozenset({TRAIN, QUERY, GALLERY, NOTE}),
    lacks="is not a synthetic data set",
    other="another synthetic data set; --overwrite replaces it",
)


@dataclass(frozen=True, slots=True)
class SyntheticSummary:
    """Counts of what was written.

    Attributes:
        folder: the data set's folder.
        train_identities: number of people in train.
        test_identities: number of people in query and gallery.
        train: number of pictures in ``bounding_box_train``.
        query: number of pictures in ``query``.
        gallery: number of pictures in ``bounding_box_test``, with distractors and junk.
    """

    folder: Path
    train_identities: int
    test_identities: int
    train: int
    query: int
    gallery: int


def synthesize(
    out: Path, options: SyntheticOptions, *, overwrite: bool = False, processes: int = 1
) -> SyntheticSummary:
    """Make a data set; the folder appears only when it is complete.

    Pictures are collected in ``OUT.unfinished``. A run that was interrupted continues there, and a
    folder that already holds what the options ask for is left as it is.

    Args:
        out: folder to create; must be missing or empty, or hold the same data set.
        options: what to make.
        overwrite: replace another data set that this function wrote before.
        processes: how many processes share the work; the files do not depend on it.

    Returns:
        What was written.

    Raises:
        Conflict: the folder is not empty, or contains files that this function did not write.
        InvalidInput: the folder cannot be written, or a package for bodies is missing.
        StorageFull: the disk is full.
    """
    out = out.resolve()
    try:
        if not overwrite and _note_of(out) == _note(options):
            return _summarize(out, options)
        FOLDER.check_free(out, overwrite=overwrite)
        _make(out, options, processes)
        return _summarize(out, options)
    except OSError as error:
        raise file_error(out, error) from error


def _note(options: SyntheticOptions) -> str:
    return json.dumps(asdict(options), indent=2) + "\n"


def _note_of(folder: Path) -> str | None:
    try:
        return (folder / NOTE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _make(out: Path, options: SyntheticOptions, processes: int) -> None:
    note = _note(options)
    unfinished = begin(
        out, (TRAIN, QUERY, GALLERY), continues=lambda folder: _note_of(folder) == note
    )
    (unfinished / NOTE).write_text(note, encoding="utf-8")
    missing = [s for s in list_shots(options) if not (unfinished / s.file).exists()]
    people = (list(group) for _, group in groupby(missing, key=lambda shot: shot.identity))
    total = count_shots(options)
    done = total - len(missing)
    with tqdm(total=total, initial=done, desc="make", unit="crop", disable=None) as progress:
        for made in share(partial(_make_shots, unfinished, options), people, processes):
            progress.update(made)
    finish(unfinished, out)


def _make_shots(folder: Path, options: SyntheticOptions, shots: list[Shot]) -> int:
    """Make the shots of one person."""
    artist = artist_for(options)
    for shot in shots:
        # A resumed run counts a file that exists as complete.
        with replaced_file(folder / shot.file, durable=False) as file:
            file.write(artist.make(shot))
    return len(shots)


def _summarize(out: Path, options: SyntheticOptions) -> SyntheticSummary:
    train, query, gallery = (
        sum(1 for _ in (out / folder).glob("*.jpg")) for folder in (TRAIN, QUERY, GALLERY)
    )
    people = options.train_identities
    return SyntheticSummary(out, people, options.identities - people, train, query, gallery)
