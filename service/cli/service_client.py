"""The command line's way to a running service."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from service.embedding.encoded_image import EncodedImage
from service.errors import InvalidInput
from service.gallery.base import Crop
from service.gallery.rules import check_name

_TRIES = 10
_LONGEST_WAIT = 30.0
_LATER = frozenset({httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS})


class ServiceError(Exception):
    """The service refused a request or cannot be reached; the message says why."""


class Client:
    """Talks to one service; several threads may share it.

    Args:
        url: where the service listens.
        key: sent with every request, where the service has keys.
        patient: wait and ask again where the service is overloaded, restarts or cannot be
            reached; every request the client sends may be repeated without harm.
    """

    def __init__(self, url: str, key: str | None = None, *, patient: bool = False) -> None:
        self._url = url
        self._tries = _TRIES if patient else 1
        try:
            self._http = httpx.Client(
                base_url=url,
                headers={} if key is None else {"Authorization": f"Bearer {key}"},
                timeout=httpx.Timeout(120.0, connect=5.0),
            )
        except (httpx.InvalidURL, TypeError) as error:
            raise ServiceError(f"{url}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def info(self) -> dict[str, Any]:
        """What ``GET /info`` answers."""
        return self._json("GET", "/info")

    def ready(self) -> bool:
        """Whether ``GET /readyz`` says so; False where nothing answers."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def provide_gallery(self, name: str, **options: Any) -> None:
        """Create a gallery unless there is one of that name.

        Args:
            name: the gallery's name.
            options: further fields of ``POST /galleries``, for one that is created.
        """
        # Looking first: a key that may fill a gallery need not be one that may create it.
        if self._send("GET", _address(name)).status_code == httpx.codes.OK:
            return
        answer = self._send("POST", "/galleries", json={"name": name, **options})
        if answer.status_code != httpx.codes.CONFLICT:
            _checked(answer)

    def crops(self, gallery: str) -> Iterator[Crop]:
        """Every crop of a gallery, in the order of the ids."""
        cursor: str | None = None
        while True:
            query = {"limit": 1000, **({"cursor": cursor} if cursor else {})}
            page = self._json("GET", f"{_address(gallery)}/crops", params=query)
            yield from (Crop(**record) for record in page["crops"])
            cursor = page["cursor"]
            if cursor is None:
                return

    def import_archive(
        self, gallery: str, content_type: str, chunks: Callable[[], Iterator[bytes]], key: str
    ) -> dict[str, Any]:
        """Start an import of an archive or a manifest.

        Args:
            gallery: an existing gallery.
            content_type: what is sent, as ``POST /galleries/{gallery}/imports`` knows it.
            chunks: makes the body; called again where it has to be sent again.
            key: idempotency key of this body.

        Returns:
            The job.
        """
        headers = {"Content-Type": content_type, "Idempotency-Key": key}
        path = f"{_address(gallery)}/imports"
        body: dict[str, Any] = _checked(
            self._repeat(lambda: self._http.post(path, content=chunks(), headers=headers))
        ).json()
        return body

    def import_folder(self, gallery: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Start an import of a folder the service can read; answers the job."""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        return self._json("POST", f"{_address(gallery)}/imports", json=dict(spec), headers=key)

    def job(self, job_id: str) -> dict[str, Any]:
        """Where a job stands."""
        return self._json("GET", f"/jobs/{job_id}")

    def job_errors(self, job_id: str) -> Iterator[tuple[str, str]]:
        """The items of a job that failed, and why."""
        for line in _checked(self._send("GET", f"/jobs/{job_id}/errors")).iter_lines():
            row = json.loads(line)
            yield row["item"], row["reason"]

    def cancel_job(self, job_id: str) -> None:
        """End a job; one that has ended stays as it is."""
        answer = self._send("POST", f"/jobs/{job_id}/cancel")
        if answer.status_code != httpx.codes.CONFLICT:
            _checked(answer)

    def search(self, uploads: Sequence[EncodedImage], options: Mapping[str, Any]) -> dict[str, Any]:
        """Search for the people on some images.

        Args:
            uploads: image files.
            options: form fields of ``POST /search``; those that are None are left out.

        Returns:
            The answer.
        """
        fields = {name: value for name, value in options.items() if value is not None}
        return self._json("POST", "/search", data=fields, files=_parts(uploads))

    def _json(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        body: dict[str, Any] = _checked(self._send(method, path, **content)).json()
        return body

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        return self._repeat(lambda: self._http.request(method, path, **content))

    def _repeat(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        for tries_left in reversed(range(self._tries)):
            try:
                answer = ask()
            except httpx.TransportError as error:
                if not tries_left:
                    reason = str(error) or type(error).__name__
                    raise ServiceError(f"{self._url}: {reason}; is the service running?") from error
                time.sleep(1.0)
                continue
            if answer.status_code not in _LATER or not tries_left:
                return answer
            time.sleep(_wait(answer))
        raise AssertionError("the last try returns or raises")


def _parts(uploads: Sequence[EncodedImage]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (upload.file, upload.data)) for upload in uploads]


def _wait(answer: httpx.Response) -> float:
    seconds = answer.headers.get("Retry-After", "")
    return min(float(seconds), _LONGEST_WAIT) if seconds.isdecimal() else 1.0


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        problem = answer.json()
        text = f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        text = f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}"
    raise ServiceError(text)


def _address(gallery: str) -> str:
    """Where a gallery is; a name such as ``..`` would mean something else there."""
    try:
        check_name(gallery)
    except InvalidInput as error:
        raise ServiceError(f"{error.title}: {error}") from error
    return f"/galleries/{gallery}"
