"""What a search looks for: pictures of one person, uploaded or stored, alone or as a tracklet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import Embedding
from service.errors import InvalidInput, ReidError
from service.gallery.base import Gallery


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of the person searched for.

    Attributes:
        embedding: (D,) float32, of unit length.
        camera: which camera took it, where known.
        image: index of the upload, None for a stored crop.
        crop_id: the stored crop, None for an upload.
    """

    embedding: Embedding
    camera: str | None
    image: int | None = None
    crop_id: str | None = None


@dataclass(frozen=True, slots=True)
class Miss:
    """A picture that cannot be searched for, and why."""

    error: ReidError
    name: str
    image: int | None = None
    crop_id: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One person searched for, by one shot or by the mean of several.

    Attributes:
        shots: at least one.
        embedding: (D,) float32, of unit length.
        camera: the camera of all shots; None where one is unknown or two differ.
    """

    shots: tuple[Shot, ...]
    embedding: Embedding
    camera: str | None

    @property
    def crop_ids(self) -> frozenset[str]:
        """The stored crops among the shots."""
        return frozenset(shot.crop_id for shot in self.shots if shot.crop_id is not None)


def uploaded(
    uploads: Sequence[EncodedImage], embeddings: Sequence[Embedding | ReidError], camera: str | None
) -> list[Shot | Miss]:
    """Uploads as shots.

    Args:
        uploads: N files.
        embeddings: what :meth:`service.embedding.intake.Intake.embed` made of them.
        camera: which camera took them, where known.

    Returns:
        N shots, or why there is none.
    """
    return [
        Miss(entry, f"image {index} ({upload.file})", image=index)
        if isinstance(entry, ReidError)
        else Shot(entry, camera, image=index)
        for index, (upload, entry) in enumerate(zip(uploads, embeddings, strict=True))
    ]


def stored(gallery: Gallery, crop_ids: Sequence[str], camera: str | None) -> list[Shot | Miss]:
    """Stored crops as shots.

    Args:
        gallery: which holds them.
        crop_ids: N ids.
        camera: which camera took those whose camera the gallery does not know.

    Returns:
        N shots, or why there is none.
    """
    return [_stored_one(gallery, crop_id, camera) for crop_id in crop_ids]


def one_each(shots: Sequence[Shot]) -> list[Query]:
    """A query a shot.

    Args:
        shots: N shots.

    Returns:
        N queries.
    """
    return [Query((shot,), shot.embedding, shot.camera) for shot in shots]


def combined(shots: Sequence[Shot]) -> Query:
    """One query of all shots: the mean of their embeddings, of unit length again.

    Args:
        shots: N shots of one person, at least one.

    Returns:
        The query.

    Raises:
        InvalidInput: the embeddings cancel each other out.
    """
    mean = np.mean([shot.embedding for shot in shots], axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise InvalidInput("combine: the embeddings of these images cancel each other out")
    cameras = {shot.camera for shot in shots}
    camera = cameras.pop() if len(cameras) == 1 else None
    return Query(tuple(shots), (mean / length).astype(np.float32), camera)


def require_one_shot(asked: Sequence[Shot | Miss]) -> list[Shot]:
    """The shots among what was asked for.

    Args:
        asked: every picture of the request.

    Returns:
        At least one shot.

    Raises:
        ReidError: the only picture's error, or InvalidInput naming every picture and its error.
    """
    shots = [entry for entry in asked if isinstance(entry, Shot)]
    if shots:
        return shots
    misses = [entry for entry in asked if isinstance(entry, Miss)]
    if len(misses) == 1:
        raise misses[0].error
    kind = "images" if all(miss.crop_id is None for miss in misses) else "images and crops"
    reasons = "; ".join(f"{miss.name}: {miss.error}" for miss in misses)
    raise InvalidInput(f"none of the {len(misses)} {kind} is usable: {reasons}")


def _stored_one(gallery: Gallery, crop_id: str, camera: str | None) -> Shot | Miss:
    try:
        known = gallery.get(crop_id).camera
        (embedding,) = gallery.embeddings([crop_id])
    except ReidError as error:
        if error.status >= 500:
            raise
        return Miss(error, f"crop {crop_id!r}", crop_id=crop_id)
    return Shot(embedding, camera if known is None else known, crop_id=crop_id)
