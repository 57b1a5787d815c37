"""The form that fills a gallery with the persons of whole frames."""

from collections.abc import Sequence
from typing import Annotated, Self

from fastapi import UploadFile
from pydantic import (
    AfterValidator,
    FailFast,
    Field,
    Json,
    RootModel,
    WithJsonSchema,
    model_validator,
)

from service.detection.cutting import MarkedPerson
from service.detection.frame_intake import FrameOptions
from service.embedding.encoded_image import EncodedImage
from service.http.request_models import MAX_ENTRIES, seconds_of
from service.ingest.frame_enroller import SentFrame
from service.values.boxes import Box
from service.values.fields import (
    ZONE,
    Body,
    FewValues,
    FrameScore,
    JsonBody,
    Label,
    Tiles,
    Zone,
    ZonedTime,
)
from service.values.frame_ids import MAX_FRAME_ID, MAX_PERSONS, frame_id_of
from service.values.tiling import Grid
from service.values.timestamps import Moment

FrameId = Annotated[
    str,
    AfterValidator(frame_id_of),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_FRAME_ID}),
]
Pixels = Annotated[float, Field(allow_inf_nan=False)]


class FrameFields(JsonBody):
    """Metadata of one frame."""

    frame_id: FrameId | None = Field(
        default=None,
        description="begins the ids of its crops: FRAME_ID/01, FRAME_ID/02; default: the name of "
        "its file",
    )
    camera: Label | None = Field(default=None, description="default: the request's")
    zone: Zone | None = Field(default=None, description=ZONE)
    timestamp: ZonedTime | None = Field(default=None, description="default: the request's")


class FrameList(RootModel[Annotated[list[FrameFields], FailFast(), Field(max_length=MAX_ENTRIES)]]):
    """Metadata of the frames, in their order."""


class GivenBox(JsonBody):
    """A person on a frame, in pixels of the upright frame."""

    x: Pixels = Field(description="left edge, from 0", examples=[612.4])
    y: Pixels = Field(description="upper edge, from 0", examples=[148.9])
    width: Pixels = Field(gt=0, examples=[71.3])
    height: Pixels = Field(gt=0, examples=[190.6])
    score: float | None = Field(
        default=None, ge=0, le=1, description="of your detector, for the answer", examples=[0.83]
    )
    track: Label | None = Field(
        default=None, description="the camera's track that the person belongs to", examples=["17"]
    )

    @property
    def marked(self) -> MarkedPerson:
        """The person that the box marks."""
        box = Box(self.x, self.y, self.width, self.height)
        return MarkedPerson(box, self.score, self.track)


_Boxes = Annotated[list[GivenBox], FailFast(), Field(max_length=MAX_PERSONS)]


class BoxLists(RootModel[Annotated[list[_Boxes], FailFast(), Field(max_length=MAX_ENTRIES)]]):
    """The persons of each frame, in the order of the frames."""


class FramesForm(Body):
    """``POST /galleries/{gallery}/frames``."""

    images: list[UploadFile] = Field(
        min_length=1, description="whole frames: JPEG, PNG, WebP, BMP or TIFF"
    )
    frames: Annotated[Json[FrameList], FewValues] | None = Field(
        default=None,
        description="JSON list; entry i describes frame i, and overrides the fields of the request",
        examples=['[{"frame_id": "c1/000451", "camera": "c1"}]'],
    )
    camera: Label | None = Field(default=None, description="the camera that took the frames")
    zone: Zone | None = Field(default=None, description=ZONE)
    timestamp: ZonedTime | None = Field(default=None, description="when they were taken")
    tiles: Tiles = "1x1"
    score: FrameScore = None
    boxes: Annotated[Json[BoxLists], FewValues] | None = Field(
        default=None,
        description="JSON list; entry i lists the persons of frame i, which the detector then need "
        "not find",
        examples=['[[{"x": 612.4, "y": 148.9, "width": 71.3, "height": 190.6}]]'],
    )
    min_quality: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="persons with a lower quality are not stored; their status is dropped",
    )
    dry_run: bool = Field(default=False, description="find and embed the persons, store nothing")

    @model_validator(mode="after")
    def _lists_describe_every_frame(self) -> Self:
        for name, entries in (("frames", self.frames), ("boxes", self.boxes)):
            if entries is not None and len(entries.root) != len(self.images):
                raise ValueError(
                    f"{name} has {len(entries.root)} entries for {len(self.images)} images: entry "
                    "i must describe image i"
                )
        if self.boxes is not None and (self.tiles != "1x1" or self.score is not None):
            raise ValueError(
                "tiles and score are for the detector, which boxes replace: leave them out"
            )
        return self

    @model_validator(mode="after")
    def _frames_differ(self) -> Self:
        first: dict[str, int] = {}
        for index, frame_id in enumerate(self._frame_ids()):
            if first.setdefault(frame_id, index) != index:
                raise ValueError(
                    f"images {first[frame_id]} and {index} are both called {frame_id[:80]!r}, so "
                    "their crops would replace each other: give each its own frame_id in frames"
                )
        return self

    @property
    def persons(self) -> FrameOptions | list[list[MarkedPerson]]:
        """How to find the persons, or those on each frame."""
        if self.boxes is None:
            return FrameOptions(Grid.read(self.tiles), self.score)
        return [[box.marked for box in boxes] for boxes in self.boxes.root]

    @property
    def moments(self) -> list[Moment | None]:
        """When each frame was taken, as the client wrote it."""
        return [entry.timestamp or self.timestamp for entry in self._entries()]

    def sent(self, uploads: Sequence[EncodedImage]) -> list[SentFrame]:
        """The frames.

        Args:
            uploads: the files of ``images``.

        Returns:
            Each with its id and its metadata.
        """
        described = zip(
            uploads, self._frame_ids(), self._entries(), map(seconds_of, self.moments), strict=True
        )
        return [
            SentFrame(upload, frame_id, entry.camera or self.camera, timestamp)
            for upload, frame_id, entry, timestamp in described
        ]

    def _entries(self) -> Sequence[FrameFields]:
        return [FrameFields()] * len(self.images) if self.frames is None else self.frames.root

    def _frame_ids(self) -> list[str]:
        """Raises ValueError: a file's name cannot be the id of its frame."""
        return [
            _id_of_file(index, file.filename or "") if entry.frame_id is None else entry.frame_id
            for index, (file, entry) in enumerate(zip(self.images, self._entries(), strict=True))
        ]


def _id_of_file(index: int, name: str) -> str:
    try:
        return frame_id_of(name)
    except ValueError as error:
        raise ValueError(
            f"the name of image {index} cannot be the id of a frame, because it {error}; give it a "
            "frame_id in frames"
        ) from error
