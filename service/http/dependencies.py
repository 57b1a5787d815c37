"""What routes get from FastAPI. All are coroutines: plain functions would run in a thread each."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Path, Request, UploadFile

from service.access.caller import Caller
from service.access.gate import Gate
from service.api.detection import DetectorName
from service.api.models import ModelName
from service.embedding.encoded_image import EncodedImage
from service.errors import TooLarge
from service.http.audit_note import AuditNote
from service.machine.stopwatch import Stopwatch
from service.model.detector_manifest import DetectorManifest
from service.model.manifest import Manifest
from service.values.fields import CropId
from service.wiring import Parts


async def parts_of(request: Request) -> Parts:
    """The parts of the app that received the request."""
    parts: Parts = request.app.state.parts
    return parts


async def stopwatch_of(parts: Annotated[Parts, Depends(parts_of)]) -> Stopwatch:
    """A stopwatch that starts now and reports to the metrics."""
    return Stopwatch(parts.metrics.observe_stage)


async def gate_of(request: Request) -> Gate:
    """The keys, the limits and the audit log."""
    gate: Gate = request.app.state.gate
    return gate


async def caller_of(request: Request) -> Caller:
    """The caller. A route whose path has no gallery must check the caller's access itself."""
    caller: Caller = request.state.caller
    return caller


async def client_of(request: Request) -> str:
    """The name of the client to charge: that of a key, or of an address."""
    client: str = request.state.client
    return client


async def audit_of(request: Request) -> AuditNote:
    """The note in which this route tells the audit log what happened."""
    note: AuditNote = request.state.audit
    return note


PartsOf = Annotated[Parts, Depends(parts_of)]
StopwatchOf = Annotated[Stopwatch, Depends(stopwatch_of)]
GateOf = Annotated[Gate, Depends(gate_of)]
CallerOf = Annotated[Caller, Depends(caller_of)]
ClientOf = Annotated[str, Depends(client_of)]
AuditOf = Annotated[AuditNote, Depends(audit_of)]
CropIdInPath = Annotated[CropId, Path(description="may hold slashes")]


async def read_uploads(files: Sequence[UploadFile], parts: Parts) -> list[EncodedImage]:
    """Read uploaded files.

    Args:
        files: the files of the form.
        parts: know the limit.

    Returns:
        Name and bytes of each file.

    Raises:
        TooLarge: more images than one request may carry.
    """
    limit = parts.settings.max_images
    if len(files) > limit:
        raise TooLarge(f"{len(files)} images: at most {limit} are allowed in one request")
    read = await asyncio.gather(*(file.read() for file in files))
    return [EncodedImage(file.filename or "", data) for file, data in zip(files, read, strict=True)]


async def digests(queries: Sequence[bytes], parts: Parts) -> list[str]:
    """SHA-256 of each query's bytes, in hexadecimal, for the audit log."""
    return await parts.executors.reads.run(
        lambda: [hashlib.sha256(query).hexdigest() for query in queries]
    )


def model_name(manifest: Manifest) -> ModelName:
    """Name the network that made the embeddings."""
    return ModelName(name=manifest.name, sha256=manifest.sha256)


def detector_name(detector: DetectorManifest) -> DetectorName:
    """Name the network that found the persons."""
    return DetectorName(name=detector.name, sha256=detector.sha256)
