"""What every gallery accepts, whatever stores it: names, crops, embeddings, cursors."""

from __future__ import annotations

import base64
import binascii
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, ModelMismatch
from service.gallery.base import Crop, GalleryOptions
from service.values.gallery_names import gallery_name_of, is_gallery_name
from service.values.names import id_of, name_of, normal_form

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNIT_TOLERANCE = 1e-3


def check_name(name: str) -> None:
    """Accept a gallery's name, which is also its folder's.

    Args:
        name: 1..64 of ``a-z 0-9 _ -``, starting with a letter or digit.

    Raises:
        InvalidInput: the name breaks the rule.
    """
    try:
        gallery_name_of(name)
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def is_name(name: str) -> bool:
    """Whether a text can be a gallery's name."""
    return is_gallery_name(name)


def check_model(model_sha256: str) -> None:
    """Accept the SHA-256 of a model.

    Args:
        model_sha256: 64 hexadecimal digits, lower case.

    Raises:
        InvalidInput: it is none.
    """
    if not _SHA256.fullmatch(model_sha256):
        raise InvalidInput(f"model {model_sha256[:80]!r}: must be 64 digits of 0-9 and a-f")


def check_dimension(dimension: int) -> None:
    """Accept the length of a gallery's embeddings.

    Args:
        dimension: 1..65536.

    Raises:
        InvalidInput: the dimension is out of range.
    """
    if not 1 <= dimension <= 65536:
        raise InvalidInput(f"dimension {dimension}: must be 1 to 65536")


def check_count(what: str, value: int) -> None:
    """Accept a ``top_k`` or a page's limit.

    Args:
        what: the argument's name, for the message.
        value: how many, >= 1.

    Raises:
        InvalidInput: fewer than one.
    """
    if value < 1:
        raise InvalidInput(f"{what} {value}: must be at least 1")


def checked_crop(crop: Crop) -> Crop:
    """Accept a crop's metadata, and bring its names to their normal form.

    Args:
        crop: an addressable id, names, a finite timestamp.

    Returns:
        The crop as it is stored.

    Raises:
        InvalidInput: a field breaks its rule.
    """
    if crop.timestamp is not None and not math.isfinite(crop.timestamp):
        raise InvalidInput(f"crop {crop.crop_id!r}: timestamp {crop.timestamp} is not finite")
    _read(crop.crop_id, "digest", crop.digest)
    crop_id = _addressable(crop.crop_id)
    identity = _read(crop.crop_id, "identity", crop.identity)
    camera = _read(crop.crop_id, "camera", crop.camera)
    if (crop_id, identity, camera) == (crop.crop_id, crop.identity, crop.camera):
        return crop
    return replace(crop, crop_id=crop_id, identity=identity, camera=camera)


def checked_labels(labels: Mapping[str, str | None]) -> dict[str, str | None]:
    """Accept identities for crops, and bring every name to its normal form.

    Args:
        labels: the identity of each crop id, a name or None.

    Returns:
        The labels as they are stored.

    Raises:
        InvalidInput: an identity can be no name.
    """
    return {
        normal_form(crop_id): _read(crop_id, "identity", identity)
        for crop_id, identity in labels.items()
    }


def _addressable(crop_id: str) -> str:
    try:
        return id_of(crop_id)
    except ValueError as error:
        raise InvalidInput(f"crop_id {crop_id[:80]!r}: {error}") from error


def _read(crop_id: str, what: str, text: str | None) -> str | None:
    try:
        return None if text is None else name_of(text)
    except ValueError as error:
        raise InvalidInput(f"crop {crop_id[:80]!r}: {what} {error}") from error


def check_pictures(pictures: Sequence[bytes] | None, count: int) -> None:
    """Accept the pictures of crops.

    Args:
        pictures: one a crop, or None.
        count: how many crops.

    Raises:
        InvalidInput: another number of pictures.
    """
    if pictures is not None and len(pictures) != count:
        raise InvalidInput(f"{len(pictures)} pictures belong to {count} crops: must be one each")


def with_time(crop: Crop, now: float) -> Crop:
    """The crop, added now where it does not say when."""
    if crop.added is not None:
        return crop
    # Ten times as fast as dataclasses.replace, for an import of a million.
    return Crop(
        *(crop.crop_id, crop.identity, crop.camera, crop.timestamp, crop.digest, crop.origin, now)
    )


def described(stored: Crop, crop: Crop) -> Crop | None:
    """A stored crop as a description makes it.

    Args:
        stored: what the gallery holds.
        crop: what is to be known of it. Without a digest, or the time it was added, it keeps those
            that are stored.

    Returns:
        The crop; None where nothing changes, or where the digest tells another picture.
    """
    if crop.digest not in {None, stored.digest}:
        return None
    added = stored.added if crop.added is None else crop.added
    new = replace(crop, digest=stored.digest, added=added)
    same = (new, new.origin, new.added) == (stored, stored.origin, stored.added)
    return None if same else new


def check_options(options: GalleryOptions) -> None:
    """Accept a gallery's options.

    Args:
        options: ``keep_for`` finite and above zero, where it is given.

    Raises:
        InvalidInput: an option breaks its rule.
    """
    keep_for = options.keep_for
    if keep_for is not None and not (math.isfinite(keep_for) and keep_for > 0):
        raise InvalidInput(f"keep_for {keep_for}: must be a finite number of seconds above 0")


def unit_rows(
    embeddings: NDArray[np.float32], count: int | None, dimension: int, owner: Callable[[int], str]
) -> NDArray[np.float32]:
    """Check embeddings and bring each row to length one in full float32 precision.

    A network's rows are unit up to its own rounding; dividing once more makes an inner product of
    two rows their cosine.

    Args:
        embeddings: (N, D) float32, finite, each row of length 1 within 0.001.
        count: N, where it is known.
        dimension: D of the gallery.
        owner: names row i in a message, for example ``crop 'a'``.

    Returns:
        (N, D) float32, contiguous.

    Raises:
        InvalidInput: wrong shape, a non-finite or a non-unit row.
    """
    found = np.shape(embeddings)
    if len(found) != 2 or found[1] != dimension or (count is not None and found[0] != count):
        wanted = f"({'N' if count is None else count}, {dimension})"
        raise InvalidInput(f"embeddings have shape {found}, must be {wanted}")
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    # Huge but finite values overflow in float32 squares, so lengths are taken in float64.
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    for index in np.flatnonzero(~(np.abs(lengths - 1.0) <= _UNIT_TOLERANCE)):
        if not np.isfinite(rows[index]).all():
            raise InvalidInput(f"{owner(int(index))}: embedding holds a value that is not finite")
        raise InvalidInput(
            f"{owner(int(index))}: embedding has length {lengths[index]:.6g}, must be 1 ± 0.001"
        )
    return np.asarray(rows / lengths[:, None], dtype=np.float32)


def last_of_each(crops: Sequence[Crop]) -> list[int]:
    """Positions of the crops that count when an id occurs twice: the last one wins.

    Args:
        crops: N crops.

    Returns:
        Ascending positions, one for each id.
    """
    return sorted({crop.crop_id: position for position, crop in enumerate(crops)}.values())


def model_mismatch(name: str, held: str, running: str) -> ModelMismatch:
    """The refusal to open another model's gallery, with what to do about it.

    Args:
        name: the gallery's.
        held: sha256 of the model that filled it.
        running: sha256 of the model in use.

    Returns:
        The error to raise.
    """
    return ModelMismatch(
        f"gallery {name!r} holds embeddings of model {held[:12]}, which the service does not have "
        f"(it runs {running[:12]}): put that model into the folder REID_MODELS, or change the "
        "gallery's model"
    )


def encode_cursor(crop_id: str) -> str:
    """Make the opaque cursor of the page that follows this crop.

    Args:
        crop_id: the last crop of a page.

    Returns:
        URL-safe text.
    """
    text = crop_id.encode()
    marked = zlib.crc32(text).to_bytes(4, "little") + text
    return base64.urlsafe_b64encode(marked).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Read a cursor back.

    Args:
        cursor: what :func:`encode_cursor` made.

    Returns:
        The crop id it follows.

    Raises:
        InvalidInput: the cursor was cut, changed or made up.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        crop_id = base64.b64decode(padded, altchars=b"-_", validate=True)[4:].decode()
    except (binascii.Error, ValueError):
        crop_id = ""
    if encode_cursor(crop_id) != cursor:
        raise InvalidInput(f"cursor {cursor[:80]!r}: not one this service made")
    return crop_id
