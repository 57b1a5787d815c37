"""Drawn crops, and the embeddings that the service computes for them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import httpx
import numpy as np
from numpy.typing import NDArray

from service.testing import encode

COUNT = 48  # one request embeds them all


class Pictures:
    """A fixed set of crops that clients upload again and again.

    Attributes:
        files: PNG files of random blocks, each different.
        digests: SHA-256 of each.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        blocks = rng.integers(0, 256, (COUNT, 8, 4, 3), dtype=np.uint8)
        large = blocks.repeat(8, axis=1).repeat(8, axis=2)
        self.files = [encode(pixels) for pixels in large]
        self.digests = [hashlib.sha256(file).hexdigest() for file in self.files]
        self._row = {digest: row for row, digest in enumerate(self.digests)}
        self._embeddings: NDArray[np.float32] | None = None

    def learn(self, url: str) -> None:
        """Fetch the embeddings from the service, once; they do not depend on what it stores."""
        if self._embeddings is not None:
            return
        files = [("images", ("crop.png", file)) for file in self.files]
        answer = httpx.post(f"{url}/embed", files=files, data={"encoding": "base64"}, timeout=60)
        rows = [base64.b64decode(entry["embedding"]) for entry in answer.json()["results"]]
        self._embeddings = np.stack([np.frombuffer(row, "<f4") for row in rows])

    def row_of(self, digest: str) -> int:
        """The number of the picture with this digest."""
        return self._row[digest]

    def embeddings_of(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) float32 unit rows of the pictures with these digests."""
        if self._embeddings is None:
            raise ValueError("call learn first")
        return self._embeddings[[self.row_of(digest) for digest in digests]]
