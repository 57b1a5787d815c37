"""The options of a training run, one class per section of the TOML file, each with its rule.

Options that stand for a symbol of a paper name the symbol.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from training.data.layouts import Layout

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
BACKBONES = r"^(resnet50|resnet50_ibn|resnet18|mobilenet_v2|timm/\w+(\.\w+)*)$"


@dataclass(frozen=True, config=STRICT)
class ModelOptions:
    """The network.

    Attributes:
        backbone: torchvision's ``resnet50``, ``resnet18`` or ``mobilenet_v2``; ``resnet50_ibn``
            (IBN-Net's a); or ``timm/NAME``, a network of the extra ``timm``.
        pooling: ``average`` (all published HHCL numbers) or ``gem``.
        weights: ``default`` (ImageNet weights by download), ``none``, a file with a backbone's
            tensors, an earlier run's folder, or an exported ``models/<name>``.
        height: input height in pixels.
        width: input width in pixels.
        last_stride: stride of the last stage that halves the map; the paper uses 1.
        frozen_stages: number of the backbone's first stages that keep their start weights.
        instance_norm: normalise half of the channels of each block in the first two stages per
            crop, as IBN-Net does (Pan et al., ECCV 2018); the backbone's start weights stay.
        precision: of forward passes in training and for clustering: ``float32``, ``bfloat16``, or
            ``auto``, which is bfloat16 on a GPU that computes it natively, else float32. Everything
            that is measured is embedded in float32.
        compile: compile the network for training (``torch.compile``); worthwhile on a GPU over
            many epochs, not on a CPU.
    """

    backbone: Annotated[str, Field(pattern=BACKBONES)] = "resnet50"
    pooling: Literal["average", "gem"] = "average"
    weights: str = "default"
    height: Annotated[int, Field(ge=32, le=1024)] = 256
    width: Annotated[int, Field(ge=32, le=1024)] = 128
    last_stride: Literal[1, 2] = 1
    frozen_stages: Annotated[int, Field(ge=0)] = 0
    instance_norm: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        """Check that what is frozen was learned, and that what changes can learn."""
        if self.frozen_stages and self.weights == "none":
            raise ValueError(
                f"frozen_stages is {self.frozen_stages}, must be 0 if weights is none: "
                "random stages would never learn"
            )
        if self.instance_norm and self.frozen_stages:
            raise ValueError(
                f"frozen_stages is {self.frozen_stages}, must be 0 if instance_norm is true: the "
                "first stages change and have to learn"
            )
        if self.instance_norm and self.backbone not in {"resnet50", "resnet18", "mobilenet_v2"}:
            raise ValueError(
                "instance_norm is true, must be false unless backbone is resnet50, resnet18 or "
                f"mobilenet_v2: the stages of {self.backbone} are not known or have it already"
            )


@dataclass(frozen=True, config=STRICT)
class AugmentOptions:
    """Augmentation in training; the first three are the paper's, which has none of the others.

    Attributes:
        flip: probability of mirroring.
        padding: black pixels added on each side before a random crop of the original size.
        erasing: probability of random erasing (Zhong et al., AAAI 2020): area 2-40 %, aspect
            0.3-3.33.
        brightness: factor drawn from 1 - b .. 1 + b.
        contrast: factor drawn from 1 - c .. 1 + c, around the crop's mean grey.
        saturation: factor drawn from 1 - s .. 1 + s.
        hue: rotation of the colour plane by up to this share of a full turn, either way.
        greyscale: probability of removing all colour.
        camera_colours: probability that a crop gets the mean and covariance of the colours of a
            crop that another camera of its site took: the same person in another camera, without a
            label. The warm-up leaves colours as they are.
        style_mixing: probability that a crop's early maps take on another's mean and deviation
            (MixStyle, Zhou et al., ICLR 2021), so that light and camera matter less.
    """

    flip: Share = 0.5
    padding: Annotated[int, Field(ge=0, le=64)] = 10
    erasing: Share = 0.5
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    greyscale: Share = 0.0
    camera_colours: Share = 0.0
    style_mixing: Share = 0.0


@dataclass(frozen=True, config=STRICT)
class BatchOptions:
    """P x K sampling.

    Attributes:
        clusters: P, clusters per batch.
        crops: K, crops per cluster.
        ghost_group: crops that share batch statistics; the published runs had 64 per device.
        synthetic_share: share of a batch's clusters that are synthetic identities, if a run has
            unlabelled crops as well.
    """

    clusters: Positive = 16
    crops: Positive = 16
    ghost_group: Annotated[int, Field(ge=2)] = 64
    synthetic_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5


@dataclass(frozen=True, config=STRICT)
class ScheduleOptions:
    """Optimiser and learning-rate schedule; the papers drop the rate in steps, without warm-up.

    Attributes:
        optimiser: ``adam`` (HHCL) or ``sgd`` with Nesterov momentum 0.9 (SCL).
        epochs: rounds of embedding, clustering and training; for SCL, passes over the crops.
        iterations: batches per epoch, whatever the size of the data; 0 means all crops, which only
            SCL offers.
        learning_rate: initial learning rate; with a warm-up, the one that it reaches.
        weight_decay: L2, on all parameters.
        shape: ``step`` drops the learning rate by ``decay`` after every ``step`` epochs; ``cosine``
            lowers it along half a wave (Loshchilov and Hutter, ICLR 2017) that would reach zero one
            epoch after the last.
        step: epochs between drops of the learning rate.
        decay: factor of each drop.
        rate_warmup: number of first epochs in which the learning rate rises linearly.
        average: share that a moving average of the network's weights and running statistics keeps
            at each batch, such as 0.998; less in the first batches. The averaged network then
            embeds for clustering, is measured, and is the result. 0 is off, as in the papers.
    """

    optimiser: Literal["adam", "sgd"] = "adam"
    epochs: Positive = 60
    iterations: Annotated[int, Field(ge=0)] = 200
    learning_rate: Annotated[float, Field(gt=0.0)] = 3.5e-4
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    shape: Literal["step", "cosine"] = "step"
    step: Positive = 20
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    rate_warmup: Annotated[int, Field(ge=0)] = 0
    average: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    def __post_init__(self) -> None:
        """Check that the rate is reached."""
        if self.rate_warmup and self.rate_warmup >= self.epochs:
            raise ValueError(
                f"rate_warmup is {self.rate_warmup}, must be below epochs = {self.epochs}"
            )


@dataclass(frozen=True, config=STRICT)
class WarmupOptions:
    """Self-supervised warm-up before the first clustering (Barlow Twins, Zbontar et al. 2021).

    Attributes:
        epochs: warm-up epochs of ``schedule.iterations`` batches; 0 is off, as in the papers.
        batch: crops per batch, each in two augmentations.
        redundancy: weight of the off-diagonal terms.
    """

    epochs: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=2)] = 64
    redundancy: Annotated[float, Field(gt=0.0)] = 0.005


@dataclass(frozen=True, config=STRICT)
class DataOptions:
    """The crops to train on.

    Attributes:
        path: the data set's folder, or a manifest file.
        also: more data sets; each is a site of its own, and people are not matched across sites.
        synthetic: folders of synthetic people, each a site of its own. Their identities are free
            and serve as labels; a folder without the note of our own program is refused.
        layout: how names give identity and camera; ``auto`` recognises it by the files.
        pattern: for the layout ``folders``, such as ``{camera}/{name}``.
        skip_bad: count and list unusable files instead of stopping at the first.
        keep: where decoded crops are kept: ``device`` (GPU memory), ``host`` (main memory, pinned
            for a GPU) or ``disk`` (a file in the run's folder, read as needed); ``auto`` takes the
            first of these with enough room. Query and gallery are never kept on a GPU.
    """

    path: str = ""
    also: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()
    layout: Literal["auto", Layout] = "auto"
    pattern: str | None = None
    skip_bad: bool = False
    keep: Literal["auto", "device", "host", "disk"] = "auto"


@dataclass(frozen=True, config=STRICT)
class EvaluationOptions:
    """When to measure, and which epoch is the result.

    Attributes:
        every: epochs between measurements; the last epoch is always measured; 0 means never.
        select: which epoch's network is the result. ``last``: the last epoch. ``validation``: the
            measured epoch whose cameras agree best, without labels. ``test``: the epoch with the
            best mAP on query and gallery under market1501. That looks at test data, as published
            numbers do.
        crops: number of training crops, chosen once, on which the cameras' agreement is measured.
    """

    every: Annotated[int, Field(ge=0)] = 10
    select: Literal["last", "validation", "test"] = "last"
    crops: Positive = 2000
