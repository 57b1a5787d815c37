"""When a request is sent again: only if that is safe, and only for so long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from service.client import (
    AsyncClient,
    Client,
    NotFound,
    Overloaded,
    ServiceError,
    TooManyRequests,
    Unavailable,
    Unreachable,
)
from service.client.call import Call
from service.client.patience import Attempts

OK = {"status": "ok"}
GALLERY = {
    "name": "g",
    "model_sha256": "1f",
    "dimension": 2,
    "created": 0.0,
    "crops": 0,
    "identities": 0,
    "cameras": {},
    "bytes_on_disk": 0,
    "damaged": 0,
    "pictures": 0,
    "store_crops": False,
    "keep_for": None,
    "join": False,
    "oldest": None,
}


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"type": "x", "title": "T", "status": status, "detail": "d", "code": code}
    return httpx.Response(status, json=body, headers=headers)


class Script:
    """Answers requests one after the other, and remembers what was asked."""

    def __init__(self, *answers: httpx.Response | type[httpx.RequestError]) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.paths: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers.pop(0)
        if isinstance(answer, type):
            raise answer("no")
        self.bodies.append(request.read())
        self.paths.append(request.url.path)
        return answer

    async def later(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return self(request)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    # Only this module's: services of other tests sleep, too.
    monkeypatch.setattr("service.client.sending.time", SimpleNamespace(sleep=made.append))
    loops = SimpleNamespace(sleep=sleep, get_running_loop=asyncio.get_running_loop)
    monkeypatch.setattr("service.client.sending.asyncio", loops)
    return made


@pytest.fixture(params=["blocking", "awaiting"])
def play(request: pytest.FixtureRequest, pauses: list[float]) -> Callable[..., Any]:
    """Asks a script through one of the clients."""

    def blocking(script: Script, ask: Callable[[Any], Any], **options: Any) -> Any:
        with Client(transport=httpx.MockTransport(script), **options) as client:
            return ask(client)

    def awaiting(script: Script, ask: Callable[[Any], Any], **options: Any) -> Any:
        async def run() -> Any:
            transport = httpx.MockTransport(script.later)
            async with AsyncClient(transport=transport, **options) as client:
                return await ask(client)

        return asyncio.run(run())

    return {"blocking": blocking, "awaiting": awaiting}[request.param]


def alive() -> httpx.Response:
    return httpx.Response(200, json=OK)


def test_retry_after_is_honoured(play, pauses):
    script = Script(
        problem(503, "unavailable", **{"Retry-After": "7"}),
        problem(429, "too_many_requests", **{"Retry-After": "3"}),
        alive(),
    )
    assert play(script, lambda client: client.ops.readyz()).status == "ok"
    assert pauses == [7.0, 3.0]


def test_without_it_pauses_double(play, pauses):
    script = Script(*[problem(503, "unavailable")] * 6, alive())
    play(script, lambda client: client.ops.readyz())
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_a_pause_beyond_the_time_is_not_begun(play, pauses):
    script = Script(problem(503, "unavailable", **{"Retry-After": "61"}))
    with pytest.raises(Unavailable):
        play(script, lambda client: client.ops.readyz(), retry_for=60.0)
    assert pauses == []


def test_nothing_is_repeated_without_time(play, pauses):
    with pytest.raises(Overloaded):
        play(Script(problem(503, "overloaded")), lambda client: client.ops.info(), retry_for=0)
    assert pauses == []


def test_a_connection_that_is_refused_is_tried_again_whatever_the_request(play, pauses):
    script = Script(httpx.ConnectError, httpx.Response(201, json=GALLERY))
    assert play(script, lambda client: client.galleries.create("g")).name == "g"
    assert pauses == [0.5]


@pytest.mark.parametrize("failure", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_a_connection_that_breaks_is_tried_again_only_if_repeating_is_safe(play, failure):
    assert play(Script(failure, alive()), lambda client: client.ops.readyz()).status == "ok"
    with pytest.raises(Unreachable, match=r"is the service running\?"):
        play(Script(failure), lambda client: client.galleries.create("g"))


def test_an_unsafe_request_is_repeated_only_if_the_service_did_not_begin(play, pauses):
    script = Script(
        problem(429, "too_many_requests"),
        problem(503, "overloaded"),
        httpx.Response(201, json=GALLERY),
    )
    play(script, lambda client: client.galleries.create("g"))
    with pytest.raises(Unavailable):
        play(Script(problem(503, "unavailable")), lambda client: client.galleries.create("g"))


def test_other_refusals_are_final(play, pauses):
    with pytest.raises(NotFound):
        play(Script(problem(404, "not_found")), lambda client: client.galleries.get("g"))
    assert pauses == []


def test_fields_that_a_newer_service_adds_are_ignored(play):
    script = Script(httpx.Response(200, json=GALLERY | {"brand_new": [1]}))
    assert play(script, lambda client: client.galleries.get("g")).name == "g"


def test_whether_it_is_ready_is_asked_once(play, pauses):
    asked = (problem(503, "unavailable"), httpx.ConnectError, alive())
    found = [play(Script(answer), lambda client: client.ops.is_ready()) for answer in asked]
    assert found == [False, False, True]
    assert pauses == []


def test_a_body_is_made_anew_for_each_attempt(play):
    job = json.loads(JOB)
    script = Script(problem(503, "overloaded"), httpx.ReadError, httpx.Response(202, json=job))
    play(script, lambda client: client.imports.upload("g", lambda: iter([b"a", b"b"])))
    assert script.bodies == [b"ab", b"ab"]


def test_pieces_that_can_be_read_once_are_sent_once(play):
    def pieces() -> Iterator[bytes]:
        yield b"a"

    with pytest.raises(TooManyRequests):
        play(
            Script(problem(429, "too_many_requests")),
            lambda client: client.imports.upload("g", pieces()),
        )


def test_a_gallery_that_somebody_else_just_created_is_used(play):
    script = Script(
        problem(404, "not_found"), problem(409, "conflict"), httpx.Response(200, json=GALLERY)
    )
    assert play(script, lambda client: client.galleries.provide("g")).name == "g"
    assert script.paths == ["/galleries/g", "/galleries", "/galleries/g"]


def test_a_path_prefix_of_the_address_is_kept(play):
    script = Script(alive())
    play(script, lambda client: client.ops.livez(), url="https://example.org/reid/")
    assert script.paths == ["/reid/livez"]


def test_a_date_is_read_as_well():
    call: Call[None] = Call(method="GET", path="/", read=lambda _: None, repeat="always")
    when = datetime.now(UTC) + timedelta(seconds=10_000)
    from service.client.patience import refusal

    request = httpx.Request("GET", "http://x/")
    response = httpx.Response(
        503, headers={"Retry-After": format_datetime(when, usegmt=True)}, request=request
    )
    error = refusal(response)
    assert 9_000 < error.retry_after <= 10_000
    assert Attempts(call, 60.0).after(error) is None
    odd = httpx.Response(503, headers={"Retry-After": "soon"}, request=request)
    assert refusal(odd).retry_after is None


def test_the_time_counts_from_the_first_attempt():
    now = [0.0]
    call: Call[None] = Call(method="GET", path="/", read=lambda _: None, repeat="always")
    attempts = Attempts(call, 10.0, lambda: now[0])
    assert attempts.after(httpx.ConnectError("no")) == 0.5
    now[0] = 9.0
    assert attempts.after(httpx.ConnectError("no")) == 1.0
    now[0] = 9.5
    assert attempts.after(httpx.ConnectError("no")) is None


def test_every_failure_is_a_service_error(play):
    with pytest.raises(ServiceError):
        play(Script(httpx.UnsupportedProtocol), lambda client: client.ops.livez())


JOB = json.dumps(
    {
        "job_id": "1f",
        "kind": "import",
        "gallery": "g",
        "state": "queued",
        "counts": {},
        "done": 0,
        "total": None,
        "rate": 0.0,
        "eta_seconds": None,
        "created": 0.0,
        "started": None,
        "finished": None,
        "result": None,
        "error": None,
        "errors": 0,
        "kept_bytes": 0,
        "resumable": False,
    }
)
