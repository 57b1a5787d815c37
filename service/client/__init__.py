"""The client of the service, for Python programs.

::

    from service.client import Client

    with Client("http://127.0.0.1:8000", key="...") as client:
        answer = client.search(Path("query.jpg"), gallery="lobby", top_k=5)
        for match in answer.results[0].matches:
            print(match.crop_id, match.identity, match.score)

Answers are the models of :mod:`service.api`. The client needs httpx and pydantic, but no part of
the server.
"""

from service.client.client import AsyncClient, Client
from service.client.errors import (
    ArtifactError,
    Conflict,
    Forbidden,
    ImageTooLarge,
    InternalError,
    InvalidImage,
    InvalidInput,
    JobFailed,
    ModelMismatch,
    NotFound,
    Overloaded,
    Refused,
    ServiceError,
    StorageFull,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unconfirmed,
    Unreachable,
    Unsupported,
)
from service.client.fields import EmbeddedCrop, FrameBox, NewCrop, NewFrame, Vector

__all__ = [
    "ArtifactError",
    "AsyncClient",
    "Client",
    "Conflict",
    "EmbeddedCrop",
    "Forbidden",
    "FrameBox",
    "ImageTooLarge",
    "InternalError",
    "InvalidImage",
    "InvalidInput",
    "JobFailed",
    "ModelMismatch",
    "NewCrop",
    "NewFrame",
    "NotFound",
    "Overloaded",
    "Refused",
    "ServiceError",
    "StorageFull",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "Unconfirmed",
    "Unreachable",
    "Unsupported",
    "Vector",
]
