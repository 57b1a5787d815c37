"""Watch films, name the people of the first one, be told where they come next, search for all."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from service.api.events import StoredEvent
from service.cli.film_demo.report import Outcome, report
from service.cli.film_demo.sightings import Sighting, seen_again, sightings_of
from service.cli.film_demo.truth import FILE, LookedAt, Truth
from service.cli.own_service import free_url, leave, serve_on, served, wait_until_ready
from service.client import Client, ServiceError
from service.errors import InvalidInput
from service.tracking.keeping import KeepingOptions, Sight
from service.video.needed import require_video
from service.watch.film import Film
from service.watch.following import FollowingSender, Shot
from service.watch.frame import WatchedFrame
from service.watch.sending import Patience, Receiver, Where
from service.watch.tally import Tally
from service.watch.watching import Reports, Watching

FILMS = Path(__file__).parent / "films"
FPS = 2.5
_GALLERY = "people"
_START = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()
_KINDS = {".mp4", ".avi", ".mkv", ".mov", ".webm"}
_PATIENCE = 120.0  # seconds for events about crops that are stored


def film_demo(folder: Path, model: Path, *, once: bool) -> None:
    """Serve a model with an empty gallery, watch films, and tell who was seen again where.

    Args:
        folder: a film per camera, named after it, all from the same moment on; with a ``truth.csv``
            everything is compared with it.
        model: model folder.
        once: stop after the tables instead of serving until Ctrl-C.

    Raises:
        InvalidInput: the folder has no films, a film cannot be read, or the extra ``video`` is
            missing.
        ServiceError: the service did not start, or rejected a request.
    """
    require_video()
    films = sorted(path for path in _files(folder) if path.suffix.lower() in _KINDS)
    if len(films) < 2:
        raise InvalidInput(f"{folder}: needs the films of two cameras or more, found {len(films)}")
    truth = Truth.read(folder / FILE)
    signal.signal(signal.SIGTERM, leave)
    with tempfile.TemporaryDirectory(prefix="hhcl-reid-demo-") as data:
        url = free_url()
        with served(url, model, Path(data)) as process, Client(url) as client:
            wait_until_ready(process, client, url)
            report(_walk(client, films), truth, url)
            if not once:
                serve_on(process)


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InvalidInput(f"{folder}: {error.strerror}") from error


def _walk(client: Client, films: Sequence[Path]) -> Outcome:
    client.galleries.create(_GALLERY, store_crops=True)  # so that the page can show pictures
    first, *others = films
    frames = _watch(client, first)
    guests = _name(client, sightings_of(client, _GALLERY))
    for watch_for in ("gallery", "unknown"):
        client.watches.create(_GALLERY, watch_for, quiet_seconds=0)
    for film in others:
        frames += _watch(client, film)
    sightings = sightings_of(client, _GALLERY)
    later = [one for one in sightings if one.key not in guests.values()]
    again = seen_again(client, _GALLERY, sightings)
    return Outcome(frames, guests, again, _events(client, later))


def _watch(client: Client, film: Path) -> list[LookedAt]:
    """Do what ``python -m service watch`` does, and note what it sees."""
    camera, frames = film.stem, list[LookedAt]()
    options = KeepingOptions(FPS)

    def observe(
        frame: WatchedFrame, sights: Sequence[Sight[Shot]], names: Sequence[str | None]
    ) -> None:
        number = int(frame.frame_id.rpartition("/")[2])
        seen = [
            (sight.box, name)
            for sight, name in zip(sights, names, strict=True)
            if sight.score >= options.least
        ]
        named = {name: box for box, name in seen if name is not None}
        frames.append(LookedAt(camera, number, [box for box, _ in seen], named))

    tally = Tally()
    source = Film(film, FPS, _START, client.ops.info().limits.max_image_pixels)
    receiver = Receiver(
        client, Where(_GALLERY, camera), Patience(forever=False, wait=lambda _: False)
    )
    sender = FollowingSender(
        receiver, options, source.track_prefix, tally, _complain, observe=observe
    )
    begin = time.perf_counter()
    watching = Watching(source, sender, tally, Reports(lambda _: None, _PATIENCE))
    watching.run()
    took = time.perf_counter() - begin
    print(f"Watched {film.name} in {took:.1f} s: {watching.settle().line()}", flush=True)
    return frames


def _complain(frame_id: str, reason: str) -> None:
    raise ServiceError(f"{frame_id}: {reason}")


def _name(client: Client, sightings: Sequence[Sighting]) -> dict[str, tuple[str, str]]:
    """Give the people of the first camera names, as at a reception desk."""
    guests = {f"guest {number}": one for number, one in enumerate(sightings, start=1)}
    for identity, one in guests.items():
        client.identities.label(_GALLERY, one.crops, identity)
    return {identity: one.key for identity, one in guests.items()}


def _events(client: Client, later: Sequence[Sighting]) -> list[StoredEvent]:
    """Wait until every later track has been judged: it shows a guest, or a stranger."""
    deadline = time.monotonic() + _PATIENCE
    wanted = {one.key for one in later}
    while True:
        events = list(client.events.iterate(_GALLERY))
        if wanted <= {(event.camera, event.track) for event in events}:
            return events
        if time.monotonic() > deadline:
            raise ServiceError(f"no event of some tracks after {_PATIENCE:.0f} s")
        time.sleep(0.2)
