"""What ``/galleries/{gallery}/imports`` takes as JSON."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from service.fields import JsonBody

MAX_PATTERN = 500

Relative = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class ImportBody(JsonBody):
    """A folder the service can read itself."""

    folder: Relative = Field(
        description="relative to a folder of REID_IMPORT_ROOTS; . is that folder itself",
        examples=["lobby/2026-11"],
    )
    pattern: str | None = Field(
        default=None,
        max_length=MAX_PATTERN,
        description="regular expression on the path relative to the folder, with groups identity, "
        "camera, timestamp, crop_id; without it Market-1501 names are read",
    )
    manifest: Relative | None = Field(
        default=None,
        description="file in that folder (.csv, .ndjson, .jsonl, .parquet) with path, and "
        "crop_id, identity, camera, timestamp where known",
    )

    @model_validator(mode="after")
    def _one_says_what_names_mean(self) -> Self:
        if self.pattern is not None and self.manifest is not None:
            raise ValueError("pattern and manifest exclude each other")
        return self
