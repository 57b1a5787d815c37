"""The shipped detector, and frames with drawn people at known places."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.detection.onnx_detector import OnnxDetector
from service.testing import encode
from training.synthetic import SyntheticOptions, synthesize

ROOT = Path(__file__).parents[3]
NANODET = ROOT / "models" / "nanodet-person"
REFERENCE = ROOT.parent / "shared" / "thirdparty" / "nanodet" / "detect_reference.py"
PEOPLE = SyntheticOptions(identities=8, cameras=2, crops=2, seed=3)


@dataclass(frozen=True)
class DrawnFrame:
    """A frame with people; ``places`` holds x, y, width and height of each crop pasted into it."""

    pixels: NDArray[np.uint8]
    places: list[tuple[int, int, int, int]]

    @property
    def file(self) -> bytes:
        return encode(self.pixels)


@pytest.fixture(scope="session")
def drawn_people(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    """Crops of drawn people on their backdrops."""
    folder = tmp_path_factory.mktemp("drawn") / "people"
    synthesize(folder, PEOPLE)
    files = sorted(folder.rglob("*.jpg"))
    return [Image.open(BytesIO(file.read_bytes())).convert("RGB") for file in files]


def paste(crops: list[Image.Image], size: tuple[int, int], height: int, columns: int) -> DrawnFrame:
    """Paste crops at a height onto a grey frame, in a grid with equal gaps."""
    frame = Image.new("RGB", size, (128, 128, 128))
    rows = -(-len(crops) // columns)
    places = []
    for number, crop in enumerate(crops):
        width = round(crop.width * height / crop.height)
        x = round((number % columns + 0.5) * size[0] / columns - width / 2)
        y = round((number // columns + 0.5) * size[1] / rows - height / 2)
        frame.paste(crop.resize((width, height)), (x, y))
        places.append((x, y, width, height))
    return DrawnFrame(np.asarray(frame), places)


@pytest.fixture(scope="session")
def group(drawn_people: list[Image.Image]) -> DrawnFrame:
    """Eight people, large enough to be seen on the whole frame."""
    return paste(drawn_people[::4][:8], (640, 480), 200, 4)


@pytest.fixture(scope="session")
def far_group(drawn_people: list[Image.Image]) -> DrawnFrame:
    """Twelve people on a large frame, 31 pixels high on the network's input."""
    return paste(drawn_people[::2][:12], (1280, 720), 96, 6)


@pytest.fixture(scope="session")
def detector() -> OnnxDetector:
    return OnnxDetector(NANODET, device="cpu", threads=1)


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """An independent program that does what has to happen around the network."""
    if not REFERENCE.is_file():
        pytest.skip("../shared: thirdparty/nanodet with the plain reference is absent")
    spec = importlib.util.spec_from_file_location("detect_reference", REFERENCE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
