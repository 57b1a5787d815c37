"""The config of a training run: one frozen tree of options, read from TOML.

An unknown key is an error, and a value outside its range is rejected with the rule. The whole tree
is stored in the checkpoint and in the exported manifest.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from service.errors import InvalidInput
from training.core.method_options import ClusterOptions, MemoryOptions, SclOptions
from training.core.options import (
    STRICT,
    AugmentOptions,
    BatchOptions,
    DataOptions,
    EvaluationOptions,
    ModelOptions,
    ScheduleOptions,
    WarmupOptions,
)


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """The options of one run; each section has its own class in :mod:`training.core.options`.

    Attributes:
        method: ``hhcl`` (Hu, Zhu, He 2021) or ``scl`` (Pang et al. 2022).
        seed: source of every random choice.
    """

    method: Literal["hhcl", "scl"] = "hhcl"
    data: DataOptions = Field(default_factory=DataOptions)
    model: ModelOptions = Field(default_factory=ModelOptions)
    augment: AugmentOptions = Field(default_factory=AugmentOptions)
    clustering: ClusterOptions = Field(default_factory=ClusterOptions)
    memory: MemoryOptions = Field(default_factory=MemoryOptions)
    batch: BatchOptions = Field(default_factory=BatchOptions)
    selective: SclOptions = Field(default_factory=SclOptions)
    warmup: WarmupOptions = Field(default_factory=WarmupOptions)
    schedule: ScheduleOptions = Field(default_factory=ScheduleOptions)
    evaluation: EvaluationOptions = Field(default_factory=EvaluationOptions)
    seed: Annotated[int, Field(ge=0)] = 1

    def as_dict(self) -> dict[str, Any]:
        """Convert the tree to plain values, for JSON and checkpoints."""
        return asdict(self)


def read_config(file: Path | None, overrides: dict[str, Any]) -> TrainConfig:
    """Read a config: defaults, overridden by a TOML file, overridden by single values.

    Args:
        file: the TOML file, or None for the defaults, which are HHCL's Market-1501 recipe.
        overrides: values by dotted name, such as ``{"schedule.epochs": 3}``; a text is read as TOML
            if possible, so that ``"3"`` is a number.

    Returns:
        The validated tree.

    Raises:
        InvalidInput: the file cannot be read, or a key or value breaks a rule.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidInput(f"{file}: {error}") from error
    for name, value in overrides.items():
        _put(tree, name, value)
    return parse_config(tree, str(file or "options"))


def parse_config(tree: dict[str, Any], origin: str) -> TrainConfig:
    """Validate a tree of plain values.

    Args:
        tree: nested dictionaries, from TOML or a checkpoint.
        origin: where the tree comes from, for messages.

    Returns:
        The validated tree.

    Raises:
        InvalidInput: a key is unknown or a value breaks its rule.
    """
    try:
        return TypeAdapter(TrainConfig).validate_python(tree)
    except ValidationError as error:
        raise InvalidInput(f"{origin}: {broken_rules(error)}") from error


def broken_rules(error: ValidationError) -> str:
    """Format which values broke which rules.

    Args:
        error: from validating a config, or a manifest made from one.

    Returns:
        One line: ``key = value: rule``, separated by semicolons.
    """
    return "; ".join(
        f"{'.'.join(map(str, item['loc']))} = {item['input']!r}: {item['msg']}"
        for item in error.errors()
    )


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    *sections, key = name.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise InvalidInput(f"{name}: {section} is not a section")
    tree[key] = _parse_value(value) if isinstance(value, str) else value


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
