"""Embeddings that a client sends instead of pictures, such as those from ``POST /embed``.

Imports, searches and single crops read them by the same rules.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from service.errors import InvalidInput, ModelMismatch
from service.gallery.base import Crop
from service.gallery.unit_rows import unit_rows

Embedding = NDArray[np.float32]

MAX_NUMBERS = 1 << 16
"""Most numbers of one embedding, whatever the model."""

_LONGEST_NUMBER = 64  # characters of one number as text, with what separates it from the next


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedCrop:
    """A crop and its embedding.

    Attributes:
        crop: its metadata.
        embedding: (D,) float32, sent instead of a picture.
        name: what to call it in messages.
    """

    crop: Crop
    embedding: Embedding
    name: str


def decode_embedding(given: object, most: int = MAX_NUMBERS) -> Embedding:
    """Decode an embedding.

    Args:
        given: a list or an array of numbers, its JSON text, or base64 of little-endian float32.
        most: how many numbers it may have.

    Returns:
        (N,) float32, not checked any further.

    Raises:
        InvalidInput: it is none of these, or too long.
    """
    if isinstance(given, str | list | np.ndarray) and len(given) > _LONGEST_NUMBER * most:
        raise InvalidInput(f"embedding: {len(given):,} are too many for {most} numbers")
    try:
        if isinstance(given, str):
            if given.lstrip().startswith("["):
                given = from_json(given)
            else:
                raw = base64.b64decode(given, validate=True)
                given = np.frombuffer(raw, dtype="<f4")
        if isinstance(given, list):
            given = _doubles(given)
        with np.errstate(over="ignore"):  # the infinity it becomes is rejected later
            return np.asarray(given, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"embedding: {error}") from error


def _doubles(given: list[Any]) -> NDArray[np.float64] | list[Any]:
    """Numbers as an array, in a third of NumPy's time; anything else is left to NumPy."""
    try:
        return np.frombuffer(struct.pack(f"={len(given)}d", *given)) if given else given
    except (struct.error, OverflowError):
        return given


def check_embedding(embedding: Embedding, dimension: int, name: str) -> Embedding:
    """Check that an embedding fits a gallery.

    Args:
        embedding: as :func:`decode_embedding` returned it.
        dimension: length of the gallery's embeddings.
        name: what to call it in messages.

    Returns:
        (D,) float32, scaled to unit length in full precision.

    Raises:
        InvalidInput: it has another length, a value that is not finite, or not unit length.
    """
    if embedding.shape != (dimension,):
        raise InvalidInput(f"{name}: embedding has shape {embedding.shape}, must be ({dimension},)")
    return np.asarray(unit_rows(embedding[None], 1, dimension, lambda _: name)[0])


def check_embeddings(
    crops: Sequence[EmbeddedCrop], dimension: int
) -> list[EmbeddedCrop | InvalidInput]:
    """Check many embeddings with the answers of :func:`check_embedding`, a few times as fast.

    All rows are checked as one array. Only if one of them breaks a rule is each checked alone, to
    find out which.

    Args:
        crops: N crops with embeddings of any length.
        dimension: length of the gallery's embeddings.

    Returns:
        N entries in this order: the crop with its scaled embedding, or what is wrong with it.
    """
    names = [f"crop {one.name!r}" for one in crops]
    if all(one.embedding.shape == (dimension,) for one in crops):
        with suppress(InvalidInput):
            given = np.array([one.embedding for one in crops], np.float32)
            given = given.reshape(len(crops), dimension)
            rows = unit_rows(given, len(crops), dimension, names.__getitem__)
            pairs = zip(crops, rows, strict=True)
            return [EmbeddedCrop(one.crop, row, one.name) for one, row in pairs]
    return [_checked(one, dimension, name) for one, name in zip(crops, names, strict=True)]


def _checked(one: EmbeddedCrop, dimension: int, name: str) -> EmbeddedCrop | InvalidInput:
    try:
        return replace(one, embedding=check_embedding(one.embedding, dimension, name))
    except InvalidInput as error:
        return error


def require_model(wanted: str | None, model_sha256: str, gallery: str) -> None:
    """Reject embeddings of another model; a different model may have the same length.

    Args:
        wanted: the model that made them, if the client says so.
        model_sha256: the gallery's model.
        gallery: its name.

    Raises:
        ModelMismatch: the two differ.
    """
    if wanted is not None and wanted != model_sha256:
        raise ModelMismatch(
            f"the embeddings are of model {wanted[:12]}, but gallery {gallery!r} holds those of "
            f"{model_sha256[:12]}: embed the pictures again with the gallery's model"
        )


def to_bytes(embedding: Embedding) -> bytes:
    """The little-endian float32 bytes of an embedding, whose SHA-256 is its digest."""
    return embedding.astype("<f4", copy=False).tobytes()
