"""What a gallery is, whatever stores it.

A gallery belongs to one model (its sha256): embeddings of two models never mix.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.values import vocabulary
from service.values.names import composed, normal_form

Origin = vocabulary.Origin
"""Where a crop's identity comes from: whoever sent the crop, a clustering, or a correction."""


@dataclass(frozen=True, slots=True)
class Crop:
    """One picture of one person, as the gallery remembers it.

    Attributes:
        crop_id: unique within the gallery, 1..200 characters.
        identity: who it shows, where known.
        camera: which camera took it, where known.
        timestamp: when, seconds since 1970-01-01 UTC, where known.
        digest: SHA-256 of the uploaded bytes, so that an import can skip what it already sent.
        origin: where the identity comes from; two crops may differ in it and be equal.
        added: when it was added, seconds since 1970-01-01 UTC; the gallery fills it in where it is
            None. Not compared either.
    """

    crop_id: str
    identity: str | None = None
    camera: str | None = None
    timestamp: float | None = None
    digest: str | None = None
    origin: Origin = field(default="given", compare=False)
    added: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which crops take part; every given field must hold. The empty filter lets all pass.

    Attributes:
        cameras: crops of these cameras only.
        not_camera: no crop of this camera; crops without a camera pass.
        own_camera: no crop of this camera either, which took the query; crops without a camera
            pass.
        since: timestamp >= since; crops without a timestamp do not pass.
        until: timestamp < until; crops without a timestamp do not pass.
        identities: crops of these identities only.
        crop_ids: these crops only.
        has_identity: only crops with (True) or without (False) an identity.
        id_prefix: crops whose id begins with this text.
        added_since: added >= this; crops of which nobody knows when they were added do not pass.
        added_until: added < this; such crops do not pass either.
        expired_before: crops whose timestamp, or where that is unknown the time they were added,
            is before this.
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

    def __post_init__(self) -> None:
        """Bring every name to the form in which it is stored."""
        for field_name in ("cameras", "identities", "crop_ids"):
            if (names := getattr(self, field_name)) is not None:
                object.__setattr__(self, field_name, frozenset(map(normal_form, names)))
        for field_name in ("not_camera", "own_camera"):
            if (name := getattr(self, field_name)) is not None:
                object.__setattr__(self, field_name, normal_form(name))
        if self.id_prefix is not None:
            object.__setattr__(self, "id_prefix", composed(self.id_prefix))


@dataclass(frozen=True, slots=True)
class Absent:
    """Names in a filter that no crop of the gallery has, in their order.

    Attributes:
        cameras: of those that the filter asks for or leaves out.
        identities: of those that the filter asks for.
        crop_ids: of those that the filter asks for.
    """

    cameras: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    crop_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GalleryOptions:
    """What an owner decides for one gallery.

    Attributes:
        store_crops: keep the uploaded pictures, not only their embeddings.
        keep_for: seconds after which a crop is erased; None keeps crops until they are deleted.
        join: a new crop without an identity joins the nearest group.
    """

    store_crops: bool = False
    keep_for: float | None = None
    join: bool = False


DEFAULT_OPTIONS = GalleryOptions()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a deletion took away, or would.

    Attributes:
        crops: how many crops.
        pictures: how many of them had a stored picture.
        identities: distinct identities among them.
        cameras: crops of each camera, where known.
        snapshots: ids of snapshots that still hold one of them.
        crop_ids: of these crops.
        names: identities among them.
        digests: of these crops, where known.
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
    """A gallery as it was at one moment, kept on disk.

    Attributes:
        snapshot_id: unique within the gallery; sorts by time.
        gallery: the gallery's name.
        model_sha256: the model whose embeddings it holds.
        crops: how many.
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
        crop: what the gallery knows of it.
        score: cosine with the query, -1..1.
        standardised: the same of standardised embeddings, where it was found by that.
    """

    crop: Crop
    score: float
    standardised: float | None = None

    @property
    def ranked_by(self) -> float:
        """The score that put it where it stands."""
        return self.score if self.standardised is None else self.standardised


@dataclass(frozen=True, slots=True)
class StandardisedQuery:
    """What a query by standardised embeddings asks for.

    Attributes:
        top_k: at most this many hits a query, >= 1.
        where: which crops take part.
        least: least plain cosine of a hit; -1 lets all pass.
        rows: hand out the standardised embeddings of this many hits.
    """

    top_k: int
    where: Filter
    least: float = -1.0
    rows: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StandardisedHits:
    """The answer to one query by standardised embeddings.

    Attributes:
        hits: best standardised cosine first; ties in the order of crop ids.
        nearest: the largest plain cosine there was, reaching ``least`` or not.
        query: (D,) float32, the query standardised.
        rows: (N, D) float32, the first hits standardised, as many as were asked for.
    """

    hits: tuple[Hit, ...]
    nearest: float | None
    query: NDArray[np.float32]
    rows: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, ordered by crop id; ``cursor`` asks for the next part, None ends it."""

    crops: tuple[Crop, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class GalleryStats:
    """Counts of a gallery at one moment.

    Attributes:
        name: the gallery's name.
        model_sha256: the model whose embeddings it holds.
        dimension: their length.
        created: seconds since 1970-01-01 UTC.
        crops: crops that are served.
        identities: distinct identities among them.
        cameras: crops of each camera, where known.
        bytes_on_disk: size of everything stored.
        damaged: crops that are stored but not served, because their embedding is damaged.
        pictures: crops whose picture is stored.
        store_crops: whether pictures of new crops are stored.
        keep_for: seconds after which a crop is erased, None for never.
        join: whether new crops join the nearest group.
        oldest: least timestamp of a crop, or where it has none the time it was added; None where
            nothing is known of any.
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


class Gallery(Protocol):
    """One named set of crops. Safe to call from several threads.

    A method that returns has made its change durable; one that raises has changed nothing.
    """

    @property
    def name(self) -> str:
        """The gallery's name."""
        ...

    @property
    def model_sha256(self) -> str:
        """The model whose embeddings it holds."""
        ...

    @property
    def dimension(self) -> int:
        """Length of its embeddings."""
        ...

    @property
    def options(self) -> GalleryOptions:
        """What its owner decided."""
        ...

    def changing(self) -> AbstractContextManager[None]:
        """Hold the gallery's lock, so that nobody else writes between a read and a write.

        Whoever decides by what is stored reads, decides and writes inside. One thread may enter
        twice. Never embed, and never wait for the event loop, inside.

        Raises:
            NotFound: the gallery was deleted.
            Replaced: this object no longer stands for the gallery; open it again.
        """
        ...

    def configure(self, options: GalleryOptions) -> None:
        """Change the options; without ``store_crops`` the stored pictures are erased.

        Raises:
            InvalidInput: an option breaks its rule.
            Unsupported: this kind of gallery cannot do it.
        """
        ...

    def upsert(
        self,
        crops: Sequence[Crop],
        embeddings: NDArray[np.float32],
        pictures: Sequence[bytes] | None = None,
    ) -> int:
        """Insert or replace crops by id, all or none.

        Args:
            crops: N crops; when an id occurs twice the last one wins.
            embeddings: (N, D) float32, unit rows; row i belongs to crop i.
            pictures: N image files, kept only by a gallery that stores crops. Without them a
                crop keeps its stored picture where its digest stays the same; where the digest
                changes, the old picture is of another file and is erased.

        Returns:
            How many ids were new.

        Raises:
            InvalidInput: wrong shape, a non-finite or non-unit row.
            StorageFull: the disk refused the write.
        """
        ...

    def get(self, crop_id: str) -> Crop:
        """One crop. Raises NotFound."""
        ...

    def picture(self, crop_id: str) -> bytes:
        """The stored picture of a crop. Raises NotFound, also where none is stored."""
        ...

    def pictured(self, where: Filter) -> set[str]:
        """Ids of the crops that pass the filter and whose picture is stored."""
        ...

    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        """Crops that pass the filter, in the order of their ids; ``limit`` >= 1.

        Raises:
            InvalidInput: a broken cursor, or a limit below one.
        """
        ...

    def crops(self, where: Filter) -> list[Crop]:
        """Every crop that passes the filter, in the order of their ids."""
        ...

    def count(self, where: Filter) -> int:
        """How many crops pass the filter: those that a query with it looks at."""
        ...

    def absent(self, where: Filter) -> Absent:
        """Which cameras, identities and crop ids of a filter no crop of the gallery has."""
        ...

    def describe(self, crops: Sequence[Crop]) -> int:
        """Change what is known of stored crops, all or none; embeddings and pictures stay.

        Identity, camera, timestamp and origin become those given, ``added`` too where it is given.
        A crop whose digest is not the stored one is passed over: it is another picture. A crop
        without a digest keeps the stored one.

        Args:
            crops: N crops; ids that are gone are passed over, and the last one of an id wins.

        Returns:
            How many crops changed.

        Raises:
            InvalidInput: a field breaks its rule.
        """
        ...

    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> int:
        """Set identities, all or none; embeddings stay as they are.

        Args:
            labels: the new identity of each crop id, None for unknown; ids that are gone are
                passed over.
            origin: where these identities come from.

        Returns:
            How many crops changed, in identity or origin.

        Raises:
            InvalidInput: an identity breaks its rule.
        """
        ...

    def delete(self, where: Filter, *, dry_run: bool = False) -> Receipt:
        """Delete what passes the filter; with ``dry_run`` only tell what that would be."""
        ...

    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) float32 rows of these crops, in this order. Raises NotFound."""
        ...

    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Exact nearest crops by cosine.

        Args:
            embeddings: (Q, D) float32, unit rows.
            top_k: at most this many hits a row, >= 1.
            where: which crops take part.

        Returns:
            Q lists of hits, best first; ties in the order of crop ids.
        """
        ...

    def query_standardised(
        self,
        embeddings: NDArray[np.float32],
        cameras: Sequence[str | None],
        asked: StandardisedQuery,
    ) -> list[StandardisedHits] | None:
        """Exact nearest crops by cosine after each camera's own statistics were taken out.

        Args:
            embeddings: (Q, D) float32, unit rows, as the network gave them.
            cameras: which camera took each query, None where unknown.
            asked: how many, which crops, from which plain cosine on.

        Returns:
            Q answers; None while no camera has crops enough, and :meth:`query` is to be asked.

        Raises:
            Unsupported: what stores this gallery cannot.
        """
        ...

    def stats(self) -> GalleryStats:
        """Counts at this moment."""
        ...


class GalleryStore(Protocol):
    """All galleries of one service."""

    @property
    def device(self) -> str:
        """``cuda``, ``cpu`` or ``milvus``: where queries are answered."""
        ...

    def create(
        self,
        name: str,
        model_sha256: str,
        dimension: int,
        options: GalleryOptions = DEFAULT_OPTIONS,
    ) -> Gallery:
        """Create a gallery, durable on return.

        Args:
            name: 1..64 of ``a-z 0-9 _ -``.
            model_sha256: the model whose embeddings it will hold, 64 hexadecimal digits.
            dimension: their length.
            options: what its owner decided.

        Returns:
            The empty gallery.

        Raises:
            Conflict: it exists.
            InvalidInput: the name, the dimension or an option breaks its rule.
            Unsupported: this kind of gallery cannot do what an option asks.
        """
        ...

    def open(self, name: str) -> Gallery:
        """An existing gallery. Raises NotFound."""
        ...

    def changing(self, name: str) -> AbstractContextManager[Gallery]:
        """The gallery as it is served now, with its lock held; see :meth:`Gallery.changing`.

        Raises:
            NotFound: no such gallery.
        """
        ...

    def stats(self) -> list[GalleryStats]:
        """Stats of every gallery, by name."""
        ...

    def delete(self, name: str) -> int:
        """Delete a gallery and everything in it; returns how many crops. Raises NotFound."""
        ...

    def holding(self, digests: Collection[str], but: str) -> list[str]:
        """Other galleries that hold a crop with one of these digests, or cannot tell, by name."""
        ...

    def snapshots(self, name: str) -> list[SnapshotRecord]:
        """Snapshots of a gallery, oldest first; also of one that was deleted. Raises NotFound."""
        ...

    def take_snapshot(self, name: str) -> SnapshotRecord:
        """Keep a gallery as it is now, while writes go on. Raises NotFound, Unsupported."""
        ...

    def snapshot_file(self, name: str, snapshot_id: str) -> Path:
        """The file of a snapshot. Raises NotFound, Unsupported."""
        ...

    def restore(self, name: str, snapshot_id: str, into: str | None) -> Gallery:
        """Bring a snapshot back, verified before it replaces anything.

        Args:
            name: the gallery the snapshot was taken of.
            snapshot_id: which one.
            into: name of a new gallery; None replaces what the gallery holds now.

        Returns:
            The gallery as it was.

        Raises:
            NotFound: no such gallery or snapshot.
            Conflict: ``into`` exists, the snapshot is damaged or foreign, or of a model the gallery
                no longer has; nothing was replaced.
            Unsupported: this kind of gallery has no snapshots.
        """
        ...

    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        """Delete a snapshot. Raises NotFound, Unsupported."""
        ...

    def tidy(self) -> None:
        """Do what erasures put off; called now and then, and never in a hurry."""
        ...

    def writable(self) -> bool:
        """Whether a write would be accepted now."""
        ...

    def close(self) -> None:
        """Finish writes and release files."""
        ...
