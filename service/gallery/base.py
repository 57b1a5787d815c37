"""What galleries take and return, whatever stores them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.values import vocabulary
from service.values.names import composed, normal_form

if TYPE_CHECKING:  # the command line's client knows crops, and has no numpy
    import numpy as np
    from numpy.typing import NDArray

Origin = vocabulary.Origin
"""Where a crop's identity comes from: the client that sent it, a clustering, a correction, or the
identity that it joined when it arrived."""

TOLD: frozenset[Origin] = frozenset({"given", "cluster", "hand"})
"""Where identities come from that may attract other crops. One that joined attracts nobody, because
each mistake would draw the next."""


@dataclass(frozen=True, slots=True)
class Crop:
    """Metadata of one picture of one person.

    Attributes:
        crop_id: unique within the gallery, 1..200 characters.
        identity: who it shows; None if unknown.
        camera: which camera took it; None if unknown.
        timestamp: when it was taken, seconds since 1970-01-01 UTC; None if unknown.
        digest: SHA-256 of the uploaded bytes, so that an import can skip what is already stored.
        origin: where the identity comes from; ignored when crops are compared.
        added: when it was added, seconds since 1970-01-01 UTC; the gallery replaces None by the
            present time. Ignored when crops are compared.
        track: which walk through the camera's view it belongs to; None if unknown. Crops of equal
            camera and track show one person; trackers of two cameras may use the same names.
    """

    crop_id: str
    identity: str | None = None
    camera: str | None = None
    timestamp: float | None = None
    digest: str | None = None
    origin: Origin = field(default="given", compare=False)
    added: float | None = field(default=None, compare=False)
    track: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects crops; all given conditions must hold. An empty filter selects every crop.

    Attributes:
        cameras: only crops of these cameras.
        not_camera: no crops of this camera; crops without a camera pass.
        own_camera: no crops of the camera that took the query; crops without a camera pass.
        since: timestamp >= since; crops without a timestamp do not pass.
        until: timestamp < until; crops without a timestamp do not pass.
        identities: only crops of these identities.
        crop_ids: only these crops.
        has_identity: only crops with (True) or without (False) an identity.
        id_prefix: only crops whose id begins with this text.
        added_since: added >= added_since; crops with an unknown time of adding do not pass.
        added_until: added < added_until; crops with an unknown time of adding do not pass.
        tracks: only crops of tracks with these names, of whatever camera.
        origins: only crops whose identity comes from there; ``given`` passes crops without one.
        expired_before: timestamp < expired_before; crops without a timestamp are judged by the
            time they were added.
    """

    cameras: frozenset[str] | None = None
    not_camera: str | None = None
    since: float | None = None
    until: float | None = None
    identities: frozenset[str] | None = None
    crop_ids: frozenset[str] | None = None
    has_identity: bool | None = None
    expired_before: float | None = None
    own_camera: str | None = None
    id_prefix: str | None = None
    added_since: float | None = None
    added_until: float | None = None
    tracks: frozenset[str] | None = None
    origins: frozenset[Origin] | None = None

    def __post_init__(self) -> None:
        """Bring every name to the form in which it is stored."""
        for field_name in ("cameras", "tracks", "identities", "crop_ids"):
            if (names := getattr(self, field_name)) is not None:
                object.__setattr__(self, field_name, frozenset(map(normal_form, names)))
        for field_name in ("not_camera", "own_camera"):
            if (name := getattr(self, field_name)) is not None:
                object.__setattr__(self, field_name, normal_form(name))
        if self.id_prefix is not None:
            object.__setattr__(self, "id_prefix", composed(self.id_prefix))


@dataclass(frozen=True, slots=True)
class Absent:
    """Names in a filter that no crop of the gallery has, sorted.

    Attributes:
        cameras: from all camera fields of the filter.
        identities: from its identities.
        crop_ids: from its crop ids.
        tracks: from its tracks.
    """

    cameras: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    crop_ids: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GalleryOptions:
    """Settings of one gallery.

    Attributes:
        store_crops: keep the uploaded pictures, not only their embeddings.
        keep_for: seconds after which a crop is erased; None keeps crops until they are deleted.
        join: let a new crop without an identity join the nearest group.
    """

    store_crops: bool = False
    keep_for: float | None = None
    join: bool = False


DEFAULT_OPTIONS = GalleryOptions()


def time_of(crop: Crop) -> float:
    """When a crop was taken, or added if that is unknown, in seconds since 1970-01-01 UTC.

    A crop with neither time is older than every other one.
    """
    return crop.timestamp if crop.timestamp is not None else crop.added or 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a deletion removed, or would remove.

    Attributes:
        crops: number of crops.
        pictures: number of crops that had a stored picture.
        identities: number of distinct identities.
        cameras: number of crops per camera.
        snapshots: ids of snapshots that still hold one of the crops.
        crop_ids: ids of the crops.
        names: the identities.
        digests: digests of the crops, if known.
    """

    crops: int
    pictures: int
    identities: int
    cameras: dict[str, int]
    snapshots: tuple[str, ...] = ()
    crop_ids: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    names: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    digests: frozenset[str] = field(default=frozenset(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A snapshot: a copy of a gallery at one moment, in a file.

    Attributes:
        snapshot_id: unique within the gallery; ids sort by time.
        gallery: the gallery's name.
        model_sha256: the model whose embeddings it holds.
        crops: number of crops.
        bytes: size of its file.
        created: seconds since 1970-01-01 UTC.
    """

    snapshot_id: str
    gallery: str
    model_sha256: str
    crops: int
    bytes: int
    created: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A crop found by a query.

    Attributes:
        crop: its metadata.
        score: cosine with the query, -1..1.
        standardised: cosine of the standardised embeddings, if those were searched.
    """

    crop: Crop
    score: float
    standardised: float | None = None

    @property
    def ranked_by(self) -> float:
        """The score that decides its rank."""
        return self.score if self.standardised is None else self.standardised


@dataclass(frozen=True, slots=True, eq=False)
class StandardisedHits:
    """The answer to one query by standardised embeddings.

    Attributes:
        hits: best standardised cosine first; ties in the order of crop ids.
        nearest: the largest plain cosine of any searched crop, even below ``least``.
        query: (D,) float32, the standardised query.
        rows: (N, D) float32, the first hits standardised; N as requested.
    """

    hits: tuple[Hit, ...]
    nearest: float | None
    query: NDArray[np.float32]
    rows: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing by crop id; ``cursor`` requests the next page, None ends it."""

    crops: tuple[Crop, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class GalleryStats:
    """Counts of a gallery at one moment.

    Attributes:
        name: the gallery's name.
        model_sha256: the model whose embeddings it holds.
        dimension: length of the embeddings.
        created: seconds since 1970-01-01 UTC.
        crops: number of crops that are served.
        identities: number of distinct identities.
        cameras: number of crops per camera.
        bytes_on_disk: size of everything stored.
        damaged: number of crops that are stored but not served, because their embedding is damaged.
        pictures: number of crops with a stored picture.
        store_crops: whether pictures of new crops are stored.
        keep_for: seconds after which a crop is erased; None for never.
        join: whether new crops join the nearest group.
        oldest: date of the oldest crop: its timestamp, or the time it was added if it has none;
            None if no crop has either.
    """

    name: str
    model_sha256: str
    dimension: int
    created: float
    crops: int
    identities: int
    cameras: dict[str, int]
    bytes_on_disk: int
    damaged: int = 0
    pictures: int = 0
    store_crops: bool = False
    keep_for: float | None = None
    join: bool = False
    oldest: float | None = None
