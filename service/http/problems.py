"""Turn every failure into the same ``application/problem+json`` body (RFC 9457)."""

from __future__ import annotations

import errno
import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.routing import Match

from service.api.problems import FieldError, ImageProblem, Problem
from service.errors import (
    InvalidInput,
    ReidError,
    StorageFull,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unconfirmed,
    Unsupported,
    disk_error,
)
from service.http.route_table import flat
from service.http.unknown_fields import describe_unknown

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_MOST_FIELDS = 50  # that an answer lists; it counts the others
_UNKNOWN = "extra_forbidden"  # pydantic's type of an unknown field
_OF_DISKS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


def answer_error(request: Request, error: Exception) -> Response:
    """Turn any exception into its answer. This is the only error handler.

    Args:
        request: the request that failed.
        error: the failure.

    Returns:
        A response with the error's status and a problem body.
    """
    error = _disk_problem(error) or error
    match error:
        case ReidError():
            body, headers = problem_of(error), _headers_of(error)
        case RequestValidationError():
            body, headers = _invalid_request(request, error), {}
        case HTTPException():
            body, headers = _http_problem(error), dict(error.headers or {})
            if body.status == HTTPStatus.METHOD_NOT_ALLOWED:
                headers["Allow"] = ", ".join(_methods_of(request))
        case _:
            body = _plain(
                500,
                ReidError.code,
                ReidError.title,
                "the service failed; its log has the reason, with this request id",
            )
            headers = {}
    if body.status >= 500 and not isinstance(error, Unavailable | StorageFull | Unsupported):
        log.error("request %s failed", request.state.request_id, exc_info=error)
    body = body.model_copy(
        update={"instance": request.scope["path"], "request_id": request.state.request_id}
    )
    # ASCII only: text quoted from the request may hold surrogates, which UTF-8 cannot encode.
    text = json.dumps(body.model_dump(mode="json", exclude_none=True))
    return Response(text, body.status, headers, MEDIA_TYPE)


def problem_of(error: ReidError) -> Problem:
    """Describe one of our errors."""
    problem = _plain(error.status, error.code, error.title, str(error))
    if isinstance(error, Unconfirmed):
        found = {"crops": error.crops, "oldest": error.oldest, "newest": error.newest}
        return problem.model_copy(update=found)
    return problem


def image_problem_of(error: ReidError) -> ImageProblem:
    """Describe what is wrong with one image, in an answer about many."""
    return ImageProblem(**problem_of(error).model_dump(include=set(ImageProblem.model_fields)))


def responses(*errors: type[ReidError]) -> dict[int | str, dict[str, Any]]:
    """Make the OpenAPI entries for the errors of a route.

    Args:
        errors: classes of the error tree; classes with the same status share an entry.

    Returns:
        The ``responses`` argument of a route.
    """
    entries: dict[int | str, dict[str, Any]] = {}
    documented: list[type[ReidError]] = [*errors, InvalidInput]
    for error in documented:
        entry = entries.setdefault(
            error.status,
            {
                "description": HTTPStatus(error.status).phrase,
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][error.code] = {"value": _example(error)}
    return entries


def _methods_of(request: Request) -> list[str]:
    # The router only names the methods of the first route of a path, which may have several.
    matching = (
        getattr(route, "methods", None) or ()
        for route in flat(request.app.routes)
        if route.matches(request.scope)[0] is not Match.NONE
    )
    methods = set().union(*matching)
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _example(error: type[ReidError]) -> dict[str, Any]:
    body = _plain(error.status, error.code, error.title, (error.__doc__ or "").split("\n")[0])
    return body.model_dump(mode="json", exclude_none=True) | {
        "instance": "/search",
        "request_id": "6f1c2a9d0b7e4c55",
    }


def _plain(status: int, code: str, title: str, detail: str) -> Problem:
    return Problem(
        type=f"urn:hhcl-reid:problem:{code}", title=title, status=status, detail=detail, code=code
    )


def _disk_problem(error: Exception) -> ReidError | None:
    """Recognise a disk that accepts no writes; None for any other failure.

    While a form is parsed, large uploads are kept in the temporary folder. FastAPI calls every
    failure of the parser a bad request, but a full disk is the service's fault.
    """
    cause = error.__cause__ if isinstance(error, HTTPException) else error
    if isinstance(cause, OSError) and cause.errno in _OF_DISKS:
        return disk_error("the service cannot store the upload", cause)
    return None


def _headers_of(error: ReidError) -> dict[str, str]:
    match error:
        case Unavailable() | TooManyRequests():
            return {"Retry-After": str(error.retry_after)}
        case Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case _:
            return {}


def _http_problem(error: HTTPException) -> Problem:
    phrase = HTTPStatus(error.status_code).phrase
    code = TooLarge.code if error.status_code == TooLarge.status else phrase.lower()
    return _plain(error.status_code, code.replace(" ", "_"), phrase, str(error.detail))


def _invalid_request(request: Request, error: RequestValidationError) -> Problem:
    found = error.errors()
    alone = len(found) == 1
    fields = [_field_error(request, item, alone=alone) for item in found[:_MOST_FIELDS]]
    detail = "; ".join(map(_sentence, found, fields))
    if len(found) > _MOST_FIELDS:
        detail += f"; and {len(found) - _MOST_FIELDS:,} more"
    problem = _plain(InvalidInput.status, InvalidInput.code, InvalidInput.title, detail)
    return problem.model_copy(update={"errors": fields})


def _field_error(request: Request, item: dict[str, Any], *, alone: bool) -> FieldError:
    where, *names = (_short(str(part)) for part in item["loc"])  # clients choose some of the names
    if item["type"] == _UNKNOWN:
        detail = describe_unknown(request, item["loc"], alone=alone)
    else:
        message = item["msg"].removeprefix("Value error, ")
        detail = _explain(message, item.get("input"), names[0] if names else where)
    return FieldError(where=where, field=".".join(names) or where, detail=detail)


def _sentence(item: dict[str, Any], field: FieldError) -> str:
    return field.detail if item["type"] == _UNKNOWN else f"{field.field}: {field.detail}"


def _explain(message: str, value: object, name: str) -> str:
    """Explain what is wrong with a field, to readers who do not know our libraries."""
    if message.startswith("Expected UploadFile"):
        return f"sent as text, not as a file; with curl write -F {name}=@FILE"
    if isinstance(value, UploadFile):
        return f"sent as a file, not as text; with curl write -F {name}=VALUE or -F {name}=<FILE"
    is_shown = isinstance(value, str | int | float)
    return f"{message} (got {_short(repr(value))})" if is_shown else message


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
