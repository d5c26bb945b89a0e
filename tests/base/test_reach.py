"""Which addresses other machines cannot use."""

import pytest

from mddns.base.reach import why_unreachable

KINDS = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "169.254.169.254": "link-local",
    "fe80::1": "link-local",
    "febf::1": "link-local",
    "fe80::1%eth0": "link-local",
    "::ffff:169.254.0.1": "link-local",
    "224.0.0.251": "multicast",
    "239.255.255.255": "multicast",
    "ff02::fb": "multicast",
    "255.255.255.255": "broadcast",
    "240.0.0.1": "reserved",
}
USABLE = ["100.64.0.1", "10.0.0.1", "192.168.0.1", "8.8.8.8", "126.0.0.1", "128.0.0.1", "169.253.0.1", "223.0.0.1"]
USABLE += ["fd7a::1", "fec0::1", "fe00::1", "2001:db8::1", "::2", "::ffff:100.64.0.1"]


@pytest.mark.parametrize(("address", "why"), KINDS.items())
def test_an_address_of_one_machine_or_link_is_told_apart(address: str, why: str) -> None:
    assert why_unreachable(address) == why


@pytest.mark.parametrize("address", USABLE)
def test_any_other_can_be_used(address: str) -> None:
    assert why_unreachable(address) is None


@pytest.mark.parametrize("text", ["", "web", "1.2.3", ":", "1.2.3.4.5", "::g"])
def test_what_is_no_address_raises(text: str) -> None:
    with pytest.raises((ValueError, OSError)):
        why_unreachable(text)
