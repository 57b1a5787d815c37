"""Refuse options that a run does not read: to ignore them silently would mislead."""

from __future__ import annotations

from dataclasses import fields

from service.errors import InvalidInput
from training.core.config import TrainConfig

# Sections that only the other method reads.
_IGNORED = {"hhcl": ("selective",), "scl": ("clustering", "memory", "batch")}
_OF_SOFT_LINKS = ("soft_partners", "left_out", "dustbin")


def refuse_ignored(config: TrainConfig) -> None:
    """Check that a config sets no option of the other method, or of another kind of links.

    An option at its default counts as not set: configs and checkpoints list all of them.

    Args:
        config: the run's config.

    Raises:
        InvalidInput: options that are ignored differ from their defaults; it names them.
    """
    _refuse_ignored_links(config)
    changed = [
        told
        for section in _IGNORED[config.method]
        for option in fields(getattr(config, section))
        if (told := _changed(config, section, option.name))
    ]
    if changed:
        raise InvalidInput(
            f"{', '.join(changed)}: method = {config.method!r} has no use for "
            f"{'it' if len(changed) == 1 else 'them'}; remove what belongs to the other method"
        )


def _refuse_ignored_links(config: TrainConfig) -> None:
    clustering = config.clustering
    if clustering.links == "hard":
        changed = [
            told for name in _OF_SOFT_LINKS if (told := _changed(config, "clustering", name))
        ]
        if changed:
            raise InvalidInput(
                f"{', '.join(changed)}: clustering.links = 'hard' has no use for "
                f"{'it' if len(changed) == 1 else 'them'}"
            )
    elif clustering.scheme != "camera-link":
        raise InvalidInput(
            f"clustering.links = 'soft': clustering.scheme = {clustering.scheme!r} links no "
            "cameras; it must be 'camera-link'"
        )
    elif config.memory.proxy_weight == 0:
        raise InvalidInput(
            "clustering.links = 'soft': soft links are positives of the proxy loss alone, so "
            "memory.proxy_weight must be above 0"
        )


def _changed(config: TrainConfig, section: str, option: str) -> str | None:
    """An option and its value; None if it is the default."""
    value = getattr(getattr(config, section), option)
    default = getattr(getattr(TrainConfig(), section), option)
    return None if value == default else f"{section}.{option} = {value!r}"
