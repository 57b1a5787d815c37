"""Everything a training run can be told: one frozen tree, read from TOML.

An unknown key is an error, a value outside its range names the rule. The whole tree is stored in
the checkpoint and in the exported manifest. Paper symbols live only here, each with its meaning.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from service.errors import InvalidInput

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=_STRICT)
class ModelOptions:
    """The network.

    Attributes:
        backbone: torchvision's name.
        pooling: ``average`` (all published HHCL numbers) or ``gem``.
        weights: ``default`` (torchvision's ImageNet weights), ``none``, or a file.
        height: input height in pixels.
        width: input width in pixels.
        last_stride: stride of the last stage that halves the map; the paper uses 1.
    """

    backbone: Literal["resnet50", "resnet18", "mobilenet_v2"] = "resnet50"
    pooling: Literal["average", "gem"] = "average"
    weights: str = "default"
    height: Annotated[int, Field(ge=32, le=1024)] = 256
    width: Annotated[int, Field(ge=32, le=1024)] = 128
    last_stride: Literal[1, 2] = 1


@dataclass(frozen=True, config=_STRICT)
class AugmentOptions:
    """What training does to a crop; the first three are the paper's, the rest is off there.

    Attributes:
        flip: chance of mirroring.
        padding: black pixels on each side before the random crop back to size.
        erasing: chance of random erasing (Zhong et al., AAAI 2020): area 2-40 %, aspect 0.3-3.33.
        brightness: factor drawn from 1 - b .. 1 + b.
        contrast: factor drawn from 1 - c .. 1 + c, around the crop's mean grey.
        saturation: factor drawn from 1 - s .. 1 + s.
        hue: rotation of the colour plane by up to this share of a full turn, either way.
        greyscale: chance of dropping all colour.
    """

    flip: Share = 0.5
    padding: Annotated[int, Field(ge=0, le=64)] = 10
    erasing: Share = 0.5
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    greyscale: Share = 0.0


@dataclass(frozen=True, config=_STRICT)
class ClusterOptions:
    """How an epoch's pseudo-labels are made.

    Attributes:
        scheme: ``dbscan`` over all crops together, as the paper; ``camera-link`` first inside each
            camera, then linked across cameras.
        k1: k-reciprocal neighbours, the crop itself included.
        k2: crops averaged by query expansion, the crop itself included.
        eps: DBSCAN radius on the Jaccard distance.
        min_samples: crops within eps, itself included, that make a core crop.
        link_first: for ``camera-link``, share of the links used in the first epoch, the best ones.
        link_last: the same for the last epoch; in between the share grows evenly.
    """

    scheme: Literal["dbscan", "camera-link"] = "dbscan"
    k1: Positive = 30
    k2: Positive = 6
    eps: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.45
    min_samples: Positive = 4
    link_first: Share = 1.0
    link_last: Share = 1.0


@dataclass(frozen=True, config=_STRICT)
class MemoryOptions:
    """The contrast.

    Attributes:
        weighting: ``released`` weighs hard and mean prototypes 0.5 and 0.25, as the code behind the
            published numbers; ``convex`` 0.5 and 0.5, as the paper's formula.
        temperature: tau.
        momentum: m, the share of the old row an update keeps.
        negatives: ``all`` contrasts a crop with every other cluster, as the paper; ``same-camera``
            only with clusters its own camera saw. A cluster that only other cameras saw may be the
            same person, not yet linked, and pushing it away is what keeps the two apart.
    """

    weighting: Literal["released", "convex"] = "released"
    temperature: Annotated[float, Field(gt=0.0)] = 0.05
    momentum: Share = 0.1
    negatives: Literal["all", "same-camera"] = "all"


@dataclass(frozen=True, config=_STRICT)
class BatchOptions:
    """P x K sampling.

    Attributes:
        clusters: P, clusters in a batch.
        crops: K, crops of each.
        ghost_group: crops that share batch statistics; the published runs had 64 on each device.
    """

    clusters: Positive = 16
    crops: Positive = 16
    ghost_group: Annotated[int, Field(ge=2)] = 64


@dataclass(frozen=True, config=_STRICT)
class ScheduleOptions:
    """Adam and StepLR.

    Attributes:
        epochs: passes of extract, cluster, train.
        iterations: batches an epoch, whatever the size of the data.
        learning_rate: Adam's.
        weight_decay: L2, on all parameters.
        step: epochs between drops of the learning rate.
        decay: factor of a drop.
    """

    epochs: Positive = 60
    iterations: Positive = 200
    learning_rate: Annotated[float, Field(gt=0.0)] = 3.5e-4
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    step: Positive = 20
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1


@dataclass(frozen=True, config=_STRICT)
class DataOptions:
    """Which crops.

    Attributes:
        path: the data set's folder, or a manifest file.
        layout: how names give identity and camera; ``auto`` looks.
        pattern: for ``folders``, such as ``{camera}/{name}``.
        skip_bad: count and list what cannot be used instead of stopping.
    """

    path: str = ""
    layout: Literal["auto", "market1501", "msmt17", "folders", "manifest"] = "auto"
    pattern: str | None = None
    skip_bad: bool = False


@dataclass(frozen=True, config=_STRICT)
class EvaluationOptions:
    """When to measure on query and gallery, where the data has them.

    Attributes:
        every: epochs between measurements; the last epoch is always measured; 0 means never.
            Nothing is selected by it: the last epoch is the result.
    """

    every: Annotated[int, Field(ge=0)] = 10


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """One run."""

    data: DataOptions = Field(default_factory=DataOptions)
    model: ModelOptions = Field(default_factory=ModelOptions)
    augment: AugmentOptions = Field(default_factory=AugmentOptions)
    clustering: ClusterOptions = Field(default_factory=ClusterOptions)
    memory: MemoryOptions = Field(default_factory=MemoryOptions)
    batch: BatchOptions = Field(default_factory=BatchOptions)
    schedule: ScheduleOptions = Field(default_factory=ScheduleOptions)
    evaluation: EvaluationOptions = Field(default_factory=EvaluationOptions)
    seed: Annotated[int, Field(ge=0)] = 1

    def as_dict(self) -> dict[str, Any]:
        """The tree as plain values, for JSON and checkpoints."""
        return asdict(self)


def read_config(file: Path | None, overrides: dict[str, Any]) -> TrainConfig:
    """Defaults, then a TOML file, then single values.

    Args:
        file: the TOML file, or None for the defaults, which are HHCL's Market-1501 recipe.
        overrides: values by dotted name, such as ``{"schedule.epochs": 3}``; a text is read as TOML
            where it can be, so that ``"3"`` is a number.

    Returns:
        The checked tree.

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
    """Check a plain tree.

    Args:
        tree: nested dictionaries, as TOML and checkpoints hold them.
        origin: where it came from, for messages.

    Returns:
        The checked tree.

    Raises:
        InvalidInput: a key is unknown or a value breaks its rule.
    """
    try:
        return TypeAdapter(TrainConfig).validate_python(tree)
    except ValidationError as error:
        raise InvalidInput(f"{origin}: {broken_rules(error)}") from error


def broken_rules(error: ValidationError) -> str:
    """Which value broke which rule, for people.

    Args:
        error: of a config, or of a manifest made from one.

    Returns:
        One line: ``key = value: rule``, a semicolon between two.
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
