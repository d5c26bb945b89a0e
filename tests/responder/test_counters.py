"""What is counted, and under which of few names."""

from __future__ import annotations

import dns.message
import pytest

from mddns.responder.counters import Counts, Histogram


def tally(rtype: str, rcode: int, **how: int) -> tuple[str, str]:
    counts = Counts()
    query = dns.message.make_query("web.minidisc", rtype, **how)
    answer = dns.message.make_response(query)
    answer.set_rcode(rcode)
    counts.answered(query.to_wire(), answer.to_wire(), "udp")
    ((key, numbers),) = counts.queries.items()
    assert numbers == {"udp": 1, "tcp": 0, "http": 0}
    return key


@pytest.mark.parametrize("rtype", ["A", "AAAA", "SRV", "TXT", "PTR", "SOA", "AXFR", "IXFR", "ANY", "HTTPS"])
def test_a_query_counts_under_its_type(rtype: str) -> None:
    assert tally(rtype, 0) == (rtype, "NOERROR")


def test_other_types_are_other() -> None:
    assert tally("TYPE65000", 0) == ("other", "NOERROR")


@pytest.mark.parametrize(
    ("rcode", "name"), [(1, "FORMERR"), (2, "SERVFAIL"), (3, "NXDOMAIN"), (4, "NOTIMP"), (5, "REFUSED"), (9, "other")]
)
def test_a_query_counts_under_its_rcode(rcode: int, name: str) -> None:
    assert tally("SRV", rcode) == ("SRV", name)


def test_an_rcode_above_15_is_read_from_the_opt_record() -> None:
    assert tally("SRV", 16, use_edns=0) == ("SRV", "BADVERS")


def test_all_types_and_rcodes_there_are_make_few_numbers() -> None:
    counts = Counts()
    query = bytearray(dns.message.make_query("web.minidisc", "SRV").to_wire())
    for rtype in range(65_536):
        query[-4:-2] = rtype.to_bytes(2, "big")
        counts.answered(bytes(query), bytes((0, 0, 0x80, rtype % 16)) + bytes(8), "udp")
    assert len(counts.queries) <= 19 * 8


@pytest.mark.parametrize(
    "wire", [b"", bytes(11), bytes(12), bytes(4) + b"\0\1" + b"x" * 20, b"\0\0\x28\0\0\1" + bytes(9)]
)
def test_what_is_no_query_is_other(wire: bytes) -> None:
    counts = Counts()
    counts.answered(wire, bytes(12), "tcp")
    assert counts.queries == {("other", "NOERROR"): {"udp": 0, "tcp": 1, "http": 0}}


def test_a_histogram_counts_what_is_at_a_bound_below_it() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.001, 0.0011, 5.0, 5.1):
        histogram.add(seconds)
    assert histogram.counts == [2, 1, *[0] * 9, 1, 1]
    assert histogram.sum == pytest.approx(10.1021)
