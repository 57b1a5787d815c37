"""The fields of requests, as keyword arguments; docs/api.md says what each one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from service.client.call import Time
from service.client.errors import InvalidInput
from service.values.vocabulary import DeliveryState, GroupBy, IdentityScore

Image = bytes | Path | str | tuple[str, bytes]
"""The bytes of an image file, its path, or a file name with its bytes."""


class ConditionFields(TypedDict, total=False):
    """Which crops take part; all conditions that are given must hold."""

    cameras: Sequence[str]
    tracks: Sequence[str]
    not_camera: str | None
    identities: Sequence[str]
    has_identity: bool | None
    id_prefix: str | None
    zone: str | None
    since: Time | None
    until: Time | None
    added_since: Time | None
    added_until: Time | None


class FilterFields(ConditionFields, total=False):
    """Which crops take part, by id as well."""

    crop_ids: Sequence[str]


class SearchFields(ConditionFields, total=False):
    """What ``POST /search`` takes beside images."""

    gallery: str
    crop_ids: Sequence[str]
    query_tracks: Sequence[str]
    among: Sequence[str]
    top_k: int | None
    camera: str | None
    exclude_same_camera: bool
    min_score: float | None
    rerank: bool
    rerank_top: int | None
    group_by: GroupBy
    identity_score: IdentityScore
    combine: bool
    standardise: bool | None


class ImageSearchFields(SearchFields, total=False):
    """What ``POST /search`` takes with images."""

    detect: bool
    tiles: str
    detect_score: float | None


class SeenFields(TypedDict, total=False):
    """What ``POST /galleries/{gallery}/seen`` takes beside ``crop_ids``."""

    zone: str | None
    before: Time | None
    gap_seconds: float
    min_score: float | None


class ClusterFields(FilterFields, total=False):
    """What ``POST /galleries/{gallery}/cluster`` takes."""

    eps: float
    min_samples: int
    min_score: float | None
    standardise: bool


class WatchFields(TypedDict, total=False):
    """What ``POST /galleries/{gallery}/watches`` takes beside ``watch_for``."""

    of: str | None
    name: str | None
    identities: Sequence[str]
    crop_ids: Sequence[str]
    cameras: Sequence[str]
    zone: str | None
    since: Time | None
    until: Time | None
    daily_from: str | None
    daily_until: str | None
    min_score: float | None
    false_alert_rate: float | None
    quiet_seconds: float | None
    deliver_to: str | None


class FalseAlertFields(TypedDict, total=False):
    """What ``GET /galleries/{gallery}/false-alerts`` takes."""

    people: int
    per_thousand: float
    apart: Sequence[str]
    cameras: Sequence[str]
    since: Time | None
    until: Time | None


class EventFields(TypedDict, total=False):
    """Which events."""

    watch_id: str | None
    cameras: Sequence[str]
    since: Time | None
    until: Time | None
    delivery: DeliveryState | None


class GalleryFields(TypedDict, total=False):
    """Options of a new gallery."""

    model: str | None
    store_crops: bool
    keep_for: float | None
    join: bool


class ChangeFields(TypedDict, total=False):
    """Options of a gallery that change; ``keep_for=None`` keeps crops for good."""

    store_crops: bool
    keep_for: float | None
    join: bool


class NamingFields(TypedDict, total=False):
    """How an import reads the names and times of files."""

    pattern: str | None
    layout: str | None
    zone: str | None


class ImportFields(NamingFields, total=False):
    """How an import reads files: their names, and the frames of videos."""

    camera: str | None
    timestamp: Time | None
    fps: float | None
    tiles: str | None
    score: float | None
    tracks: bool | None


class UploadFields(ImportFields, total=False):
    """How an uploaded file is read."""

    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCrop:
    """A crop to add.

    Attributes:
        crop_id: its id in the gallery, 1..200 characters.
        image: the picture.
        identity: the person it shows, if known.
        camera: the camera that took it, if known.
        timestamp: when it was taken, if known.
        zone: whose clock ``timestamp`` was read from, if it has no zone of its own.
        track: which walk through the camera's view it belongs to, if known.
    """

    crop_id: str
    image: Image
    identity: str | None = None
    camera: str | None = None
    timestamp: Time | None = None
    zone: str | None = None
    track: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFrame:
    """A whole frame, whose persons to add.

    Attributes:
        image: the picture.
        frame_id: begins the ids of its crops, 1..195 characters; the name of its file if None.
        camera: the camera that took it; the request's if None.
        timestamp: when it was taken; the request's if None.
        zone: whose clock ``timestamp`` was read from, if it has no zone of its own.
    """

    image: Image
    frame_id: str | None = None
    camera: str | None = None
    timestamp: Time | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBox:
    """A person on a frame, in pixels of the upright frame.

    Attributes:
        x: left edge.
        y: upper edge.
        width: > 0.
        height: > 0.
        score: of your detector, 0..1, if known.
        track: the camera's track that the person belongs to, if known.
    """

    x: float
    y: float
    width: float
    height: float
    score: float | None = None
    track: str | None = None


Embedding = Sequence[float] | str
"""Numbers of unit length, or base64 of little-endian float32, as ``client.embed`` answers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """An embedding to search for.

    Attributes:
        embedding: of the gallery's model.
        camera: the camera that took its picture; that of the whole search if None.
    """

    embedding: Embedding
    camera: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedCrop:
    """A crop to add by its embedding instead of a picture.

    Attributes:
        crop_id: its id in the gallery, 1..200 characters.
        embedding: of the gallery's model.
        identity: the person it shows, if known.
        camera: the camera that took it, if known.
        timestamp: when it was taken, if known.
        zone: whose clock ``timestamp`` was read from, if it has no zone of its own.
        track: which walk through the camera's view it belongs to, if known.
    """

    crop_id: str
    embedding: Embedding
    identity: str | None = None
    camera: str | None = None
    timestamp: Time | None = None
    zone: str | None = None
    track: str | None = None


def file_part(image: Image) -> tuple[str, bytes]:
    """A file name and bytes of an image."""
    match image:
        case Path() | str():
            path = Path(image)
            return path.name, _read(path)
        case bytes():
            return "image", image
        case _:
            return image


def image_parts(images: Image | Sequence[Image]) -> list[tuple[str, tuple[str, bytes]]]:
    """The field ``images`` of a form.

    Args:
        images: one, or several.

    Returns:
        A part for each, as httpx takes them.
    """
    match images:
        case bytes() | Path() | str():
            return [("images", file_part(images))]
        case tuple((str(name), bytes(data))):
            return [("images", (name, data))]
        case _:
            return [("images", file_part(image)) for image in images]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"Invalid input: {path}: {error.strerror}") from error
