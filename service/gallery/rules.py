"""What every gallery accepts, whatever stores it: names, crops, cursors."""

from __future__ import annotations

import base64
import binascii
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.errors import InvalidInput, ModelMismatch
from service.gallery.base import Crop, GalleryOptions
from service.values.gallery_names import gallery_name_of, is_gallery_name
from service.values.names import id_of, name_of, normal_form

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_name(name: str) -> None:
    """Check a gallery's name, which is also the name of its folder.

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
    """Whether a text is a valid gallery name."""
    return is_gallery_name(name)


def check_model(model_sha256: str) -> None:
    """Check the SHA-256 of a model.

    Args:
        model_sha256: 64 hexadecimal digits, lower case.

    Raises:
        InvalidInput: it breaks the rule.
    """
    if not _SHA256.fullmatch(model_sha256):
        raise InvalidInput(f"model {model_sha256[:80]!r} must be 64 digits of 0-9 and a-f")


def check_dimension(dimension: int) -> None:
    """Check the length of a gallery's embeddings.

    Args:
        dimension: 1..65536.

    Raises:
        InvalidInput: the dimension is out of range.
    """
    if not 1 <= dimension <= 65536:
        raise InvalidInput(f"dimension must be between 1 and 65536, got {dimension}")


def check_count(what: str, value: int) -> None:
    """Check a ``top_k`` or a page's limit.

    Args:
        what: the argument's name, for the message.
        value: its value, >= 1.

    Raises:
        InvalidInput: the value is below 1.
    """
    if value < 1:
        raise InvalidInput(f"{what} must be at least 1, got {value}")


def checked_crop(crop: Crop) -> Crop:
    """Check a crop's metadata, and bring its names to their normal form.

    Args:
        crop: its id must be addressable and its timestamp finite.

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
    track = _read(crop.crop_id, "track", crop.track)
    given = (crop.crop_id, crop.identity, crop.camera, crop.track)
    if (crop_id, identity, camera, track) == given:
        return crop
    return replace(crop, crop_id=crop_id, identity=identity, camera=camera, track=track)


def checked_labels(labels: Mapping[str, str | None]) -> dict[str, str | None]:
    """Check identities for crops, and bring every name to its normal form.

    Args:
        labels: the identity per crop id, a name or None.

    Returns:
        The labels as they are stored.

    Raises:
        InvalidInput: an identity is not a valid name.
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
    """Check the pictures of crops.

    Args:
        pictures: one per crop, or None.
        count: number of crops.

    Raises:
        InvalidInput: the numbers differ.
    """
    if pictures is not None and len(pictures) != count:
        raise InvalidInput(f"got {len(pictures)} pictures for {count} crops: send one per crop")


def with_time(crop: Crop, now: float) -> Crop:
    """The crop, with ``added`` set to now if it is not set."""
    if crop.added is not None:
        return crop
    # Ten times as fast as dataclasses.replace, which matters when a million crops are imported.
    return Crop(
        *(crop.crop_id, crop.identity, crop.camera, crop.timestamp, crop.digest, crop.origin, now),
        crop.track,
    )


def described(stored: Crop, crop: Crop) -> Crop | None:
    """Apply new metadata to a stored crop.

    Args:
        stored: the crop in the gallery.
        crop: its new metadata. If the digest, or the time it was added, is None, the stored one is
            kept.

    Returns:
        The crop; None if nothing changes, or if the digest belongs to another picture.
    """
    if crop.digest not in {None, stored.digest}:
        return None
    added = stored.added if crop.added is None else crop.added
    new = replace(crop, digest=stored.digest, added=added)
    same = (new, new.origin, new.added) == (stored, stored.origin, stored.added)
    return None if same else new


def check_options(options: GalleryOptions) -> None:
    """Check a gallery's options.

    Args:
        options: ``keep_for`` must be None, or finite and above zero.

    Raises:
        InvalidInput: an option breaks its rule.
    """
    keep_for = options.keep_for
    if keep_for is not None and not (math.isfinite(keep_for) and keep_for > 0):
        raise InvalidInput(f"keep_for must be a finite number of seconds above 0, got {keep_for}")


def last_of_each(crops: Sequence[Crop]) -> list[int]:
    """Find the last crop of each id.

    Args:
        crops: N crops, in which an id may occur several times.

    Returns:
        Ascending positions, one per id.
    """
    return sorted({crop.crop_id: position for position, crop in enumerate(crops)}.values())


def model_mismatch(name: str, held: str, running: str) -> ModelMismatch:
    """The error for a gallery whose model the service does not have.

    Args:
        name: the gallery's name.
        held: SHA-256 of the model whose embeddings it holds.
        running: SHA-256 of the running model.

    Returns:
        The error to raise.
    """
    return ModelMismatch(
        f"gallery {name!r} holds embeddings of model {held[:12]}, which the service does not have "
        f"(it runs {running[:12]}): put that model into the folder REID_MODELS, or change the "
        "gallery's model"
    )


def encode_cursor(crop_id: str) -> str:
    """Make the opaque cursor for the page that follows this crop.

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
        InvalidInput: the cursor was cut off, changed or invented.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        crop_id = base64.b64decode(padded, altchars=b"-_", validate=True)[4:].decode()
    except (binascii.Error, ValueError):
        crop_id = ""
    if encode_cursor(crop_id) != cursor:
        raise InvalidInput(f"cursor {cursor[:80]!r} was not issued by this service")
    return crop_id
