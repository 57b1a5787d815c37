"""Each client has one name, under which its requests are counted."""

from __future__ import annotations

import pytest

from service.access.caller import client_name


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "address 192.0.2.7"),
        ("::ffff:192.0.2.7", "address 192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "address 2001:db8:1:2::/64"),
        ("2001:db8:1:2::ff", "address 2001:db8:1:2::/64"),
        ("fe80::1%eth0", "address fe80::/64"),
        ("", "address unknown"),
        ("x" * 10_000, "address unknown"),
    ],
)
def test_a_client_without_a_key_is_named_by_its_address(address: str, name: str) -> None:
    assert client_name(None, address) == name


def test_a_client_with_a_key_is_named_by_it_at_any_address() -> None:
    assert client_name("1f0e7c2d", "192.0.2.7") == client_name("1f0e7c2d", "") == "key 1f0e7c2d"
