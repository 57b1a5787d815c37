"""Read folders of synthetic people: the only data sets whose identities are labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.errors import InvalidInput
from training.data.datasets import Dataset, DataSource, read_dataset
from training.synthetic.dataset import NOTE


def read_synthetic(folders: Sequence[str]) -> list[Dataset]:
    """Read folders that our own program wrote; identities of real people are never used.

    Args:
        folders: in the layout of Market-1501, each with the note that the program leaves.

    Returns:
        The data sets.

    Raises:
        InvalidInput: a folder has no note, cannot be read, or shows the same people as another.
    """
    notes = [_read_note(Path(folder)) for folder in folders]
    for place, note in enumerate(notes):
        if (other := notes.index(note)) < place:
            raise InvalidInput(
                f"{folders[place]} and {folders[other]} show the same people, because they were "
                "made with the same seed; make one of them with another --seed"
            )
    sources = [DataSource(Path(each), layout="market1501", train_only=True) for each in folders]
    return [read_dataset(source) for source in sources]


def _read_note(folder: Path) -> tuple[str, Any]:
    """What decides who is shown: the kind of people, and the seed."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return note.get("kind", "drawn"), note["seed"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InvalidInput(
            f"{folder}: no folder of synthetic people, because it has no readable {NOTE} "
            f"({type(error).__name__}). Identity labels are used only if "
            "`python -m training synthesize` made the people; give other crops as --data of "
            "`python -m training train`, which needs no labels"
        ) from error
