"""Wrong keys are counted per address: the network's, not one that a client invents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.access.gate import REFUSALS_PER_MINUTE, Gate
from service.access.keys import FILE, KeyStore
from service.access.limits import Buckets
from service.access.new_key import NewKey
from service.errors import TooManyRequests, Unauthorized
from service.machine.executors import Threads
from service.settings import Settings

WRONG = {"Authorization": "Bearer reid_00000000_guess"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of the services that ``start`` starts."""
    return with_a_key(tmp_path / "data")


def with_a_key(folder: Path) -> Path:
    """A data folder whose service needs a key."""
    with closing(KeyStore(folder / FILE)) as store:
        store.create(NewKey(label="a", scope="admin"))
    return folder


def ask(service: Any, *forwarded: str, count: int = 1) -> Counter[int]:
    """Statuses of requests with a wrong key and these X-Forwarded-For headers."""
    headers = [*WRONG.items(), *(("X-Forwarded-For", line) for line in forwarded)]
    return Counter(
        service.http.get("/galleries", headers=headers).status_code for _ in range(count)
    )


def addresses(data: Path) -> list[str | None]:
    """The address of every audit entry."""
    files = sorted((data / "audit").glob("*.ndjson"))
    lines = [line for path in files for line in path.read_text().splitlines() if line.strip()]
    return [json.loads(line).get("address") for line in lines]


@pytest.fixture
def no_time_passes(monkeypatch) -> None:
    """Stop refilling the buckets of refused keys."""
    monkeypatch.setattr("service.access.gate.Buckets", lambda: Buckets(lambda: 0.0))


@pytest.mark.usefixtures("no_time_passes")
def test_sixty_wrong_keys_from_invented_addresses_are_limited(start, data):
    with start() as service:
        answered = Counter[int]()
        for number in range(60):
            answered += ask(service, f"203.0.113.{number}")
    assert answered == {401: REFUSALS_PER_MINUTE, 429: 60 - REFUSALS_PER_MINUTE}
    assert set(addresses(data)) == {"127.0.0.1"}


def test_no_variable_of_uvicorn_makes_it_trust_anybody(start, data, monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    with start() as service:
        ask(service, "203.0.113.9")
    assert addresses(data) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([], "127.0.0.1"),
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["10.1.2.3, 10.1.2.4"], "10.1.2.3"),  # only our own proxies
        (["203.0.113.9, nonsense"], "127.0.0.1"),  # entries left of an invalid one do not count
        (["203.0.113.9, nonsense, 10.1.2.3"], "10.1.2.3"),
        (["203.0.113.9,"], "127.0.0.1"),
        (["unknown"], "127.0.0.1"),
        (["1" * 8000], "127.0.0.1"),
        ([chr(27) + "[2J"], "127.0.0.1"),
    ],
)
def test_the_first_address_from_the_right_that_is_not_a_proxy_is_the_client(
    behind_proxies, forwarded, address
):
    service, data = behind_proxies
    assert ask(service, *forwarded) == {401: 1}
    assert addresses(data)[-1] == address


@pytest.fixture(scope="module")
def behind_proxies(launch, tmp_path_factory) -> Iterator[tuple[Any, Path]]:
    """A service that trusts this machine and one network."""
    data = with_a_key(tmp_path_factory.mktemp("data"))
    with launch(data, trusted_proxies=["127.0.0.1", "10.0.0.0/8"]) as service:
        yield service, data


@pytest.mark.usefixtures("no_time_passes")
def test_behind_a_proxy_each_client_has_its_own_share(start, data):
    with start(trusted_proxies=["127.0.0.1"]) as service:
        spoofed = Counter[int]()
        for number in range(60):
            spoofed += ask(service, f"192.0.2.{number}, 203.0.113.9")
        assert spoofed == {401: REFUSALS_PER_MINUTE, 429: 60 - REFUSALS_PER_MINUTE}
        assert ask(service, "203.0.113.10") == {401: 1}


def test_an_untrusted_neighbour_of_a_proxy_is_not_trusted(start, data):
    with start(trusted_proxies=["10.0.0.0/8"]) as service:
        ask(service, "203.0.113.9")
    assert addresses(data) == ["127.0.0.1"]


@pytest.mark.usefixtures("no_time_passes")
def test_one_ipv6_host_has_one_share(tmp_path):
    threads = Threads("bookkeeping", 1, lambda _: None)
    with closing(threads), closing(Gate(tmp_path, 600, 90, threads)) as gate:
        for number in range(REFUSALS_PER_MINUTE):
            gate.count_refusal(f"2001:db8::{number:x}", Unauthorized("no such key"))
        with pytest.raises(TooManyRequests):
            gate.count_refusal("2001:db8::ffff", Unauthorized("no such key"))
        gate.count_refusal("2001:db8:0:1::1", Unauthorized("no such key"))


@pytest.mark.parametrize("wrong", ["proxy.local", "10.0.0.1/8", "*", ""])
def test_a_proxy_is_an_address_or_a_network(wrong):
    with pytest.raises(ValidationError):
        Settings(trusted_proxies=[wrong])
