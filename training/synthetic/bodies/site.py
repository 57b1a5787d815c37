"""A site: its cameras, their streets, and the strangers who pass by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np

from training.synthetic.bodies.body import BodyModel, load_body_model
from training.synthetic.bodies.camera import Camera, draw_camera
from training.synthetic.bodies.dressing import DressedBody, dress
from training.synthetic.bodies.figure import Figure, build_figure
from training.synthetic.bodies.knobs import Knobs, PeopleKnobs
from training.synthetic.bodies.person import Person
from training.synthetic.bodies.pose import draw_pose
from training.synthetic.bodies.rays import RayMesh, build_mesh
from training.synthetic.bodies.street import Street, build_street
from training.synthetic.bodies.vantage import Vantage, find_vantage
from training.synthetic.bodies.wardrobe import GROUP_SIZE, draw_person, draw_stranger
from training.synthetic.shots import Stream as PeopleStream
from training.synthetic.shots import random_stream

STRANGERS = 24
STREETS_IN_MEMORY = 64
DRESSED_IN_MEMORY = 64


class Stream(IntEnum):
    """First key of a site's random streams."""

    CAMERA = 100
    STREET = 101
    STRANGER = 102
    VANTAGE = 103


@dataclass(frozen=True, slots=True)
class Site:
    """Where pictures are taken; equal sites are equal worlds.

    Attributes:
        seed: of everything.
        cameras: number of cameras.
        knobs: how hard the pictures are.
    """

    seed: int
    cameras: int
    knobs: Knobs

    @property
    def model(self) -> BodyModel:
        """The body model, loaded once per process."""
        return load_body_model()

    def stream(self, *key: int) -> np.random.Generator:
        """A random stream of this site.

        Args:
            key: which.

        Returns:
            The stream, at its start.
        """
        return random_stream(self.seed, *key)

    def person(self, identity: int) -> Person:
        """Who an identity is, kept in memory; the rest of the site does not matter.

        Args:
            identity: from 1.

        Returns:
            The person.
        """
        return _person(self.seed, self.knobs.people, identity)

    def camera(self, index: int) -> Camera:
        """A camera, kept in memory.

        Args:
            index: 0..cameras - 1.

        Returns:
            The camera.
        """
        return _camera(self, index)

    def street(self, index: int) -> tuple[Street, RayMesh]:
        """What a camera sees besides people, kept in memory.

        Args:
            index: of the camera.

        Returns:
            The street and its mesh for rays.
        """
        return _street(self, index)

    def vantage(self, index: int) -> Vantage:
        """Where a camera hangs and where people stand in its view, kept in memory.

        Args:
            index: of the camera.

        Returns:
            The vantage.
        """
        return _vantage(self, index)

    def dressed(self, person: Person) -> DressedBody:
        """A dressed body, kept in memory for the next picture of the same person.

        Args:
            person: who.

        Returns:
            The body.
        """
        return _dressed(person)

    def stranger(self, index: int) -> tuple[Figure, RayMesh]:
        """Somebody who is in no data set, kept in memory.

        Args:
            index: 0..STRANGERS - 1.

        Returns:
            The figure and its mesh for rays.
        """
        return _stranger(self, index)


@lru_cache(maxsize=1024)
def _person(seed: int, knobs: PeopleKnobs, identity: int) -> Person:
    group = random_stream(seed, PeopleStream.FAMILY, (identity - 1) // GROUP_SIZE)
    return draw_person(group, random_stream(seed, PeopleStream.IDENTITY, identity), knobs)


@lru_cache(maxsize=256)
def _camera(site: Site, index: int) -> Camera:
    return draw_camera(site.stream(Stream.CAMERA, index), site.knobs, index)


@lru_cache(maxsize=STREETS_IN_MEMORY)
def _street(site: Site, index: int) -> tuple[Street, RayMesh]:
    camera = site.camera(index)
    rng = np.random.default_rng([site.seed, Stream.STREET, camera.street])
    street = build_street(rng, site.knobs.scene, indoors=camera.indoors)
    return street, build_mesh(street.vertices, street.faces)


@lru_cache(maxsize=256)
def _vantage(site: Site, index: int) -> Vantage:
    street, mesh = site.street(index)
    return find_vantage(site.camera(index), street, mesh, site.stream(Stream.VANTAGE, index))


@lru_cache(maxsize=DRESSED_IN_MEMORY)
def _dressed(person: Person) -> DressedBody:
    return dress(person, load_body_model())


@lru_cache(maxsize=STRANGERS)
def _stranger(site: Site, index: int) -> tuple[Figure, RayMesh]:
    rng = site.stream(Stream.STRANGER, index)
    person = draw_stranger(rng, site.knobs.people)
    pose = draw_pose(rng, person, site.knobs.people)
    figure = build_figure(dress(person, site.model), pose, site.model)
    return figure, build_mesh(figure.vertices, figure.faces)
