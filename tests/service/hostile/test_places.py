"""Clients that occupy places: without a key they get none, with a key their share."""

from __future__ import annotations

from contextlib import ExitStack

import httpx
import pytest
from waiting import PATIENCE

from service.testing import solid

CROP = solid((200, 20, 20))
PART = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
DRIP = PART + b"x" * (330 - len(PART))
PLACES, DRIPPERS = 16, 40


class Clock:
    """A clock that tests advance."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keyed(launch, tmp_path, key_in, clock):
    """A service with keys and few places, and its data folder."""
    key_in(tmp_path, "admin")
    with launch(tmp_path, clock=clock, max_requests=PLACES, receive_seconds=300) as service:
        yield service, tmp_path


def sound(service, key: str, count: int = 20) -> list[int]:
    """The statuses of valid searches with a key, one after another."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE) as client:
        files = {"images": ("a", CROP)}
        return [client.post("/search", files=files).status_code for _ in range(count)]


@pytest.mark.parametrize("wrong", [None, "reid_00000000_guess"])
def test_slow_clients_without_a_key_get_no_place(keyed, key_in, dial, upload, wrong):
    service, data = keyed
    key = key_in(data)
    with ExitStack() as stack:
        for _ in range(DRIPPERS):
            stack.enter_context(dial(service)).send(upload(key=wrong) + DRIP)
        assert sound(service, key) == [200] * 20


def test_a_key_with_too_small_a_scope_gets_no_place_either(keyed, key_in, dial, upload):
    service, data = keyed
    key, weak = key_in(data), key_in(data)
    with ExitStack() as stack:
        for _ in range(DRIPPERS):
            line = stack.enter_context(dial(service))
            line.send(upload(key=weak, path="/galleries/default/crops") + DRIP)
        assert sound(service, key) == [200] * 20


def test_a_slow_key_holds_a_quarter_and_locks_nobody_out(keyed, key_in, dial, upload, clock):
    service, data = keyed
    key, dripping = key_in(data), key_in(data)
    with ExitStack() as stack:
        lines = [stack.enter_context(dial(service)) for _ in range(DRIPPERS)]
        statuses = [line.begin(upload(key=dripping)) for line in lines]
        assert statuses == [100] * 4 + [429] * (DRIPPERS - 4)
        for line in lines[:4]:
            line.send(DRIP)
        assert sound(service, key) == [200] * 20
        clock.now = 2.0
        late = stack.enter_context(dial(service))
        assert late.begin(upload(key=dripping)) == 100  # takes the place of one of its own
        assert sound(service, key) == [200] * 20


def test_the_rejection_says_whose_share_is_used_up(keyed, key_in, dial, upload):
    service, data = keyed
    dripping = key_in(data)
    with ExitStack() as stack:
        for _ in range(4):
            assert stack.enter_context(dial(service)).begin(upload(key=dripping)) == 100
        line = stack.enter_context(dial(service))
        line.send(upload(key=dripping))
        status, headers, body = line.answer()
    assert (status, headers["retry-after"]) == (429, "1")
    assert f"4 requests of key {dripping.split('_')[1]}" in body.decode()


def test_an_address_holds_a_quarter_while_there_are_no_keys(launch, tmp_path, dial, upload, clock):
    limits = {"max_requests": PLACES, "receive_seconds": 300}
    with launch(tmp_path, clock=clock, **limits) as service, ExitStack() as stack:
        lines = [stack.enter_context(dial(service)) for _ in range(DRIPPERS)]
        assert [line.begin(upload()) for line in lines] == [100] * 4 + [429] * (DRIPPERS - 4)
        other = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=service.url, transport=other, timeout=PATIENCE) as client:
            asked = [client.post("/search", files={"images": ("a", CROP)}) for _ in range(20)]
        assert [answer.status_code for answer in asked] == [200] * 20


def test_when_all_places_are_taken_slow_uploads_make_room(
    launch, tmp_path, key_in, dial, upload, clock
):
    key_in(tmp_path, "admin")
    keys = [key_in(tmp_path) for _ in range(5)]
    service_of_eight = launch(tmp_path, clock=clock, max_requests=8, receive_seconds=300)
    with service_of_eight as service, ExitStack() as stack:
        lines = [stack.enter_context(dial(service)) for _ in range(8)]
        for line, key in zip(lines, keys[:4] * 2, strict=True):
            assert line.begin(upload(key=key)) == 100
            line.send(DRIP)
        assert sound(service, keys[4], 1) == [503]
        clock.now = 2.0
        assert sound(service, keys[4]) == [200] * 20


def test_a_request_rejected_without_a_place_is_not_a_failure_in_the_audit_log(
    keyed, key_in, dial, upload
):
    service, data = keyed
    dripping = key_in(data, "write")
    with ExitStack() as stack:
        for _ in range(4):
            assert stack.enter_context(dial(service)).begin(upload(key=dripping)) == 100
        for path in ("/search", "/galleries/default/crops"):
            line = stack.enter_context(dial(service))
            assert line.begin(upload(key=dripping, path=path)) == 429
        logged = [file.read_text() for file in (data / "audit").glob("*.ndjson")]
        assert "".join(logged) == ""
