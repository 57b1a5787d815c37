"""Everything that can go wrong in a way a caller should understand.

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

A class carries its HTTP status; one handler in :mod:`service.http.problems` turns each into the
same ``application/problem+json`` body (RFC 9457). A message says which value broke which rule.
Programming errors stay ``ValueError`` and ``TypeError``.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class ReidError(Exception):
    """Root of the tree; never raised itself."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"


class InvalidInput(ReidError):
    """A value the caller sent breaks a rule."""

    status = 422
    code = "invalid_input"
    title = "Invalid input"


class InvalidImage(InvalidInput):
    """The bytes are not a picture we can use."""

    code = "invalid_image"
    title = "Invalid image"


class TooLarge(ReidError):
    """The request exceeds a limit of size or count."""

    status = 413
    code = "too_large"
    title = "Too large"


class ImageTooLarge(TooLarge):
    """The picture exceeds the limit of bytes or pixels."""

    code = "image_too_large"
    title = "Image too large"


class Unauthorized(ReidError):
    """The request carries no key, or one that is unknown, expired or revoked."""

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
    """The gallery holds embeddings of another model; the two never mix."""

    code = "model_mismatch"
    title = "Gallery belongs to another model"


class Unconfirmed(Conflict):
    """The change would erase crops at once; say so with `confirm`.

    Args:
        message: what would be erased, and how to confirm it.
        crops: how many crops.
        oldest: the least time of one, seconds since 1970-01-01 UTC.
        newest: the greatest time of one.
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
    """This kind of gallery cannot do what was asked, now or later."""

    status = 501
    code = "unsupported"
    title = "Not supported here"


class TooManyRequests(ReidError):
    """The key's share of requests is used up.

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
    """A part the request needs cannot answer right now.

    Args:
        message: what is missing.
        retry_after: seconds after which a retry makes sense, sent as ``Retry-After``.
    """

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Replaced(Unavailable):
    """The gallery was changed as a whole meanwhile, by a switch or a restore: ask again."""


class Overloaded(Unavailable):
    """The queue is full."""

    code = "overloaded"
    title = "Overloaded"


class StorageFull(ReidError):
    """The data folder cannot take another write."""

    status = 507
    code = "storage_full"
    title = "Storage full"


class ArtifactError(ReidError):
    """A model folder breaks the contract; the message names every broken rule."""

    code = "artifact"
    title = "Unusable model"


def disk_error(what: str, error: OSError) -> StorageFull | Unavailable:
    """What a failure of the file system means to a caller.

    Args:
        what: what could not be done, or where; begins the message.
        error: the failure.

    Returns:
        StorageFull where there is no room, or no quota, left; Unavailable for all else.
    """
    message = f"{what}: {error.strerror or error}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(message)
    return Unavailable(message, retry_after=10)
