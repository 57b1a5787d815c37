"""What a run does before its first epoch, whatever its method: its folder, its crops, its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from service.errors import InvalidInput
from training.core.camera_colours import Palette, mix_palette
from training.core.checkpoint import FILE_NAME, Checkpoint, load_checkpoint
from training.core.config import TrainConfig
from training.core.distributed import World
from training.core.method_options import ClusterOptions
from training.core.options import DataOptions
from training.core.pixels import Pixels, host_room, load_pixels
from training.core.transforms import Donors
from training.data.datasets import UNKNOWN, Dataset, DataSource, Sample, read_dataset
from training.data.entries import describe_skipped
from training.data.images import Images
from training.data.known_pairs import KnownPairs
from training.data.sites import join_sites
from training.measure.held_out import HeldOutCrops
from training.run.ignored import refuse_ignored
from training.run.measuring import load_measurable
from training.run.synthetic_people import read_synthetic


@dataclass(frozen=True, slots=True)
class Crops:
    """The crops that a run learns from and is measured on.

    Attributes:
        images: the N training crops.
        pixels: the same crops, by index on the device.
        cameras: (N,) int64.
        sites: (N,) int64.
        identities: (N,) int64, 0..G-1 for a crop of a synthetic person, whose identity is a label;
            -1 for a crop without a label. Those come first.
        held_out: query and gallery; only in the first process, which measures.
        palette: the colours of all crops, if crops may get those of another camera.
        revealed: (U,) int64, the true identities 0..G-1 of the U crops without a label, if they
            replace clusters; None in every run that makes a model without labels.
    """

    images: Images
    pixels: Pixels
    cameras: NDArray[np.int64]
    sites: NDArray[np.int64]
    identities: NDArray[np.int64]
    held_out: list[HeldOutCrops]
    revealed: NDArray[np.int64] | None = None
    palette: Palette | None = None

    def donors(self, chosen: NDArray[np.int64]) -> Donors | None:
        """Whose colours some of the crops may get; None if the run leaves their own.

        Args:
            chosen: (n,) int64, the crops.
        """
        return None if self.palette is None else Donors(self.palette, self.cameras[chosen])

    def known_pairs(self, options: ClusterOptions) -> KnownPairs:
        """What is known of the crops without a label.

        Args:
            options: say whether tracks and frames are used.
        """
        count = int((self.identities == UNKNOWN).sum())
        samples, sites = self.images.samples[:count], self.sites[:count]
        return KnownPairs.of(samples, sites, tracks=options.tracks, frames=options.frames)

    @property
    def judged(self) -> tuple[Images, NDArray[np.int64]]:
        """The crops that clusters and cameras' agreement are reported for, and their sites.

        These are the crops without a label, or all crops if all are of synthetic people.
        """
        count = int((self.identities == UNKNOWN).sum()) or len(self.identities)
        shown = Images(self.images.pixels[:count], self.images.samples[:count], ())
        return shown, self.sites[:count]


def read_crops(config: TrainConfig, output: Path, world: World) -> Crops:
    """Read all data sets of a run and print what was found and skipped.

    Args:
        config: the run's config.
        output: the run's folder.
        world: the run's processes.

    Returns:
        The crops.

    Raises:
        InvalidInput: a data set cannot be read, or there is no room for its crops.
    """
    unlabelled = _read_unlabelled(config.data)
    datasets = [*unlabelled, *read_synthetic(config.data.synthetic)]
    samples, site_of_camera = join_sites(datasets)
    images, pixels = load_pixels(samples, config, world, output)
    cameras = np.array([sample.camera for sample in images.samples])
    sites = site_of_camera[cameras]
    identities = _free_identities(images.samples, sites >= len(unlabelled))
    room = partial(host_room, config=config, world=world, folder=output)
    held_out = load_measurable(unlabelled or datasets, config, room) if world.first else []
    _tell(datasets, images, held_out)
    palette = None
    if config.augment.camera_colours:
        palette = mix_palette(pixels, cameras, sites, tqdm.write)
    return Crops(images, pixels, cameras, sites, identities, held_out, palette=palette)


def _read_unlabelled(data: DataOptions) -> list[Dataset]:
    if not data.path and not data.synthetic:
        raise InvalidInput("data.path and data.synthetic are empty: there are no crops")
    return [
        read_dataset(
            DataSource(Path(path), layout=data.layout, pattern=data.pattern, skip_bad=data.skip_bad)
        )
        for path in (data.path, *data.also)
        if path
    ]


def _free_identities(samples: Sequence[Sample], synthetic: NDArray[np.bool_]) -> NDArray[np.int64]:
    """0..G-1 for synthetic crops; for all others -1, whatever their data set knows."""
    found = np.array([sample.identity for sample in samples], dtype=np.int64)
    identities = np.full(len(found), UNKNOWN, dtype=np.int64)
    identities[synthetic] = np.unique(found[synthetic], return_inverse=True)[1]
    return identities


def _tell(datasets: list[Dataset], crops: Images, held_out: list[HeldOutCrops]) -> None:
    for dataset in datasets:
        tqdm.write(dataset.summary)
    unreadable = [*crops.skipped]
    unreadable += [e for each in held_out for e in (*each.query.skipped, *each.gallery.skipped)]
    for line in describe_skipped([*(e for d in datasets for e in d.skipped), *unreadable]):
        tqdm.write(line)


def saved_checkpoint(config: TrainConfig, output: Path, *, resume: bool) -> Checkpoint | None:
    """Read the checkpoint that a run continues from, if its folder holds one.

    Args:
        config: the run's config.
        output: the run's folder.
        resume: whether the run may continue from there.

    Returns:
        The last epoch's checkpoint; None in a new folder.

    Raises:
        InvalidInput: the folder holds a run that is not to be resumed or has other options, or a
            new run sets options that its method ignores.
    """
    if not (output / FILE_NAME).exists():
        refuse_ignored(config)  # not for older runs, which go on as they began
        return None
    if not resume:
        raise InvalidInput(f"{output} already holds a run: --resume continues it")
    saved = load_checkpoint(output)
    if saved.config != config:
        old, new = saved.config.as_dict(), config.as_dict()
        changed = [name for name in new if old[name] != new[name]]
        raise InvalidInput(
            f"{output} was started with other options for {', '.join(changed)}; "
            "resume with the same options, or choose another --output"
        )
    return saved


def seed_epoch(seed: int, epoch: int) -> np.random.Generator:
    """Seed torch and NumPy for an epoch.

    An epoch's random choices follow from the seed and its number, so resuming needs no saved state.

    Args:
        seed: the run's seed.
        epoch: number of the epoch.

    Returns:
        NumPy's generator.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
    return np.random.default_rng([seed, epoch])
