"""Each picture is stored under a key of its own, so that erasing the key erases the picture.

SQLite may leave an old copy of a small row in an unused part of a page. Metadata is rewritten to
remove such copies (``GalleryDatabase.compact``), but pictures have too many bytes for that. The
keys are part of the metadata: this hides nothing from anyone who can read the file.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np

_KEY_BYTES = 16


def new_key() -> bytes:
    """A new random key."""
    return secrets.token_bytes(_KEY_BYTES)


def veiled(picture: bytes, key: bytes) -> bytes:
    """Encode a picture with its key, or decode it: applying the same key twice restores it.

    The picture is XORed with the key's SHAKE-256 stream.
    """
    stream = hashlib.shake_256(key).digest(len(picture))
    return np.bitwise_xor(
        np.frombuffer(picture, np.uint8), np.frombuffer(stream, np.uint8)
    ).tobytes()
