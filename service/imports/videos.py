"""Read the videos of an import: a frame now and then, whose persons the service looks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from service.errors import InvalidInput, ReidError, TooLarge
from service.imports.items import ImportLimits, Items, WholeFrame, refused
from service.imports.messages import Done, Expect, Message
from service.ingest.crop_files import CropFile, Naming, described
from service.ingest.crop_names import naming_of
from service.ingest.picture_files import LeftOut
from service.ingest.reading import CropValues, Reading, Zones, read_values
from service.ingest.summary import ImportSummary
from service.values.frame_ids import MAX_FRAME_ID
from service.video.needed import require_video
from service.video.sampling import FPS, Sampler, expected_frames

_DIGITS = 6  # of a frame's number; longer ones are written whole
_LONGEST_NAME = MAX_FRAME_ID - len("/123456789")

Beat: TypeAlias = Callable[[], object]
Work: TypeAlias = Callable[[Beat], Iterator[Message]]
"""Work in pieces, the last of which is :class:`Done`; it calls its argument on progress."""

Apart: TypeAlias = Callable[[Work], Iterator[Message]]
"""A way to do work, such as in another process. Raises what the work raises."""

Opening: TypeAlias = Callable[[], BinaryIO]
"""Opens a file. Raises OSError, or InvalidInput: it must not be opened."""


def here(work: Work) -> Iterator[Message]:
    """Do work in this process."""
    return work(int)


@dataclass(frozen=True, slots=True)
class VideoRules:
    """How the videos of an import are read.

    Attributes:
        fps: frames per second to look at.
        naming: reads the names of the files.
        known: camera and start of videos whose name does not state them.
        reading: how times are read; collects remarks.
    """

    fps: float
    naming: Naming
    known: CropValues
    reading: Reading

    @classmethod
    def read(cls, spec: Mapping[str, Any], reading: Reading) -> VideoRules:
        """Read the rules of a job's spec.

        Args:
            spec: ``fps``, ``camera``, ``timestamp`` and ``pattern`` are all optional.
            reading: how times without a zone are read.

        Raises:
            InvalidInput: a value breaks a rule.
        """
        given = {name: spec.get(name) for name in ("camera", "timestamp")}
        known = read_values(given, reading, "field")
        if known.camera is not None:  # its zone is also that of times in names
            zones = Zones(reading.zone(None, known.camera), reading.zones.cameras)
            reading = Reading(zones, reading.remarks)
        pattern = spec.get("pattern")
        naming = _plainly if pattern is None else naming_of(pattern, None, reading)
        return cls(spec.get("fps") or FPS, naming, known, reading)

    def name(self, path: Path) -> NamedVideo | LeftOut:
        """Read the name of a video file.

        Args:
            path: relative to the import's folder.

        Returns:
            What it says; or why the file is left out.
        """
        entry = self.naming(path, Path())
        if not isinstance(entry, CropFile):
            return entry
        crop, known = entry.crop, self.known
        if len(crop.crop_id) > _LONGEST_NAME:
            return refused(path, f"the name of a video has at most {_LONGEST_NAME} characters")
        start = crop.timestamp
        if start is None and known.moment is not None:
            start = known.moment.seconds
            self.reading.remarks.note(CropValues(None, None, None, known.moment))
        return NamedVideo(path, crop.crop_id, crop.camera or known.camera, start)


@dataclass(frozen=True, slots=True)
class NamedVideo:
    """What is known of a video before it is opened.

    Attributes:
        path: the file, for messages.
        video_id: begins the ids of its frames.
        camera: that took it, if known.
        start: time of its first frame, in seconds since 1970-01-01 UTC, if known.
    """

    path: Path
    video_id: str
    camera: str | None
    start: float | None

    def frame(self, number: int, seconds: float, data: bytes) -> WholeFrame:
        """A frame of it.

        Args:
            number: its place in the video, from 0.
            seconds: its time since the first frame.
            data: an image file.

        Returns:
            The frame, with the id ``VIDEO/000451``.
        """
        return WholeFrame(
            f"{self.path} at {seconds:.1f} s",
            self.video_id,
            f"{self.video_id}/{number:0{_DIGITS}}",
            seconds,
            self.camera,
            None if self.start is None else self.start + seconds,
            data,
        )


class VideoReader:
    """Reads the videos of one import; one that cannot be read fails alone.

    Args:
        rules: how they are read.
        limits: limits of the import.
        apart: where the decoder runs.
        more: called with the number of items that come in addition to those expected so far.
        summary: takes notes about single videos.
        refusal: why no video can be used; empty if they can.
    """

    def __init__(
        self,
        rules: VideoRules,
        limits: ImportLimits,
        apart: Apart,
        more: Callable[[int], object],
        summary: ImportSummary,
        refusal: str = "",
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._apart = apart
        self._more = more
        self._summary = summary
        self._refusal = refusal
        self._seen: set[str] = set()
        self._frames = 0

    def items(self, path: Path, opening: Opening) -> Items:
        """Read one video, which counts as one item until it is opened.

        Args:
            path: its name, relative to the import's folder.
            opening: opens the file.

        Yields:
            The frames to look at, and why the file is left out or cannot be read any further.
        """
        try:
            named = self._usable(path)
        except ReidError as error:
            named = refused(path, error)
        if isinstance(named, LeftOut):
            yield named
            return
        expected, count = 1, 0
        try:
            for message in self._apart(_Decoding(named, opening, self._rules.fps, self._limits)):
                match message:
                    case Expect(total):
                        self._more(total - expected)
                        expected = total
                    case WholeFrame() | LeftOut():
                        count += 1
                        self._count_frame()
                        yield message
                    case Done(result):
                        self._note(path, result)
        except ReidError as error:
            yield refused(path, f"{error}{_after(count)}")
            count += 1
        self._more(count - expected)

    def _usable(self, path: Path) -> NamedVideo | LeftOut:
        """Raises ReidError: no video can be read, or this one's name is taken."""
        named = self._rules.name(path)
        if isinstance(named, LeftOut):
            return named
        if self._refusal:
            raise InvalidInput(self._refusal)
        require_video()
        import_module("service.video.decoding")  # once, and not in every child
        if named.video_id in self._seen:
            raise InvalidInput(f"another video is called {named.video_id!r} too")
        self._seen.add(named.video_id)
        return named

    def _count_frame(self) -> None:
        self._frames += 1
        self._limits.check_items(self._frames)

    def _note(self, path: Path, result: Mapping[str, Any]) -> None:
        if damaged := result["damaged"]:
            packets = "1 damaged packet" if damaged == 1 else f"{damaged:,} damaged packets"
            self._summary.note(f"{path}: {packets} passed over; frames may be missing")


@dataclass(frozen=True, slots=True)
class _Decoding:
    """Decodes one video, and picks frames."""

    named: NamedVideo
    opening: Opening
    fps: float
    limits: ImportLimits

    def __call__(self, beat: Beat) -> Iterator[Message]:
        from service.video.decoding import VideoLimits, open_video  # noqa: PLC0415 - an extra

        sampler = Sampler(self.fps)
        limits = VideoLimits(self.limits.image_pixels)
        with self._opened() as file, open_video(file, limits, beat) as video:
            yield Expect(expected_frames(video.seconds or 0.0, video.rate, self.fps))
            for frame in video.frames():
                if sampler.takes(frame.seconds):
                    found = self.named.frame(frame.number, frame.seconds, frame.jpeg())
                    yield self._fitting(found)
            yield Done({"damaged": video.damaged})

    def _fitting(self, frame: WholeFrame) -> WholeFrame | LeftOut:
        try:
            self.limits.check_image(len(frame.data))
        except ReidError as error:
            return refused(frame.name, error)
        return frame

    def _opened(self) -> BinaryIO:
        try:
            file = self.opening()
        except OSError as error:
            raise InvalidInput(error.strerror or str(error)) from error
        size, most = os.fstat(file.fileno()).st_size, self.limits.unpacked_bytes
        if size > most:
            file.close()
            raise TooLarge(f"{size:,} bytes: a video may have at most {most:,}")
        return file


def _plainly(path: Path, folder: Path) -> CropFile | LeftOut:
    """Read nothing but the id from the name of a file."""
    return described(path, folder, {})


def _after(frames: int) -> str:
    return f"; the {frames:,} frames before are used" if frames else ""
