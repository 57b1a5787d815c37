"""Make a folder of synthetic people in the layout of Market-1501 (Zheng et al., ICCV 2015)."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from pathlib import Path

from tqdm import tqdm

from service.errors import Conflict, InvalidInput, StorageFull
from service.machine.durable import replaced_folder
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

NOTE = "synthetic.json"
UNFINISHED = ".unfinished"
IN_FLIGHT = 4  # tasks per process; more would only delay an interruption


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
        _check_free(out, overwrite)
        _make(out, options, processes)
        return _summarize(out, options)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(f"{out}: {error.strerror}") from error
        raise InvalidInput(f"{out}: {error.strerror or error}") from error


def _note(options: SyntheticOptions) -> str:
    return json.dumps(asdict(options), indent=2) + "\n"


def _note_of(folder: Path) -> str | None:
    try:
        return (folder / NOTE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _check_free(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise Conflict(f"{out} exists and is not a folder")
    found = {entry.name for entry in out.iterdir()} if out.exists() else set()
    foreign = found - {TRAIN, QUERY, GALLERY, NOTE}
    if found and (foreign or NOTE not in found):
        raise Conflict(
            f"{out} contains {', '.join(sorted(foreign or found)[:3])} and is not a synthetic data "
            "set: choose another folder"
        )
    if found and not overwrite:
        raise Conflict(f"{out} already holds another synthetic data set; --overwrite replaces it")


def _make(out: Path, options: SyntheticOptions, processes: int) -> None:
    unfinished = out.with_name(out.name + UNFINISHED)
    if _note_of(unfinished) != _note(options):
        shutil.rmtree(unfinished, ignore_errors=True)
    for name in (TRAIN, QUERY, GALLERY):
        (unfinished / name).mkdir(parents=True, exist_ok=True)
    for stale in unfinished.rglob("*.part"):
        stale.unlink()
    (unfinished / NOTE).write_text(_note(options), encoding="utf-8")
    missing = [s for s in list_shots(options) if not (unfinished / s.file).exists()]
    total = count_shots(options)
    done = total - len(missing)
    with tqdm(total=total, initial=done, desc="make", unit="crop", disable=None) as progress:
        for made in _share(unfinished, options, missing, processes):
            progress.update(made)
    with replaced_folder(out) as fresh:
        for entry in unfinished.iterdir():
            entry.rename(fresh / entry.name)
    unfinished.rmdir()


def _share(
    folder: Path, options: SyntheticOptions, shots: list[Shot], processes: int
) -> Iterator[int]:
    """Make the shots of one person after the other, in one process or several."""
    people = (list(group) for _, group in groupby(shots, key=lambda shot: shot.identity))
    if processes <= 1:
        for group in people:
            for shot in group:
                yield _make_shots(folder, options, [shot])
        return
    # Each process builds its own body model and streets; forking would copy torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent) as pool:
        waiting: set[Future[int]] = set()
        try:
            while True:
                room = IN_FLIGHT * processes - len(waiting)
                waiting |= {
                    pool.submit(_make_shots, folder, options, group)
                    for group in islice(people, room)
                }
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield sum(future.result() for future in done)
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Without it, processes would wait for work for ever after the parent is killed."""

    def wait_for_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()


def _make_shots(folder: Path, options: SyntheticOptions, shots: list[Shot]) -> int:
    artist = artist_for(options)
    for shot in shots:
        file = folder / shot.file
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(artist.make(shot))
        part.replace(file)  # a resumed run counts a file that exists as complete
    return len(shots)


def _summarize(out: Path, options: SyntheticOptions) -> SyntheticSummary:
    train, query, gallery = (
        sum(1 for _ in (out / folder).glob("*.jpg")) for folder in (TRAIN, QUERY, GALLERY)
    )
    people = options.train_identities
    return SyntheticSummary(out, people, options.identities - people, train, query, gallery)
