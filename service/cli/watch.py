"""``python -m service watch``: what a camera sees, into a gallery of a running service."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.errors import errors_in_one_line
from service.cli.options import DEFAULT_URL, ApiKey, GalleryName, TimeZone, Url
from service.errors import InvalidInput
from service.http.plain_lines import one_line
from service.values.boxes import LOWEST_SCORE
from service.values.names import name_of
from service.values.tiling import Grid
from service.values.timestamps import parse_timestamp
from service.values.zones import read_zone
from service.video.needed import require_video
from service.video.sampling import FPS, LEAST_FPS, LEAST_FPS_OF_TRACKS, MOST_FPS

if TYPE_CHECKING:
    from service.client import Client, ServiceError
    from service.watch.frame import Source
    from service.watch.sending import Receiver, Sender, Where
    from service.watch.tally import Tally

_LONGEST_CAMERA = 100  # characters, so that ids of crops have room for a time and a number
_PAUSE = 5.0  # seconds between two attempts to reach a service that stays away

SourceName = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="a video file, a folder into which frames are written, or the address of a stream: "
        "rtsp://..., http://...",
        show_default=False,
    ),
]
Camera = Annotated[str, typer.Option(help="name of the camera", show_default=False)]
Fps = Annotated[
    float | None,
    typer.Option(
        min=LEAST_FPS,
        max=MOST_FPS,
        help=f"frames per second to send; default: {FPS:g}, and all frames of a folder",
    ),
]
Tiles = Annotated[
    str | None,
    typer.Option(help="look at overlapping tiles of each frame too, COLUMNSxROWS, such as 2x2"),
]
Score = Annotated[
    float | None,
    typer.Option(
        min=LOWEST_SCORE, max=1.0, help="persons have a score above it; default: the detector's"
    ),
]
Tracks = Annotated[
    bool | None,
    typer.Option(
        "--tracks/--no-tracks",
        help="follow persons from frame to frame, and store only the best pictures of each, with "
        "the name of the track; default: if at least 1 frame per second is sent, see --fps",
    ),
]
Start = Annotated[
    str | None,
    typer.Option(help="when the first frame of a video file was taken; default: not known"),
]
Once = Annotated[
    bool, typer.Option("--once", help="of a folder: end when every file in it has been sent")
]
Every = Annotated[float, typer.Option(min=0.1, help="seconds between two lines of output")]
AsJson = Annotated[bool, typer.Option("--json", help="print lines of JSON, for programs")]


def watch(
    source: SourceName,
    camera: Camera,
    gallery: GalleryName = "default",
    fps: Fps = None,
    tiles: Tiles = None,
    score: Score = None,
    tracks: Tracks = None,
    timestamp: Start = None,
    zone: TimeZone = None,
    once: Once = False,
    every: Every = 10.0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: ApiKey = None,
) -> None:
    """Follow a camera, and store the persons it sees in a gallery of a running service.

    Needs the extra video. A lost stream is connected again; frames of a stream that come faster
    than the service takes them are dropped, the oldest first. Ctrl-C ends with a summary. The exit
    status is 1 if a frame could not be used.
    """
    with errors_in_one_line():
        from service.client import Client
        from service.watch.sending import Patience, Receiver, Where
        from service.watch.tally import Tally
        from service.watch.watching import Reports, Watching

        require_video("video")
        where = Where(gallery, _camera_of(camera), _tiles_of(tiles), score)
        start = None if timestamp is None else _start_of(timestamp, zone)
        tally, printer = Tally(), _Printer(as_json=as_json)
        with Client(url, key or "") as client:
            frames = _source(source, where, fps, start, client, once=once)
            client.galleries.provide(gallery)
            patience = Patience(forever=frames.live, wait=_wait_after)
            receiver = Receiver(client, where, patience)
            sender = _sender(frames, tracks, receiver, tally, printer.complain)
            watching = Watching(frames, sender, tally, Reports(printer.tell, every))
            _run(watching.run, lambda: printer.end(watching.settle()))
    if tally.frames_failed:
        raise typer.Exit(1)


def _run(action: Callable[[], None], end: Callable[[], None]) -> None:
    """Run until the end, or until SIGTERM, which counts as Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        action()
    finally:
        end()
        signal.signal(signal.SIGTERM, before)


def _source(
    name: str, where: Where, fps: float | None, start: float | None, client: Client, *, once: bool
) -> Source:
    """Find out what kind of source it is."""
    from service.watch.film import Film
    from service.watch.folder import Folder
    from service.watch.stream import Stream, is_stream

    pixels = client.ops.info().limits.max_image_pixels
    if once and not Path(name).is_dir():
        raise InvalidInput("--once is for folders, and this is none")
    if start is not None and not Path(name).is_file():
        raise InvalidInput("--timestamp is for video files, and this is none")
    if is_stream(name):
        return Stream(name, where.camera, fps or FPS, pixels)
    if Path(name).is_dir():
        return Folder(Path(name), where.camera, fps, once=once)
    if Path(name).is_file():
        return Film(Path(name), fps or FPS, start, pixels)
    raise InvalidInput(f"{name}: no such file or folder, and not rtsp:// or http://")


def _sender(
    source: Source,
    tracks: bool | None,
    receiver: Receiver,
    tally: Tally,
    complain: Callable[[str, str], object],
) -> Sender:
    from service.watch.sending import PlainSender

    fps = source.fps or 0.0
    if tracks and fps < LEAST_FPS_OF_TRACKS:
        raise InvalidInput(
            f"--tracks needs --fps of at least {LEAST_FPS_OF_TRACKS:g}: people leave their places "
            "between two frames"
        )
    if tracks is False or fps < LEAST_FPS_OF_TRACKS:
        return PlainSender(receiver, tally, complain)
    from service.tracking.keeping import KeepingOptions
    from service.watch.following import FollowingSender

    options = KeepingOptions(fps, receiver.where.score)
    return FollowingSender(receiver, options, source.track_prefix, tally, complain)


class _Printer:
    """Prints what becomes of the frames."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def tell(self, tally: Tally, *, final: bool = False) -> None:
        if self._as_json:
            print(json.dumps(tally.record() | {"final": final}), flush=True)
        else:
            print(tally.line(), flush=True)

    def end(self, tally: Tally) -> None:
        self.tell(tally, final=True)

    def complain(self, frame_id: str, reason: str) -> None:
        print(one_line(f"failed: {frame_id}: {reason}"), file=sys.stderr, flush=True)


def _wait_after(error: ServiceError) -> bool:
    """Wait before the service is asked again."""
    print(one_line(f"warning: {error}; trying again"), file=sys.stderr, flush=True)
    threading.Event().wait(_PAUSE)
    return True


def _camera_of(text: str) -> str:
    try:
        camera = name_of(text)
    except ValueError as error:
        raise InvalidInput(f"camera {text[:80]!r}: {error}") from error
    if len(camera) > _LONGEST_CAMERA:
        raise InvalidInput(f"the name of a camera has at most {_LONGEST_CAMERA} characters here")
    return camera


def _tiles_of(text: str | None) -> str | None:
    if text is not None:
        Grid.read(text)
    return text


def _start_of(text: str, zone: str | None) -> float:
    try:
        return parse_timestamp(text, None if zone is None else read_zone(zone))
    except ValueError as error:
        raise InvalidInput(f"timestamp: {error}") from error
