"""Refuse options that a run's method does not read: to ignore them silently would mislead."""

from __future__ import annotations

from dataclasses import fields

from service.errors import InvalidInput
from training.core.config import TrainConfig

# Sections that only the other method reads.
_IGNORED = {"hhcl": ("selective",), "scl": ("clustering", "memory", "batch")}


def refuse_ignored(config: TrainConfig) -> None:
    """Check that a config sets no option of the other method.

    An option at its default counts as not set: configs and checkpoints list all of them.

    Args:
        config: the run's config.

    Raises:
        InvalidInput: options of another method differ from their defaults; it names them.
    """
    default = TrainConfig()
    changed = [
        f"{section}.{option.name} = {value!r}"
        for section in _IGNORED[config.method]
        for option in fields(getattr(config, section))
        if (value := getattr(getattr(config, section), option.name))
        != getattr(getattr(default, section), option.name)
    ]
    if changed:
        raise InvalidInput(
            f"{', '.join(changed)}: method = {config.method!r} has no use for "
            f"{'it' if len(changed) == 1 else 'them'}; remove what belongs to the other method"
        )
