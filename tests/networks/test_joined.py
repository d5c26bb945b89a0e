"""Several networks as one, and our own address given."""

from __future__ import annotations

import asyncio

import pytest
from loopback import Fixed
from played import ALPHA, BRAVO, CHARLIE, peer

from mddns.base.errors import ConfigError, NetworkError
from mddns.base.model import Peer, Snapshot, replace
from mddns.networks.joined import Joined


def read(*networks: Fixed, address: str | None = None) -> Snapshot:
    joined = Joined(networks, address, 28004)
    found = joined.read(1.0)
    assert asyncio.run(joined.aread(1.0)) == found
    return found


def names(found: Snapshot) -> list[str]:
    return [each.name for each in found.peers]


def test_everybody_of_both_networks_is_there_once() -> None:
    found = read(Fixed(None, (ALPHA, BRAVO)), Fixed(None, (BRAVO, CHARLIE)))
    assert (found.me, names(found)) == (None, ["alpha", "bravo", "charlie"])


def test_our_node_has_the_own_addresses_of_both_and_is_no_peer() -> None:
    lan = peer("alpha-lan", "192.0.2.1")
    found = read(Fixed(ALPHA, (BRAVO, lan)), Fixed(lan, (CHARLIE, ALPHA)))
    assert found.me == replace(ALPHA, addresses=("100.64.0.1", "192.0.2.1", "fd7a::1"))
    assert names(found) == ["bravo", "charlie"]


def test_a_given_address_is_the_only_one_of_our_node() -> None:
    found = read(Fixed(ALPHA, (BRAVO,)), address="FD7A::1")
    assert found.me is not None
    assert (found.me.name, found.me.addresses) == ("alpha", ("fd7a::1",))
    assert names(found) == ["bravo"]


def test_a_given_address_makes_us_a_node_where_we_were_none() -> None:
    found = read(Fixed(None, (BRAVO,)), address="100.64.0.77")
    assert found.me is not None
    assert (found.me.addresses, found.me.port) == (("100.64.0.77",), 28004)
    assert names(found) == ["bravo"]


def test_of_several_nodes_on_one_machine_the_others_stay_peers() -> None:
    """As on loopback: all of 127.x is this machine's, and the address says which of them we are."""
    first, second = peer("first", "127.0.1.1"), peer("second", "127.0.1.2")
    found = read(Fixed(first, (second,)), address="127.0.1.2")
    assert found.me is not None
    assert found.me.addresses == ("127.0.1.2",)
    assert names(found) == ["first"]


def test_another_registry_at_our_address_and_another_port_is_a_peer() -> None:
    found = read(Fixed(None, (Peer("other", ("100.64.0.1",), 53), BRAVO)), address="100.64.0.1")
    assert names(found) == ["other", "bravo"]


def test_userspace_networking_of_one_is_of_all() -> None:
    class Userspace(Fixed):
        def read(self, timeout: float) -> Snapshot:
            return replace(super().read(timeout), tun=False)

    assert read(Fixed(ALPHA, ())).tun is True
    assert read(Fixed(ALPHA, ()), Userspace(BRAVO, ())).tun is False


@pytest.mark.parametrize("address", ["", "alpha", "100.64.0.1:80", "100.64.0.0/24"])
def test_a_bad_address_says_so(address: str) -> None:
    with pytest.raises(ConfigError, match="must be an IP address"):
        Joined([Fixed(ALPHA, ())], address, 28004)


def test_one_that_fails_fails_the_whole() -> None:
    class Broken(Fixed):
        def read(self, timeout: float) -> Snapshot:
            raise NetworkError("broken")

    joined = Joined([Fixed(ALPHA, ()), Broken(None, ())], None, 28004)
    with pytest.raises(NetworkError):
        joined.read(1.0)
    with pytest.raises(NetworkError):
        asyncio.run(joined.aread(1.0))
