"""Print what the films showed, and how much of it is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.api.events import StoredEvent
from service.cli.film_demo.sightings import Again
from service.cli.film_demo.truth import LookedAt, Track, Truth
from service.cli.tables import table

_DECIDED = ("right", "wrong")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen.

    Attributes:
        frames: every frame that was looked at.
        guests: the tracks of the first camera, by the names that they were given.
        again: where each track's person was seen again.
        events: of the later cameras: a guest, or a stranger.
    """

    frames: Sequence[LookedAt]
    guests: Mapping[str, Track]
    again: Sequence[Again]
    events: Sequence[StoredEvent]


def report(outcome: Outcome, truth: Truth | None, url: str) -> None:
    """Print it.

    Args:
        outcome: what was seen.
        truth: who was really there; without it nothing is judged.
        url: of the service.
    """
    who = {} if truth is None else truth.identities(outcome.frames)
    if truth is not None:
        _tell_following(outcome.frames, truth)
    _tell_again(outcome.again, who, judged=truth is not None)
    _tell_events(outcome, who, judged=truth is not None)
    print(f"\nThe page is at {url}, the API's documentation at {url}/docs", flush=True)


def _tell_following(frames: Sequence[LookedAt], truth: Truth) -> None:
    cameras = sorted({frame.camera for frame in frames})
    scores = {
        camera: truth.scores([frame for frame in frames if frame.camera == camera])
        for camera in cameras
    }
    rows = [
        [
            *(camera, str(one.frames), str(one.people), f"{one.found / max(one.people, 1):.1%}"),
            *(f"{one.following.people}", f"{one.following.names}", f"{one.following.switches}"),
            f"{one.following.idf1:.1%}",
        ]
        for camera, one in scores.items()
    ]
    head = ("camera", "frames", "people in view", "found", "walks", "tracks", "switches", "IDF1")
    people = sum(one.people for one in scores.values())
    missed = people - sum(one.found for one in scores.values())
    print(f"\nFound and followed\n\n{table(head, rows)}")
    print(
        f"\nThe detector misses {missed} of {people} people in view ({missed / max(people, 1):.1%})"
    )


def _tell_again(again: Sequence[Again], who: Mapping[Track, str], *, judged: bool) -> None:
    surest = sorted(again, key=lambda one: one.match.score if one.match else -1.0, reverse=True)
    rows = [
        [
            *(one.sighting.camera, one.sighting.track),
            f"{_clock(one.sighting.first)}-{_clock(one.sighting.last)}",
            *_match_cells(one),
            *([_verdict(one, who)] if judged else []),
        ]
        for one in surest[:_SHOWN]
    ]
    head = ("camera", "track", "from-to", "most alike on", "track", "at", "score", "truth")
    print(f"\nSeen again: the surest {len(rows)} of {len(again)} tracks\n")
    print(table(head if judged else head[:-1], rows))
    if judged:
        verdicts = [_verdict(one, who) for one in again]
        right, asked = verdicts.count("right"), len([v for v in verdicts if v in _DECIDED])
        print(
            f"\nrank-1 of tracks: {right} of {asked} tracks whose person another camera stored "
            f"find that person first ({right / max(asked, 1):.1%})"
        )


def _verdict(one: Again, who: Mapping[Track, str]) -> str:
    """Whether the match shows the same person; a dash if there was nothing to find."""
    identity = who.get(one.sighting.key)
    others = {who[track] for track in who if track[0] != one.sighting.camera}
    if identity is None or identity not in others:
        return "-"
    return "right" if one.found is not None and who.get(one.found) == identity else "wrong"


def _tell_events(outcome: Outcome, who: Mapping[Track, str], *, judged: bool) -> None:
    known = [event for event in outcome.events if event.identity is not None]
    shown = [_event_cells(event, outcome, who, judged=judged) for event in reversed(known)]
    head = ("alert", "camera", "track", "at", "score", "truth")
    print(f"\nAlerts: a guest of {_first_camera(outcome)}\n")
    print(table(head if judged else head[:-1], shown))
    strangers = [event for event in outcome.events if event.identity is None]
    print(f"\n{len(known)} alerts about guests, {len(strangers)} about strangers")
    if judged:
        guests = {who.get(track) for track in outcome.guests.values()} - {None}
        right = sum(cells[-1] == "right" for cells in shown)
        rightly = sum(who.get(_track(event)) not in guests for event in strangers)
        print(f"true: {right} of {len(known)} and {rightly} of {len(strangers)}")


def _event_cells(
    event: StoredEvent, outcome: Outcome, who: Mapping[Track, str], *, judged: bool
) -> list[str]:
    guest = who.get(outcome.guests.get(event.identity or "", ("", "")))
    right = guest is not None and who.get(_track(event)) == guest
    return [
        *(event.identity or "-", event.camera or "-", event.track or "-", _clock(event.time)),
        "-" if event.score is None else f"{event.score:.3f}",
        *(["right" if right else "wrong"] if judged else []),
    ]


def _match_cells(one: Again) -> list[str]:
    match = one.match
    if match is None:
        return ["-", "-", "-", "-"]
    at = "-" if match.timestamp is None else _clock(match.timestamp)
    return [match.camera or "-", match.track or "-", at, f"{match.score:.3f}"]


def _first_camera(outcome: Outcome) -> str:
    return next((camera for camera, _ in outcome.guests.values()), "the first camera")


def _track(event: StoredEvent) -> Track:
    return event.camera or "", event.track or ""


def _clock(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%H:%M:%S")
