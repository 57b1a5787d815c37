"""Pictures lie on disk under a key each, so that erasing the key erases the picture.

SQLite may leave an old copy of a small row in an unused part of a page. Metadata gets rid of such
copies by being written anew (``GalleryDatabase.compact``); pictures are too many bytes for that.
The keys lie in the metadata: this keeps no secret from whoever reads the file.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np

_KEY_BYTES = 16


def new_key() -> bytes:
    """A key no other picture has."""
    return secrets.token_bytes(_KEY_BYTES)


def veiled(picture: bytes, key: bytes) -> bytes:
    """A picture under its key; veiling it once more with the same key gives it back.

    The key's SHAKE-256 stream, added bit by bit.
    """
    stream = hashlib.shake_256(key).digest(len(picture))
    return np.bitwise_xor(
        np.frombuffer(picture, np.uint8), np.frombuffer(stream, np.uint8)
    ).tobytes()
