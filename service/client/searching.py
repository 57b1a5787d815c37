"""Search, embed, and find persons on frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, Unpack

from service.api.detection import DetectAnswer
from service.api.search import EmbedAnswer, SearchAnswer
from service.api.seen import SeenAnswer
from service.client.call import Call, as_model, at, given, send_json
from service.client.fields import (
    Embedding,
    Image,
    ImageSearchFields,
    SearchFields,
    SeenFields,
    Vector,
    image_parts,
)


def search(
    images: Image | Sequence[Image] = (), /, **fields: Unpack[ImageSearchFields]
) -> Call[SearchAnswer]:
    """Find the crops of a gallery that show the same people.

    Args:
        images: crops of people, or with ``detect`` whole frames; none if ``crop_ids`` names crops
            of the gallery, or ``query_tracks`` its tracks.
        fields: the gallery, the filter and the options of ``POST /search``.

    Returns:
        One result per image, then per crop id, then per track; with ``combine`` one for all; with
        ``detect`` one per person of each image.
    """
    parts = image_parts(images)
    return Call(
        method="POST",
        path="/search",
        read=as_model(SearchAnswer),
        body=lambda: {"data": given(fields), "files": parts},
        repeat="always",
    )


def seen(gallery: str, crop_ids: Sequence[str], **fields: Unpack[SeenFields]) -> Call[SeenAnswer]:
    """Find earlier visits of the person whom some crops of a gallery show.

    Args:
        gallery: its name.
        crop_ids: 1..64 crops of one person, such as the crop of an event.
        fields: before when, what a visit is, and how sure it must be.

    Returns:
        The visits, latest first, and a summary per camera.
    """
    path = at("/galleries/{gallery}/seen", gallery=gallery)
    body = {"crop_ids": list(crop_ids), **given(fields)}
    return send_json("POST", path, SeenAnswer, body, repeat="always")


def search_by_vectors(
    vectors: Sequence[Vector | Embedding],
    *,
    model_sha256: str | None = None,
    **fields: Unpack[SearchFields],
) -> Call[SearchAnswer]:
    """Find the crops of a gallery that are closest to embeddings.

    Args:
        vectors: embeddings of the gallery's model, as :func:`embed` answers them.
        model_sha256: the model that made them; if it is not the gallery's, the request is rejected.
        fields: the gallery, the filter and the options, as of :func:`search`.

    Returns:
        One result per vector, then per crop id, then per track; with ``combine`` one for all.
    """
    sent = [
        given(asdict(one if isinstance(one, Vector) else Vector(embedding=one))) for one in vectors
    ]
    body = {**given(fields), "vectors": sent, **given({"model_sha256": model_sha256})}
    return send_json("POST", "/search", SearchAnswer, body, repeat="always")


def embed(
    images: Image | Sequence[Image], *, encoding: Literal["float", "base64"] = "float"
) -> Call[EmbedAnswer]:
    """Embed images; nothing is stored.

    Args:
        images: crops of people.
        encoding: ``float`` for lists of numbers, ``base64`` for little-endian float32.

    Returns:
        One result per image, in order.
    """
    parts = image_parts(images)
    return Call(
        method="POST",
        path="/embed",
        read=as_model(EmbedAnswer),
        body=lambda: {"data": {"encoding": encoding}, "files": parts},
        repeat="always",
    )


def detect(
    images: Image | Sequence[Image], *, tiles: str | None = None, score: float | None = None
) -> Call[DetectAnswer]:
    """Find the persons on whole frames; nothing is stored.

    Args:
        images: frames.
        tiles: look at overlapping tiles of each frame too, such as ``2x2``, for people who are
            small on large frames.
        score: persons have a score above it, 0.05..1; the detector's if None.

    Returns:
        One result per frame, in order.
    """
    parts = image_parts(images)
    return Call(
        method="POST",
        path="/detect",
        read=as_model(DetectAnswer),
        body=lambda: {"data": given({"tiles": tiles, "score": score}), "files": parts},
        repeat="always",
    )
