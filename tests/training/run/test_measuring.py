"""Measuring between epochs: agreement of cameras without labels, accuracy on query and gallery."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core.config import read_config
from training.core.distributed import World
from training.core.engine import extract_embeddings
from training.data.datasets import Dataset, DataSource, Sample, read_dataset
from training.data.images import Images
from training.hhcl.network import EmbeddingNetwork
from training.measure.agreement import cycle_agreement
from training.measure.held_out import HeldOutCrops
from training.run.measuring import load_measurable, measure_epoch
from training.run.setup import read_crops

CPU = torch.device("cpu")


def colours(identities: int, cameras: int, seed: int = 0) -> Images:
    """Crops of one colour per person, slightly different in each camera."""
    rng = np.random.default_rng(seed)
    pairs = [(who, camera) for who in range(identities) for camera in range(cameras)]
    colour = rng.integers(40, 200, size=(identities, 3))
    shade = rng.integers(-6, 7, size=(cameras, 3))
    pixels = np.stack([np.tile(colour[w] + shade[c], (8, 4, 1)) for w, c in pairs])
    samples = tuple(Sample(Path(f"{w}-{c}.png"), w, c) for w, c in pairs)
    return Images(pixels.astype(np.uint8), samples, ())


@pytest.fixture
def network() -> EmbeddingNetwork:
    """A network that computes mean colours, unit length."""
    return EmbeddingNetwork(torch.nn.Sequential(torch.nn.Identity()), 3, "average")


def measure(network, crops, sites, held_out=(), **options):
    return measure_epoch(network, crops, sites, held_out, read_config(None, options), CPU)


def held_out(name: str, crops: Images) -> HeldOutCrops:
    """The same crops as query and gallery of a data set of that name."""
    samples = crops.samples
    dataset = Dataset(DataSource(Path(name)), "manifest", (), samples, samples, (), (), (), {})
    return HeldOutCrops(dataset, crops, crops)


def cameras_of(crops: Images) -> np.ndarray:
    return np.array([sample.camera for sample in crops.samples])


def test_pairs_of_tracks_and_frames_are_verified_unless_options_ignore_them(network):
    crops = colours(6, 2)
    samples = tuple(
        replace(one, track=2 * one.identity + one.camera, frame=2 * moment + one.camera)
        for moment in range(2)  # everybody is in both frames of both cameras
        for one in crops.samples
    )
    film = Images(np.concatenate([crops.pixels, crops.pixels]), samples, ())
    sites = np.zeros(len(samples), dtype=np.int64)
    assert measure(network, film, sites).verification == 1.0
    assert measure(network, film, sites, **{"clustering.frames": False}).verification is None
    assert measure(network, crops, sites[: len(crops.samples)]).verification is None
    two_sites = np.repeat([0, 1], len(crops.samples))  # now no track has two crops
    assert measure(network, film, two_sites).verification is None


def test_ways_lead_back_to_their_track_where_tracks_are_known(network):
    crops = colours(6, 2)
    twice = np.repeat(np.arange(12), 2)
    sites = np.zeros(24, np.int64)

    def tracked(tracks) -> Images:
        samples = tuple(
            replace(crops.samples[crop], track=int(track))
            for crop, track in zip(twice, tracks, strict=True)
        )
        return Images(crops.pixels[twice], samples, ())

    # A wrong track has a crop of one person and a crop of the next, of the same camera.
    right, wrong = tracked(twice), tracked((twice + 2 * (np.arange(24) % 2)) % 12)
    assert measure(network, right, sites).agreement == 1.0
    assert measure(network, wrong, sites).agreement < 0.7
    unused = measure(network, wrong, sites, **{"clustering.tracks": False}).agreement
    assert unused == measure(network, tracked([-1] * 24), sites).agreement


def test_one_camera_alone_has_no_agreement(network):
    crops = colours(6, 1)
    measured = measure(network, crops, np.zeros(6, np.int64))
    assert measured.agreement is None
    assert measured.map == measured.rank1 == {}


def test_agreement_is_the_mean_over_sites_that_have_two_cameras(network):
    crops = colours(10, 5)
    cameras = cameras_of(crops)
    sites = np.array([0, 0, 1, 1, 2])[cameras]  # the last site has one camera and does not count
    embeddings = extract_embeddings(network, crops.pixels, CPU)
    apart = [cycle_agreement(embeddings[sites == s], cameras[sites == s]) for s in (0, 1)]
    assert measure(network, crops, sites).agreement == pytest.approx(np.mean(apart))
    together = measure(network, crops, np.zeros(50, np.int64)).agreement
    assert together == pytest.approx(cycle_agreement(embeddings, cameras))


def test_agreement_is_measured_on_the_same_sample_every_time(network):
    crops = colours(10, 3)
    sites = np.zeros(30, np.int64)
    few = {"evaluation.crops": 12}
    assert measure(network, crops, sites, **few) == measure(network, crops, sites, **few)
    drawn = {measure(network, crops, sites, seed=s, **few).agreement for s in range(4)}
    assert len(drawn) > 1


def test_with_several_data_sets_figures_are_named_after_them(network):
    crops, test = colours(6, 2), colours(8, 2, seed=1)
    sites = np.zeros(12, np.int64)
    one, other = (held_out(name, test) for name in ("campus", "station"))
    alone = measure(network, crops, sites, [one])
    assert set(alone.map) == set(alone.rank1) == {"market1501", "cross-camera"}
    both = measure(network, crops, sites, [one, other])
    assert set(both.map) == {
        "campus market1501",
        "campus cross-camera",
        "station market1501",
        "station cross-camera",
    }
    for protocol, value in alone.map.items():
        assert both.map[f"campus {protocol}"] == both.map[f"station {protocol}"] == value
        assert both.rank1[f"campus {protocol}"] == alone.rank1[protocol]


def test_query_and_gallery_are_decoded_only_if_the_run_measures(drawn):
    dataset = read_dataset(DataSource(drawn))
    size = {"model.height": 32, "model.width": 32}
    (test,) = load_measurable([dataset], read_config(None, size))
    assert test.dataset.name == "people"
    assert (len(test.query.samples), len(test.gallery.samples)) == (
        len(dataset.query),
        len(dataset.gallery),
    )
    assert load_measurable([dataset], read_config(None, size | {"evaluation.every": 0})) == []


@pytest.mark.parametrize("keep", ["host", "disk"])
def test_query_and_gallery_are_kept_where_the_crops_are(drawn, tmp_path, network, keep):
    size = {"model.height": 32, "model.width": 32, "data.keep": keep}
    config = read_config(None, size | {"data.path": str(drawn)})
    crops = read_crops(config, tmp_path, World(CPU))
    (test,) = crops.held_out
    kept = (crops.images.pixels, test.query.pixels, test.gallery.pixels)
    assert [isinstance(pixels, np.memmap) for pixels in kept] == [keep == "disk"] * 3
    assert list(tmp_path.iterdir()) == []  # a mapped file has no name
    (wanted,) = load_measurable([test.dataset], config)
    np.testing.assert_array_equal(test.gallery.pixels, wanted.gallery.pixels)
    found, same = (
        measure_epoch(network, crops.images, crops.sites, [each], config, CPU)
        for each in (test, wanted)
    )
    assert found == same
    assert found.map["market1501"] > 0


def test_query_and_gallery_go_to_disk_if_memory_is_short(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("training.core.pixels._free_host_memory", lambda: 1000)
    size = {"model.height": 32, "model.width": 32, "data.path": str(drawn)}
    (test,) = read_crops(read_config(None, size), tmp_path, World(CPU)).held_out
    assert isinstance(test.query.pixels, np.memmap)
    assert isinstance(test.gallery.pixels, np.memmap)
