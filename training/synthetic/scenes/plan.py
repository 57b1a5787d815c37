"""Who walks where and when: every camera's visitors over the whole period."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.body import load_body_model, shape_body
from training.synthetic.bodies.person import BottomCut, Person, ThingKind
from training.synthetic.bodies.pose import Gesture, Pose, Stance, draw_pose
from training.synthetic.bodies.site import Site
from training.synthetic.scenes.options import SceneOptions
from training.synthetic.scenes.paths import BODY_RADIUS, Way, draw_way
from training.synthetic.scenes.walks import GAP, TICK, Pace, Walk, stride_for, walk_way

WARM_UP = 60.0  # seconds before the first frame, so that people are already there
SPEEDS = (0.8, 1.6)  # metres per second
SLOWEST_SHARE = 0.7  # of those speeds, in a skirt
STOPS = (2.0, 12.0)  # seconds
PARTY_SIZES = (0.72, 0.2, 0.08)  # chances of one, two, three who walk together
THING_RADIUS = 0.6  # metres around somebody with a pram, a suitcase or an umbrella
TRIES = 12  # ways that a party tries before it stays away
DELAYS = (0, 9, 21, 36)  # ticks that it waits for others to pass, on each way
BETWEEN = 18.0  # metres between neighbouring cameras
GOING_ON = 0.7  # chance that a party comes from another camera, if people just left one
JUST = 40.0  # seconds
SAME_CAMERA = 30.0  # seconds before somebody comes back


class Stream(IntEnum):
    """First key of the random streams of scenes; :class:`Site` uses 100 to 103."""

    ARRIVALS = 200
    PARTY = 201
    PLAN = 202
    FRAME = 203
    LIGHT = 204


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What happens at a site.

    Attributes:
        walks: by camera, in the order of their start.
        places: (C, 2) float64, where each camera hangs on the site's plan, metres.
        turned_away: people who wanted to come, but nobody was free or there was no room.
    """

    walks: tuple[tuple[Walk, ...], ...]
    places: NDArray[np.float64]
    turned_away: int


def make_plan(options: SceneOptions) -> Plan:
    """Let people walk through the cameras' streets; nobody is in two of them at once.

    Args:
        options: of the scenes.

    Returns:
        The plan.
    """
    planner = _Planner(options)
    for second, camera, number in _arrivals(options):
        planner.admit(second, camera, number)
    walks = tuple(tuple(sorted(each, key=lambda walk: walk.visit)) for each in planner.walks)
    return Plan(walks, planner.places, planner.turned_away)


def _arrivals(options: SceneOptions) -> list[tuple[float, int, int]]:
    """(second, camera, number) of each party, in time (a Poisson process per camera)."""
    mean_size = sum(size * chance for size, chance in enumerate(PARTY_SIZES, start=1))
    rate = options.people_per_minute / 60.0 / mean_size
    arrivals = []
    for camera in range(options.cameras):
        rng = options.site.stream(Stream.ARRIVALS, camera)
        second, number = -WARM_UP, 0
        while rate > 0.0:
            second += float(rng.exponential(1.0 / rate))
            if second > options.seconds:
                break
            arrivals.append((second, camera, number))
            number += 1
    return sorted(arrivals)


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """Somebody in a party."""

    identity: int
    person: Person
    pose: Pose


class _Planner:
    """The state of a site while its plan is made."""

    def __init__(self, options: SceneOptions) -> None:
        self.options = options
        self.site: Site = options.site
        self.walks: list[list[Walk]] = [[] for _ in range(options.cameras)]
        self.places = _places(options)
        self.last: dict[int, tuple[int, float]] = {}  # by identity: camera, and second of leaving
        self.radius: dict[tuple[int, int], float] = {}  # by camera and visit
        self.turned_away = 0

    def admit(self, second: float, camera: int, number: int) -> None:
        """Let a party arrive; it stays away if nobody is free, or others leave it no room."""
        rng = self.site.stream(Stream.PARTY, camera, number)
        wanted = 1 + int(rng.choice(len(PARTY_SIZES), p=list(PARTY_SIZES)))
        party = self._gather(second, camera, wanted, rng)
        walks = self._find_room(second, camera, party, rng) if party else []
        self.turned_away += wanted - len(walks)
        for walk in walks:
            self.walks[camera].append(walk)
            self.last[walk.identity] = camera, walk.end * TICK

    def _gather(
        self, second: float, camera: int, wanted: int, rng: np.random.Generator
    ) -> list[int]:
        """Up to so many free people; who pushes or pulls something walks alone."""
        order = rng.permutation(self.options.identities) + 1
        if rng.random() < GOING_ON:
            comes = [self._comes_from_another(int(each), second, camera) for each in order]
            order = order[np.argsort(np.logical_not(comes), kind="stable")]
        party: list[int] = []
        for identity in map(int, order):
            if not self._is_free(identity, second, camera):
                continue
            alone = self.site.person(identity).thing.kind is not ThingKind.NONE
            if alone and party:
                continue
            party.append(identity)
            if alone or len(party) == wanted:
                break
        return party

    def _comes_from_another(self, identity: int, second: float, camera: int) -> bool:
        """Whether another camera saw somebody just now."""
        before, left = self.last.get(identity, (camera, -math.inf))
        return before != camera and second - left < JUST

    def _is_free(self, identity: int, second: float, camera: int) -> bool:
        """Whether somebody can be here, walking from the camera that saw them last."""
        if identity not in self.last:
            return True
        before, left = self.last[identity]
        if before == camera:
            return second > left + SAME_CAMERA
        metres = float(np.linalg.norm(self.places[before] - self.places[camera]))
        return second > left + metres / SPEEDS[1]

    def _find_room(
        self, second: float, camera: int, party: list[int], rng: np.random.Generator
    ) -> list[Walk]:
        """The walks of a party that meets nobody; empty if it finds none."""
        members = [
            _Member(identity, person, draw_pose(rng, person, self.options.knobs.people))
            for identity in party
            for person in [self.site.person(identity)]
        ]
        radius = max(_radius(each.person) for each in members)
        wide = round(radius + GAP * (len(party) - 1) / 2, 3)
        visit = len(self.walks[camera])
        for _ in range(TRIES):
            way = draw_way(self.site, camera, rng, wide)
            walks = _walk_together(members, way, visit, rng) if way else []
            for delay in DELAYS:
                start = math.ceil(second / TICK) + delay
                placed = [replace(walk, start=start) for walk in walks]
                if placed and all(self._has_room(camera, walk, radius) for walk in placed):
                    self.radius |= {(camera, walk.visit): radius for walk in placed}
                    return placed
        return []

    def _has_room(self, camera: int, walk: Walk, radius: float) -> bool:
        """Whether a walk keeps away from all others of a camera."""
        for other in self.walks[camera]:
            first, last = max(walk.start, other.start), min(walk.end, other.end)
            if first > last:
                continue
            here = walk.table[first - walk.start : last - walk.start + 1, :2]
            there = other.table[first - other.start : last - other.start + 1, :2]
            nearest = float(np.linalg.norm(here - there, axis=1).min())
            if nearest < radius + self.radius[camera, other.visit]:
                return False
        return True


def _walk_together(
    members: list[_Member], way: Way, visit: int, rng: np.random.Generator
) -> list[Walk]:
    """Walk a way side by side; whoever stops turns to the others."""
    stops = any(each.pose.stance is Stance.STAND for each in members)
    pace = _draw_pace(rng, [each.person for each in members], stops=stops)
    walks = []
    for place, each in enumerate(members):
        stride = stride_for(pace.speed, skirted=_skirted(each.person))
        aside = GAP * (place - (len(members) - 1) / 2)
        facing = -0.9 * math.copysign(1.0, aside) if aside else float(rng.normal(0.0, 0.5))
        table = walk_way(way, pace, aside, stride * _leg_share(each.person), facing)
        walks.append(Walk(each.identity, visit + place, 0, table, _usual(each.pose, stride)))
    return walks


def _places(options: SceneOptions) -> NDArray[np.float64]:
    """Cameras on a grid whose rows and columns are not quite straight."""
    side = math.ceil(math.sqrt(options.cameras))
    grid = np.array([divmod(index, side) for index in range(options.cameras)], np.float64)
    shift = options.site.stream(Stream.PLAN).uniform(-0.25, 0.25, grid.shape)
    return np.asarray(np.round((grid + shift) * BETWEEN, 1), np.float64)


def _draw_pace(rng: np.random.Generator, people: list[Person], *, stops: bool) -> Pace:
    speed = float(rng.uniform(*SPEEDS))
    if any(map(_skirted, people)):
        speed = max(SPEEDS[0], SLOWEST_SHARE * speed)
    return Pace(speed, int(rng.uniform(*STOPS) / TICK) if stops else 0)


def _leg_share(person: Person) -> float:
    """How long somebody's legs are, as a share of an average person's."""
    model = load_body_model()
    hip, foot = model.bone("upperleg01.L"), model.bone("foot.L")
    long, average = (
        float(np.linalg.norm(body.joints[hip] - body.joints[foot]))
        for body in (shape_body(person.shape), model.neutral)
    )
    return long / average


def _radius(person: Person) -> float:
    return BODY_RADIUS if person.thing.kind is ThingKind.NONE else THING_RADIUS


def _skirted(person: Person) -> bool:
    return person.bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS}


def _usual(pose: Pose, stride: float) -> Pose:
    """The pose of a whole walk: no arms folded, because nobody walks like that."""
    left, right = (
        Gesture.SWING if arm is Gesture.FOLDED else arm for arm in (pose.left, pose.right)
    )
    return replace(pose, stance=Stance.WALK, left=left, right=right, stride=stride)
