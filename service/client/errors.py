"""What can go wrong when a program talks to the service: one class per code of the API.

::

    ServiceError
    ├── Unreachable              nothing answered, or the connection broke
    └── Refused                  the service answered with a problem (RFC 9457)
        ├── InvalidInput         422 invalid_input; also an argument that was never sent
        │   └── InvalidImage     422 invalid_image
        ├── TooLarge             413 too_large
        │   └── ImageTooLarge    413 image_too_large
        ├── Unauthorized         401 unauthorized
        ├── Forbidden            403 forbidden
        ├── NotFound             404 not_found
        ├── Conflict             409 conflict
        │   ├── ModelMismatch    409 model_mismatch
        │   └── Unconfirmed      409 unconfirmed
        ├── TooManyRequests      429 too_many_requests
        ├── Unavailable          503 unavailable
        │   └── Overloaded       503 overloaded
        ├── Unsupported          501 unsupported
        ├── StorageFull          507 storage_full
        ├── InternalError        500 internal
        └── ArtifactError        500 artifact

A code that this version does not know raises :class:`Refused` itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from service.api.jobs import JobRecord
from service.api.problems import Problem


class ServiceError(Exception):
    """The service cannot be reached, or refused a request; the message says why."""


class Unreachable(ServiceError):
    """Nothing answered, or the connection broke before the answer was complete."""


class JobFailed(ServiceError):
    """A job that was waited for failed or was cancelled.

    Attributes:
        job: its last state.
    """

    def __init__(self, job: JobRecord) -> None:
        super().__init__(f"{job.kind} {job.job_id} {job.state}: {job.error}")
        self.job = job


class Refused(ServiceError):
    """The service refused a request.

    Attributes:
        status: HTTP status; None if the client refused the arguments without sending them.
        problem: the problem document; None if the answer had none, such as a proxy's.
        request_id: names the request in the service's logs.
        retry_after: seconds after which the service expects a retry to succeed, if it said so.
    """

    code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        problem: Problem | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem
        self.request_id = request_id
        self.retry_after = retry_after


class InvalidInput(Refused):
    """A value breaks a rule; ``problem.errors`` names each field."""

    code = "invalid_input"


class InvalidImage(InvalidInput):
    """The bytes are not a usable picture."""

    code = "invalid_image"


class TooLarge(Refused):
    """The request exceeds a limit of size or count; ``client.ops.info().limits`` lists them."""

    code = "too_large"


class ImageTooLarge(TooLarge):
    """The picture exceeds the limit of bytes or pixels."""

    code = "image_too_large"


class Unauthorized(Refused):
    """The request carried no key, or one that is unknown, expired or revoked."""

    code = "unauthorized"


class Forbidden(Refused):
    """The key does not allow this."""

    code = "forbidden"


class NotFound(Refused):
    """The gallery, crop, job or other thing that was named does not exist."""

    code = "not_found"


class Conflict(Refused):
    """The request contradicts what is already there."""

    code = "conflict"


class ModelMismatch(Conflict):
    """The gallery holds embeddings of another model."""

    code = "model_mismatch"


class Unconfirmed(Conflict):
    """The change would erase crops at once; ``problem.crops`` says how many."""

    code = "unconfirmed"


class TooManyRequests(Refused):
    """The key's share of requests is used up."""

    code = "too_many_requests"


class Unavailable(Refused):
    """A part that the request needs cannot answer right now."""

    code = "unavailable"


class Overloaded(Unavailable):
    """The service's queue is full."""

    code = "overloaded"


class Unsupported(Refused):
    """This kind of gallery cannot do what was asked."""

    code = "unsupported"


class StorageFull(Refused):
    """The service's data folder cannot take another write."""

    code = "storage_full"


class InternalError(Refused):
    """The service failed; its log has the reason under ``request_id``."""

    code = "internal"


class ArtifactError(Refused):
    """The service's model folder breaks the contract."""

    code = "artifact"


def class_of(code: str) -> type[Refused]:
    """The class of a code; :class:`Refused` for a code that this version does not know."""
    return _BY_CODE.get(code, Refused)


def _every(parent: type[Refused]) -> Iterator[type[Refused]]:
    for child in parent.__subclasses__():
        yield child
        yield from _every(child)


_BY_CODE = {found.code: found for found in _every(Refused)}
