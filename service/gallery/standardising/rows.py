"""What a standardised search reads of a gallery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import rows_at
from service.gallery.base import Crop
from service.gallery.components import Components
from service.gallery.standardising.cameras import Lengths, Standard, Standards

Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class StandardisedRows:
    """The part of a gallery's view that a standardised search reads.

    Attributes:
        vectors: (S, D) float32, unit rows.
        cameras: (S,) int32, code of each row's camera, -1 if unknown.
        identities: (S,) int32, code of each row's identity, -1 if unknown.
        crops: the crop of each slot.
        camera_codes: code of each camera.
        identity_codes: code of each identity.
        standards: the statistics in force.
        lengths: lengths of the standardised rows.
        components: principal components of the rows; None if there are none.
    """

    vectors: Float32s
    cameras: NDArray[np.int32]
    identities: NDArray[np.int32]
    crops: list[Crop]
    camera_codes: dict[str, int]
    identity_codes: dict[str, int]
    standards: Standards
    lengths: Lengths
    components: Components | None = None

    def standard_of(self, camera: str | None) -> Standard | None:
        """The statistics that apply to a camera; None while no camera is standardised."""
        return self.standards.of(None if camera is None else self.camera_codes.get(camera))

    def standardised(self, slots: Slots) -> Float32s:
        """(N, D) float32 standardised rows of these slots, in their order."""
        group_of = self.standards.group_of(self.cameras[slots])
        return self.standards.apply(rows_at(self.vectors, slots), group_of)
