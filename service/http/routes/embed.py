"""``POST /embed``: embeddings for programs with their own gallery."""

import base64
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, Form, Response

from service.api.search import EmbedAnswer, EmbeddingEntry, QueryImage
from service.embedding.intake import Embedding, require_one_usable
from service.errors import ImageTooLarge, InvalidImage, Overloaded, ReidError, TooLarge
from service.http.answers import json_answer
from service.http.dependencies import (
    AuditOf,
    ClientOf,
    PartsOf,
    StopwatchOf,
    digests,
    model_name,
    read_uploads,
)
from service.http.given_once import form_given_once
from service.http.problems import image_problem_of, responses
from service.http.request_models import EmbedForm

router = APIRouter(tags=["search"])


@router.post(
    "/embed",
    response_model=EmbedAnswer,
    responses=responses(InvalidImage, ImageTooLarge, TooLarge, Overloaded),
    dependencies=[Depends(form_given_once)],
)
async def embed(
    form: Annotated[EmbedForm, Form(media_type="multipart/form-data")],
    parts: PartsOf,
    stopwatch: StopwatchOf,
    client: ClientOf,
    audit: AuditOf,
) -> Response:
    """Embed images. Nothing is stored.

    The cosine of two embeddings, which is their inner product, says how similar two people look.
    Never compare embeddings of different models.
    """
    uploads = await read_uploads(form.images, parts)
    audit.queries = await digests([upload.data for upload in uploads], parts)
    model = parts.shelf.running
    outcome = await model.intake.embed(uploads, stopwatch)
    require_one_usable(uploads, outcome)

    def answer() -> EmbedAnswer:
        results = [
            _entry(QueryImage(index=index, file=upload.file), entry, form.encoding)
            for index, (upload, entry) in enumerate(zip(uploads, outcome, strict=True))
        ]
        return EmbedAnswer(
            model=model_name(model.manifest),
            dimension=model.manifest.dimension,
            took_ms=stopwatch.took_ms(),
            results=results,
        )

    return await json_answer(parts.executors.reads.of(client), answer)


def _entry(
    image: QueryImage, entry: Embedding | ReidError, encoding: Literal["float", "base64"]
) -> EmbeddingEntry:
    if isinstance(entry, ReidError):
        return EmbeddingEntry(image=image, embedding=None, error=image_problem_of(entry))
    if encoding == "float":
        return EmbeddingEntry(image=image, embedding=entry.tolist())
    little_endian = entry.astype(np.dtype("<f4")).tobytes()
    return EmbeddingEntry(image=image, embedding=base64.b64encode(little_endian).decode())
