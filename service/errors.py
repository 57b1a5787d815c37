"""Errors that a caller should understand.

::

    ReidError                    500  internal
    ├── InvalidInput             422  invalid_input
    │   └── InvalidImage         422  invalid_image
    ├── TooLarge                 413  too_large
    │   └── ImageTooLarge        413  image_too_large
    ├── Unauthorized             401  unauthorized     (WWW-Authenticate)
    ├── Forbidden                403  forbidden
    ├── NotFound                 404  not_found
    ├── Conflict                 409  conflict
    │   ├── ModelMismatch        409  model_mismatch
    │   └── Unconfirmed          409  unconfirmed
    ├── TooManyRequests          429  too_many_requests (Retry-After)
    ├── Unavailable              503  unavailable      (Retry-After)
    │   ├── Replaced             503  unavailable      (Retry-After)
    │   └── Overloaded           503  overloaded       (Retry-After)
    ├── Unsupported              501  unsupported
    ├── StorageFull              507  storage_full
    └── ArtifactError            500  artifact         (at start-up, never in a request)

Each class has its HTTP status. :func:`service.http.problems.answer_error` turns every failure into
the same ``application/problem+json`` body (RFC 9457): these errors, FastAPI's validation errors,
HTTP errors such as 404, and unexpected exceptions, which become ``internal``. It runs in two
places: as FastAPI's handler for errors from routes, and in
:mod:`service.http.middleware.every_request` for errors from middleware and for unexpected ones.
A message says which value broke which rule. Programming errors stay ``ValueError`` and
``TypeError``.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class ReidError(Exception):
    """Base class of these errors; never raised itself."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"


class InvalidInput(ReidError):
    """A value in the request breaks a rule."""

    status = 422
    code = "invalid_input"
    title = "Invalid input"


class InvalidImage(InvalidInput):
    """The bytes are not a usable image."""

    code = "invalid_image"
    title = "Invalid image"


class TooLarge(ReidError):
    """The request exceeds a size or count limit."""

    status = 413
    code = "too_large"
    title = "Too large"


class ImageTooLarge(TooLarge):
    """The image exceeds the limit of bytes or pixels."""

    code = "image_too_large"
    title = "Image too large"


class Unauthorized(ReidError):
    """The request has no key, or one that is unknown, expired or revoked."""

    status = 401
    code = "unauthorized"
    title = "Key required"


class Forbidden(ReidError):
    """The key does not allow this."""

    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFound(ReidError):
    """The named gallery, crop or route does not exist."""

    status = 404
    code = "not_found"
    title = "Not found"


class Conflict(ReidError):
    """The request contradicts what is already there."""

    status = 409
    code = "conflict"
    title = "Conflict"


class ModelMismatch(Conflict):
    """The gallery holds embeddings of another model, and embeddings of two models never mix."""

    code = "model_mismatch"
    title = "Gallery belongs to another model"


class Unconfirmed(Conflict):
    """The change would erase crops at once; send `confirm` with it.

    Args:
        message: what would be erased, and how to confirm it.
        crops: how many crops would be erased.
        oldest: time of the oldest, in seconds since 1970-01-01 UTC.
        newest: time of the newest.
    """

    code = "unconfirmed"
    title = "Confirmation needed"

    def __init__(
        self,
        message: str,
        crops: int = 0,
        oldest: float | None = None,
        newest: float | None = None,
    ) -> None:
        super().__init__(message)
        self.crops = crops
        self.oldest = oldest
        self.newest = newest


class Unsupported(ReidError):
    """This service or this kind of gallery cannot do what was asked, now or later."""

    status = 501
    code = "unsupported"
    title = "Not supported here"


class TooManyRequests(ReidError):
    """The client has used up its limit.

    Args:
        message: which limit.
        retry_after: seconds after which a retry makes sense, sent as ``Retry-After``.
    """

    status = 429
    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ReidError):
    """Something that the request needs is temporarily unavailable.

    Args:
        message: what is unavailable.
        retry_after: seconds after which a retry makes sense, sent as ``Retry-After``.
    """

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Replaced(Unavailable):
    """The gallery was replaced meanwhile, by a model switch or a restore: retry."""


class Overloaded(Unavailable):
    """The queue or all places are full."""

    code = "overloaded"
    title = "Overloaded"


class StorageFull(ReidError):
    """The disk has no room for another write."""

    status = 507
    code = "storage_full"
    title = "Storage full"


class ArtifactError(ReidError):
    """A model folder violates the contract; the message names every broken rule."""

    code = "artifact"
    title = "Unusable model"


def disk_error(what: str, error: OSError) -> StorageFull | Unavailable:
    """Translate a file system error for the caller.

    Args:
        what: what could not be done, or where; the message starts with it.
        error: the failure.

    Returns:
        StorageFull if no room or quota is left; Unavailable for all other errors.
    """
    message = f"{what}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(message)
    return Unavailable(message, retry_after=10)
