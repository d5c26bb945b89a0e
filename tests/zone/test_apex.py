"""The records of whoever answers."""

from __future__ import annotations

from struct import unpack

import pytest

from mddns.base.names import Name
from mddns.dns.message import AAAA, NS, SOA, TXT, A
from mddns.zone.apex import Apex, is_after, next_serial

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


# RFC 1982 5.1 and 5.2: numbers of 2 and of 8 bits. Shifted to the top of 32 bits they are in the same order, and their
# sums have the same end.
GREATER = {
    2: [(1, 0), (2, 1), (3, 2), (0, 3)],
    8: [(1, 0), (44, 0), (100, 0), (100, 44), (200, 100), (255, 200), (0, 255), (100, 255), (0, 200), (44, 200)],
}
NEITHER = {2: [(2, 0), (1, 3)], 8: [(n, n + 128) for n in range(128)]}


@pytest.mark.parametrize("bits", [2, 8])
def test_serials_are_in_the_order_of_rfc_1982s_examples(bits: int) -> None:
    shift = 32 - bits
    for greater, less in GREATER[bits]:
        assert is_after(greater << shift, less << shift)
        assert not is_after(less << shift, greater << shift)
    for one, other in NEITHER[bits]:
        assert not is_after(one << shift, other << shift)
        assert not is_after(other << shift, one << shift)


def test_addition_has_the_sums_of_rfc_1982s_examples() -> None:
    """And its warning: what grows twice by less than half of all may be less than at first (5.2)."""
    sums = [
        (8, 255, 1, 0),
        (8, 100, 100, 200),
        (8, 200, 100, 44),
        (2, 0, 1, 1),
        (2, 1, 1, 2),
        (2, 2, 1, 3),
        (2, 3, 1, 0),
    ]
    for bits, before, more, after in sums:
        top, sum_of = 32 - bits, (before + more) % 2**bits
        assert sum_of == after
        assert is_after(after << top, before << top)
    assert is_after(100 << 24, 44 << 24)  # (100 + 100) + 100 is 44


def test_the_serial_after_the_largest_is_0() -> None:
    """RFC 1982 3.1, of 32 bits (7)."""
    assert next_serial(2**32 - 1, 0) == 0
    assert is_after(0, 2**32 - 1)
