"""File name layouts of well-known data sets, for the service and training.

Each layout reads identity and camera from a path, exactly as the path spells them. If a data set
counts people from 0, person 0 is a person. Only if a data set itself uses a number as a marker, as
Market-1501 and MARS do for junk and distractors, is that number not a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from service.values import vocabulary

LayoutName = vocabulary.LayoutName


@dataclass(frozen=True, slots=True)
class Named:
    """What a file's name contains.

    Attributes:
        identity: the person on the image; None if unknown.
        camera: the camera that took it; None if unknown.
    """

    identity: str | None
    camera: str | None


@dataclass(frozen=True, slots=True)
class Junk:
    """A file that its data set marks as junk, and the reason to report."""

    reason: str


@dataclass(frozen=True, slots=True)
class NameLayout:
    """A layout of file names.

    Attributes:
        name: its name on the command line and in requests.
        of: the data sets that use it.
        example: a path that matches.
        rule: matches the end of a path without its suffix, from the start of a component.
        identity: how an identity is made of the rule's groups.
        camera: how a camera is made of them.
        cameras: names of cameras by how paths spell them, if they differ.
        junk: identities that mark junk.
        distractors: names that mark unknown people.
    """

    name: LayoutName
    of: str
    example: str
    rule: re.Pattern[str]
    identity: str = "{identity}"
    camera: str = "{camera}"
    cameras: dict[str, str] = field(default_factory=dict)
    junk: frozenset[str] = frozenset()
    distractors: re.Pattern[str] | None = None

    def read(self, path: str) -> Named | Junk | None:
        """Read a path.

        Args:
            path: relative, with forward slashes.

        Returns:
            Identity and camera, or that the file is junk; None if the path does not match.
        """
        found = self._match(path)
        if found is None:
            return None
        groups = found.groupdict()
        identity, camera = self.identity.format(**groups), self.camera.format(**groups)
        if identity in self.junk:
            return Junk(f"identity {identity} marks junk in {self.name} names")
        is_nobody = self.distractors is not None and self.distractors.fullmatch(found[0])
        return Named(None if is_nobody else identity, self.cameras.get(camera, camera))

    def _match(self, path: str) -> re.Match[str] | None:
        parts = PurePosixPath(path).with_suffix("").parts if PurePosixPath(path).name else ()
        tails = ("/".join(parts[start:]) for start in reversed(range(len(parts))))
        return next((found for tail in tails if (found := self.rule.fullmatch(tail))), None)


def _layout(name: LayoutName, of: str, example: str, rule: str, **more: object) -> NameLayout:
    return NameLayout(name, of, example, re.compile(rule, re.DOTALL), **more)  # type: ignore[arg-type]


_ALL = (
    _layout(
        "market1501",
        "Market-1501: -1 is junk, 0000 with a sequence (s1) a distractor",
        "0002_c1s1_000451_03.jpg",
        r"(?P<identity>-1|\d+)_(?P<camera>c\d+)(?P<sequence>s\d+)?(?:[_.].*)?",
        junk=frozenset({"-1"}),
        # Market-1501 itself always has the sequence; data sets renamed to its style do not.
        distractors=re.compile(r"0+_c\d+s\d+.*"),
    ),
    _layout(
        "dukemtmc",
        "DukeMTMC-reID, CUHK03-NP, and MSMT17 renamed",
        "0005_c2_f0046985.jpg",
        r"(?P<identity>\d+)_(?P<camera>c\d+)(?:[_.].*)?",
    ),
    _layout(
        "msmt17",
        "MSMT17; train and test count people from 0 each",
        "0000_000_01_0303morning_0015_0.jpg",
        r"(?P<identity>\d+)_\d+_(?P<camera>\d+)_\d+[a-z]+_.*",
    ),
    _layout(
        "mars",
        "MARS: 00-1 is junk, 0000 a distractor",
        "0001C1T0001F001.jpg",
        r"(?P<identity>\d{4}|00-1)(?P<camera>C\d+)T\d+F\d+",
        junk=frozenset({"00-1"}),
        distractors=re.compile(r"0000C.*"),
    ),
    _layout(
        "viper",
        "VIPeR",
        "cam_a/000_45.bmp",
        r"(?P<camera>cam_[ab])/(?P<identity>\d+)_\d+",
    ),
    _layout(
        "cuhk01",
        "CUHK01: four digits of a person, then 001 and 002 by camera A, 003 and 004 by B",
        "0001003.png",
        r"(?P<identity>\d{4})(?P<camera>00[1-4])",
        cameras={"001": "A", "002": "A", "003": "B", "004": "B"},
    ),
    _layout(
        "cuhk03",
        "CUHK03 as unpacked from its .mat file: pair of cameras, person, view, picture",
        "1_001_2_01.png",
        r"(?P<pair>\d)_(?P<person>\d{3,4})_(?P<view>[12])_\d+",
        identity="{pair}_{person}",
        camera="{pair}_{view}",
    ),
    _layout(
        "grid",
        "QMUL GRID: 0000 is an unknown person",
        "probe/0001_1_25004_107_32_106_221.jpeg",
        r"(?P<identity>\d{4})_(?P<camera>\d)_\d+_\d+_\d+_\d+_\d+",
        distractors=re.compile(r"0000_.*"),
    ),
    _layout(
        "ilids-vid",
        "iLIDS-VID",
        "cam1/person001/cam1_person001_00317.png",
        r"(?P<camera>cam\d+)_person(?P<identity>\d+)(?:_\d+)?",
    ),
    _layout(
        "ltcc",
        "LTCC: person, clothes, camera, frame",
        "002_1_c11_015939.png",
        r"(?P<identity>\d+)_\d+_(?P<camera>c\d+)_\d+",
    ),
    _layout(
        "sysu-mm01",
        "SYSU-MM01",
        "cam1/0001/0001.jpg",
        r"(?P<camera>cam\d+)/(?P<identity>\d+)/\d+",
    ),
    _layout(
        "camera-first",
        "names of camera, person and picture, in this order",
        "c1_065_0.png",
        r"(?P<camera>c(?:am)?\d+)_(?P<identity>\d+)_\d+",
    ),
)

LAYOUTS: dict[str, NameLayout] = {layout.name: layout for layout in _ALL}
"""Every built-in layout by its name."""


def fitting(path: str, among: Iterable[str] = LAYOUTS) -> list[str]:
    """Find the layouts that a path matches.

    Args:
        path: relative, with forward slashes.
        among: names of the layouts to try.

    Returns:
        Their names.
    """
    return [name for name in among if LAYOUTS[name].read(path) is not None]
