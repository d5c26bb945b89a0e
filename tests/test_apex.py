"""The records of whoever answers."""

from __future__ import annotations

from struct import unpack

import pytest

from mddns.apex import Apex
from mddns.names import Name
from mddns.wire import AAAA, NS, SOA, TXT, A

NAME = Name.parse("MiniDisc.")


def test_soa_and_ns_stand_at_the_apex_with_the_timers_of_the_design() -> None:
    apex = Apex(NAME, 77, ["100.64.0.1"])
    node = apex.node(())
    assert node
    assert set(node.rrsets) == {SOA, NS}
    ((soa, _),) = node.rrsets[SOA].rdatas
    assert unpack("!5I", soa[-20:]) == (77, 60, 10, 3600, 1)
    assert soa[:-20] == Name.parse("ns.MiniDisc.").wire + Name.parse("hostmaster.MiniDisc.").wire


@pytest.mark.parametrize(
    ("addresses", "types"), [(["100.64.0.1"], {A}), (["fd7a::1"], {AAAA}), (["100.64.0.1", "fd7a::1"], {A, AAAA})]
)
def test_ns_has_the_addresses_of_whoever_answers(addresses: list[str], types: set[int]) -> None:
    node = Apex(NAME, 0, addresses).node((b"ns",))
    assert node
    assert set(node.rrsets) == types


def test_the_version_is_told() -> None:
    node = Apex(NAME, 0, []).node((b"_mddns",))
    assert node
    assert node.rrsets[TXT].rdatas == ((b"\6md.v=1", None),)


@pytest.mark.parametrize("labels", [(b"web",), (b"_list",), (b"a", b"ns"), (b"_tcp",)])
def test_all_else_is_not_its_business(labels: tuple[bytes, ...]) -> None:
    assert Apex(NAME, 0, []).node(labels) is None


def test_the_soa_of_negatives_has_the_negative_ttl() -> None:
    record = Apex(NAME, 77, []).negative_soa()
    assert record.startswith(NAME.wire + b"\0\6\0\1\0\0\0\1")
    assert unpack("!5I", record[-20:]) == (77, 60, 10, 3600, 1)
