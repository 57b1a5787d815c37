"""Crops are the same wherever they are kept."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from service.errors import InvalidInput
from training.core.config import read_config
from training.core.distributed import World
from training.core.pixels import FreeMemory, Pixels, choose_place, free_memory, load_pixels
from training.data.datasets import DataSource, read_dataset

CPU = torch.device("cpu")
ON_GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="GPU: there is no CUDA device"),
    ],
)


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize("on_device", [False, True])
def test_crops_are_returned_in_the_requested_order(device, on_device):
    rows = np.random.default_rng(0).integers(0, 256, (9, 4, 2, 3), dtype=np.uint8)
    pixels = Pixels(rows, torch.device(device), on_device=on_device)
    assert len(pixels) == 9
    taken = pixels.take(np.array([7, 0, 7]))
    assert taken.device.type == device
    np.testing.assert_array_equal(taken.cpu(), rows[[7, 0, 7]])


@pytest.mark.parametrize("keep", ["auto", "host", "disk"])
def test_every_place_returns_the_same_crops_and_leaves_no_file(drawn, tmp_path, keep):
    samples = read_dataset(DataSource(drawn)).train[:12]
    config = read_config(None, {"model.height": 64, "model.width": 32, "data.keep": keep})
    images, pixels = load_pixels(samples, config, World(CPU), tmp_path)
    assert isinstance(images.pixels, np.memmap) == (keep == "disk")
    index = np.array([3, 1, 11])
    np.testing.assert_array_equal(pixels.take(index), images.pixels[index])
    in_memory, _ = load_pixels(
        samples,
        read_config(None, {"model.height": 64, "model.width": 32, "data.keep": "host"}),
        World(CPU),
        tmp_path,
    )
    np.testing.assert_array_equal(images.pixels, in_memory.pixels)
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_crop_is_left_out_on_disk_too(drawn, tmp_path):
    samples = read_dataset(DataSource(drawn)).train[:4]
    bad = tmp_path / "torn.jpg"
    bad.write_bytes(b"no picture")
    torn = [samples[0], type(samples[0])(bad, -1, 0), *samples[1:]]
    changes = {"model.height": 64, "model.width": 32, "data.keep": "disk", "data.skip_bad": True}
    images, pixels = load_pixels(torn, read_config(None, changes), World(CPU), tmp_path)
    assert images.samples == samples
    assert len(pixels) == len(images.pixels) == 4
    assert [skipped.path for skipped in images.skipped] == [bad]


@pytest.mark.parametrize(
    ("device", "host", "place"),
    [(4000, 0, "device"), (3999, 2000, "host"), (0, 2000, "host"), (3999, 1999, "disk")],
)
def test_auto_takes_the_first_place_with_ample_room(device, host, place):
    assert choose_place(1000, "auto", FreeMemory(device, host)) == place


def test_the_requested_place_is_used_or_rejected():
    assert choose_place(1000, "disk", FreeMemory(10**6, 10**6)) == "disk"
    assert choose_place(1000, "host", FreeMemory(10**6, 0)) == "host"
    assert choose_place(1000, "device", FreeMemory(1001, 0)) == "device"
    with pytest.raises(InvalidInput, match="GPU memory free; use auto, host or disk"):
        choose_place(1000, "device", FreeMemory(0, 10**6))


def test_free_memory_is_shared_by_the_processes_of_a_machine(monkeypatch):
    alone = free_memory(World(CPU))
    assert alone.device == 0
    assert alone.host > 0
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_memory(World(CPU)).host < alone.host / 2


def test_a_disk_that_is_too_small_is_an_error(drawn, tmp_path):
    """Ten million rows of the same crop would need 10^14 bytes."""
    sample = read_dataset(DataSource(drawn)).train[0]
    changes = {"model.height": 1024, "model.width": 1024, "data.keep": "disk"}
    with pytest.raises(InvalidInput, match=r"data.keep = 'disk': .* GB free for"):
        load_pixels([sample] * 10**7, read_config(None, changes), World(CPU), tmp_path)
