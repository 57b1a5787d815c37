"""What a search looks for: images of a person, uploaded or stored, alone or as a tracklet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import Embedding
from service.embedding.shelf import OpenGallery
from service.errors import InvalidInput, ReidError
from service.gallery.protocol import Gallery
from service.ingest.sent_embeddings import check_embedding, require_model


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of the person to search for.

    Attributes:
        embedding: (D,) float32, of unit length.
        camera: the camera that took it, if known.
        image: index of the uploaded image; None for a stored crop.
        crop_id: id of the stored crop; None for an uploaded image.
        vector: index of the embedding that the client sent instead of an image.
    """

    embedding: Embedding
    camera: str | None
    image: int | None = None
    crop_id: str | None = None
    vector: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SentVector:
    """An embedding to search for, as the client sent it.

    Attributes:
        embedding: (N,) float32, not checked yet.
        camera: the camera that took its picture, if known.
    """

    embedding: Embedding
    camera: str | None


@dataclass(frozen=True, slots=True)
class QueryPicture:
    """A picture of the request, as the client sent it or cut out of a frame.

    Attributes:
        picture: the image file; why it is unusable; or None if nobody is on the frame.
        name: what to call it in messages.
        of_frame: it was cut out of a frame, which could be used.
    """

    picture: EncodedImage | ReidError | None
    name: str
    of_frame: bool = False


@dataclass(frozen=True, slots=True)
class Nobody:
    """A frame without persons, which makes no query.

    Attributes:
        image: index of the picture in the request.
    """

    image: int


@dataclass(frozen=True, slots=True)
class Miss:
    """A picture that cannot be searched for, and the reason.

    Attributes:
        error: what is wrong with it.
        name: what to call it in messages.
        image: index of the uploaded image; None for a stored crop.
        crop_id: id of the stored crop; None for an uploaded image.
        of_frame: it was cut out of a frame, which could be used.
        track: name of the stored track; None for anything else.
    """

    error: ReidError
    name: str
    image: int | None = None
    crop_id: str | None = None
    of_frame: bool = False
    track: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One person to search for, by one shot or by the mean of several.

    Attributes:
        shots: at least one.
        embedding: (D,) float32, of unit length.
        camera: the camera of all shots; None if one is unknown or two differ.
        track: name of the stored track whose crops these are; None for anything else.
    """

    shots: tuple[Shot, ...]
    embedding: Embedding
    camera: str | None
    track: str | None = None

    @property
    def crop_ids(self) -> frozenset[str]:
        """The stored crops among the shots."""
        return frozenset(shot.crop_id for shot in self.shots if shot.crop_id is not None)


Picture = Shot | Query | Miss | Nobody
"""What one entry of a request became; a stored track makes a whole query."""


def image_files(pictures: Sequence[QueryPicture]) -> list[EncodedImage]:
    """The image files among the pictures of a request; each makes a query."""
    return [one.picture for one in pictures if isinstance(one.picture, EncodedImage)]


def uploaded_shots(
    pictures: Sequence[QueryPicture],
    embeddings: Sequence[Embedding | ReidError],
    camera: str | None,
) -> list[Picture]:
    """Turn the pictures of a request into shots.

    Args:
        pictures: N pictures.
        embeddings: the answer of :meth:`service.embedding.intake.Intake.embed` for
            :func:`image_files` of them.
        camera: the camera that took them, if known.

    Returns:
        N shots, or the reason why there is none.
    """
    embedded = iter(embeddings)
    shots: list[Picture] = []
    for index, one in enumerate(pictures):
        entry = next(embedded) if isinstance(one.picture, EncodedImage) else one.picture
        if entry is None:
            shots.append(Nobody(index))
        elif isinstance(entry, ReidError):
            shots.append(Miss(entry, one.name, image=index, of_frame=one.of_frame))
        else:
            shots.append(Shot(entry, camera, image=index))
    return shots


def vector_shots(
    opened: OpenGallery,
    vectors: Sequence[SentVector],
    camera: str | None,
    model_sha256: str | None,
) -> list[Shot]:
    """Turn embeddings that the client sent into shots.

    Args:
        opened: the gallery to search, and its model.
        vectors: N embeddings.
        camera: the camera to assume for vectors without one.
        model_sha256: the model that made them, if the client says so.

    Returns:
        N shots.

    Raises:
        InvalidInput: an embedding does not fit the gallery; the message says which one.
        ModelMismatch: they are of another model.
    """
    gallery = opened.gallery
    require_model(model_sha256, opened.model.manifest.sha256, gallery.name)
    return [
        Shot(
            check_embedding(vector.embedding, gallery.dimension, f"vectors[{index}]"),
            camera if vector.camera is None else vector.camera,
            vector=index,
        )
        for index, vector in enumerate(vectors)
    ]


def stored_shots(
    gallery: Gallery, crop_ids: Sequence[str], camera: str | None
) -> list[Shot | Miss]:
    """Turn stored crops into shots.

    Args:
        gallery: the gallery that holds them.
        crop_ids: N ids.
        camera: the camera to assume for crops without one.

    Returns:
        N shots, or the reason why one is missing.
    """
    return [_stored_shot(gallery, crop_id, camera) for crop_id in crop_ids]


def require_camera(entry: Shot | Query | Miss) -> Shot | Query | Miss:
    """Replace what is stored without a camera by an error: its own camera cannot be left out."""
    if isinstance(entry, Miss) or entry.camera is not None:
        return entry
    crop_id, track = (entry.crop_id, None) if isinstance(entry, Shot) else (None, entry.track)
    name = f"crop {crop_id!r}" if track is None else f"track {track!r}"
    error = InvalidInput(f"{name} has no camera: exclude_same_camera needs camera")
    return Miss(error, name, crop_id=crop_id, track=track)


def queries_of(pictures: Sequence[Picture], *, combine: bool) -> list[Query]:
    """Make queries of the usable pictures of a request.

    Args:
        pictures: every picture of the request.
        combine: they show one person and make one query.

    Returns:
        One query, or one per usable picture; none if nobody is on the frames.

    Raises:
        ReidError: the error of the only picture; InvalidInput naming every picture and its error if
            none is usable, or if the combined embeddings cancel out.
    """
    queries = [_query_of(entry) for entry in pictures if isinstance(entry, Shot | Query)]
    misses = [entry for entry in pictures if isinstance(entry, Miss) and not entry.of_frame]
    if len(misses) == len(pictures):
        raise _none_usable(misses)
    if combine and queries:
        return [combined([shot for query in queries for shot in query.shots])]
    return queries


def _query_of(entry: Shot | Query) -> Query:
    return Query((entry,), entry.embedding, entry.camera) if isinstance(entry, Shot) else entry


def combined(shots: Sequence[Shot]) -> Query:
    """Make one query of several shots: the mean of their embeddings, scaled to unit length.

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


def _none_usable(misses: Sequence[Miss]) -> ReidError:
    if len(misses) == 1:
        return misses[0].error
    uploaded = all(miss.crop_id is None and miss.track is None for miss in misses)
    kind = "images" if uploaded else "images and crops"
    reasons = "; ".join(f"{miss.name}: {miss.error}" for miss in misses)
    return InvalidInput(f"none of the {len(misses)} {kind} is usable: {reasons}")


def _stored_shot(gallery: Gallery, crop_id: str, camera: str | None) -> Shot | Miss:
    try:
        known = gallery.get(crop_id).camera
        (embedding,) = gallery.embeddings([crop_id])
    except ReidError as error:
        if error.status >= 500:
            raise
        return Miss(error, f"crop {crop_id!r}", crop_id=crop_id)
    return Shot(embedding, camera if known is None else known, crop_id=crop_id)
