"""Which addresses may be posted to, and which hosts of the Internet are public."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from service.settings import Settings
from service.values.addresses import AllowedAddresses, WebAddress, is_public

HOOKS = WebAddress.read("https://hooks.example.com/a")


@pytest.mark.parametrize(
    "text",
    [
        "ftp://host/",
        "https://user:password@host/",
        "https://host/#fragment",
        "https://host:0/",
        "https://host:70000/",
        "https://host/..",
        "https://host/a/%2E./b",
        "https://host/a%2fb",
        "https://host/a b",
        "https://host\\@other/",
        "https://höst/",
        "https://",
        "//host/",
        "https://host/\n",
    ],
)
def test_addresses_that_programs_could_read_differently_are_rejected(text):
    with pytest.raises(ValueError, match="must be"):
        WebAddress.read(text)


@pytest.mark.parametrize(
    ("url", "covered"),
    [
        ("https://hooks.example.com/in", True),
        ("https://HOOKS.example.com:443/in/a?b=c", True),
        ("https://hooks.example.com/inner", False),
        ("https://hooks.example.com/", False),
        ("http://hooks.example.com/in", False),
        ("https://hooks.example.com:444/in", False),
        ("https://hooks.example.com.evil.com/in", False),
        ("http://10.1.2.3:8080/x/y", True),
    ],
)
def test_a_prefix_allows_what_lies_below_it(url, covered):
    allowed = AllowedAddresses.read(["https://hooks.example.com/in", "http://10.1.2.3:8080/"])
    assert allowed.covers(WebAddress.read(url)) is covered


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
    ],
)
def test_no_address_of_this_machine_or_of_a_private_net_is_public(address):
    assert not is_public(ip_address(address))
    assert not AllowedAddresses().may_connect(HOOKS, ip_address(address))


def test_what_is_listed_may_be_connected_to():
    assert AllowedAddresses().may_connect(HOOKS, ip_address("93.184.215.14"))
    allowed = AllowedAddresses.read(["10.1.0.0/16", "fd00::/8"])
    for address, may in (("10.1.2.3", 1), ("::ffff:10.1.2.3", 1), ("fd00::1", 1), ("10.2.0.1", 0)):
        assert allowed.may_connect(HOOKS, ip_address(address)) == bool(may)
    itself = WebAddress.read("http://[::1]:8080/")
    assert AllowedAddresses().may_connect(itself, ip_address("::1"))
    assert not AllowedAddresses().may_connect(itself, ip_address("127.0.0.1"))


def test_a_setting_that_is_neither_is_refused_at_the_start(tmp_path):
    with pytest.raises(ValueError, match=r"hooks\.example\.com"):
        Settings(data=tmp_path, webhooks=["hooks.example.com"])
