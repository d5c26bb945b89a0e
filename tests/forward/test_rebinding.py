"""Which addresses are not the Internet's."""

from __future__ import annotations

import ipaddress

import pytest

from mddns.forward.rebinding import private_address

PRIVATE = (
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.168.1.1", "::", "::1", "fc00::1", "fd7a:115c:a1e0::1", "fe80::1"),
    *("::ffff:10.0.0.1", "64:ff9b::192.168.1.1"),
)
PUBLIC = ("1.1.1.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "192.0.2.1", "2606:4700::1111", "64:ff9b::1.1.1.1")


@pytest.mark.parametrize("text", PRIVATE)
def test_private(text: str) -> None:
    octets = ipaddress.ip_address(text).packed
    assert private_address((b"\1\1\1\1", octets)) == str(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert private_address((ipaddress.ip_address(text).packed,)) is None


def test_octets_that_are_no_address_are_none() -> None:
    assert private_address((b"", b"\x7f\0\0", bytes(17))) is None
