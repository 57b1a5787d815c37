"""Made-up embeddings of people, seen by several cameras, that vary as those of real crops do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]

DIRECTIONS = 256
"""Beyond them, every direction varies equally little."""
OFFSET, DECAY = 8.0, 1.935
"""The i-th direction has a variance of (i + OFFSET) ** -DECAY. It was fitted to the embeddings of
3,000 crops of CUHK03 by ``hhcl-mobilenetv2``, whose first 64, 128 and 256 of 1,280 directions leave
rests of 0.34, 0.25 and 0.18."""
SHIFT, NOISE = 0.5, 0.8
"""How far cameras and single crops lie from a person, beside the distance between people."""

CROPS_OF_A_PERSON, CAMERAS = 17, 6
"""Of Market-1501."""


@dataclass(frozen=True, eq=False)
class People:
    """People and cameras.

    Attributes:
        directions: (R, D) float32, scaled by how much they vary.
        people: (P, R) float32 places of the people.
        shifts: (C, R) float32 shifts by the cameras.
        rest: standard deviation of each dimension beyond the directions.
    """

    directions: Float32s
    people: Float32s
    shifts: Float32s
    rest: float

    @classmethod
    def draw(cls, people: int, cameras: int, dimension: int, seed: int) -> People:
        """Draw people and cameras."""
        rng = np.random.default_rng(seed)
        count = min(DIRECTIONS, dimension)
        variance = (np.arange(dimension) + OFFSET) ** -DECAY
        basis = np.linalg.qr(rng.standard_normal((dimension, count)))[0].T
        return cls(
            (basis * np.sqrt(variance[:count])[:, None]).astype(np.float32),
            rng.standard_normal((people, count), np.float32),
            SHIFT * rng.standard_normal((cameras, count), np.float32),
            float(np.sqrt(variance[count:].sum() / dimension)),
        )

    def embeddings(
        self, person: NDArray[np.int64], camera: NDArray[np.int64], rng: np.random.Generator
    ) -> Float32s:
        """(N, D) float32 unit rows of crops of these people by these cameras."""
        places = self.people[person] + self.shifts[camera]
        places += NOISE * rng.standard_normal(places.shape, np.float32)
        rows: Float32s = places @ self.directions
        rows += self.rest * rng.standard_normal(rows.shape, np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows


def crops_of_people(count: int, dimension: int) -> Float32s:
    """(N, D) float32 unit rows of crops of random people by random cameras, as in Market-1501."""
    rng = np.random.default_rng(0)
    people = People.draw(count // CROPS_OF_A_PERSON + 1, CAMERAS, dimension, seed=0)
    person = rng.integers(len(people.people), size=count)
    return people.embeddings(person, rng.integers(CAMERAS, size=count), rng)
