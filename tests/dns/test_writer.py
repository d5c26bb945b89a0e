"""Messages that are written here are read by others, above 16 KiB too."""

from __future__ import annotations

import dns.edns
import dns.message
import dns.name
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mddns.base.names import Name
from mddns.dns.message import NS, PTR, SRV, TXT, Message
from mddns.dns.writer import Packer, opt_record, pack_query, random_ids

labels = st.sampled_from([b"web", b"WEB", b"a.b", b"x" * 63, b"\0", b"\xff", b"minidisc"])
names = st.lists(labels, max_size=3).map(lambda each: Name.of([*each, b"minidisc"]).wire)


@given(
    names, st.lists(st.tuples(names, st.sampled_from([PTR, NS, SRV, TXT]), names), max_size=40), st.integers(0, 20_000)
)
@settings(deadline=None, max_examples=80)
def test_whatever_is_written_dnspython_reads(qname: bytes, records: list[tuple[bytes, int, bytes]], gap: int) -> None:
    """Names behind a gap as large as you like; each comes out as it went in, but for its case."""
    packer = Packer(qname, SRV)
    packer.record(None, 65280, 1, (bytes(gap), None))
    for owner, rtype, target in records:
        fixed = {SRV: b"\0\1\0\2\0\3", TXT: b"\1x"}.get(rtype, b"")
        packer.record(owner, rtype, 7, (fixed, None if rtype == TXT else target))
    wire = packer.finish(9, 0x8400, (1 + len(records), 0, 0), opt_record())
    assert len(packer) == len(wire) - len(opt_record())
    message = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert len(message.answer) == 1 + len(records)
    for rrset, (owner, rtype, target) in zip(message.answer[1:], records, strict=True):
        assert (rrset.name, rrset.rdtype, rrset.ttl) == (dns.name.from_wire(owner, 0)[0], rtype, 7)
        if rtype != TXT:
            assert rrset[0].target == dns.name.from_wire(target, 0)[0]
    assert len(Message(wire).answer) == 1 + len(records)


def test_a_name_is_written_once_and_pointed_at_afterwards() -> None:
    web = Name.parse("web.minidisc.").wire
    packer = Packer(web, PTR)
    packer.record(None, PTR, 5, (b"", Name.parse("a.WEB.minidisc.").wire))
    packer.record(Name.parse("A.web.minidisc.").wire, TXT, 5, (b"\0", None))
    wire = packer.finish(0, 0, (1, 0, 1))
    assert wire[-13:-11] == (0xC000 | wire.index(b"\1a\xc0\x0c")).to_bytes(2, "big")
    assert wire.lower().count(b"minidisc") == 1


def test_an_srv_target_is_written_out() -> None:
    """RFC 2782 forbids its compression."""
    web = Name.parse("web.minidisc.").wire
    packer = Packer(web, SRV)
    packer.record(None, SRV, 5, (bytes(6), web))
    assert packer.finish(0, 0, (1, 0, 0)).count(web) == 2


@pytest.mark.parametrize("size", [0x3FFE, 0x3FFF, 0x4000, 0x4001])
def test_nothing_points_beyond_what_14_bits_hold(size: int) -> None:
    """A name that begins at offset 16,383 is pointed at; one octet further on it is written again."""
    packer = Packer(b"\0", TXT)
    packer.record(None, TXT, 5, (bytes(size - len(packer) - 12), None))
    assert len(packer) == size
    owner = Name.parse("late.").wire
    for _ in range(2):
        packer.record(owner, TXT, 5, (b"\1x", None))
    wire = packer.finish(0, 0x8400, (3, 0, 0))
    assert wire.count(b"\4late") == (1 if size < 0x4000 else 2)
    found = [str(rrset.name) for rrset in dns.message.from_wire(wire, one_rr_per_rrset=True).answer]
    assert found == [".", "late.", "late."]


def test_cutting_a_message_leaves_the_opt_behind_it() -> None:
    packer = Packer(b"\0", TXT)
    cut = len(packer)
    packer.record(None, TXT, 5, (b"\1x", None))
    message = dns.message.from_wire(packer.finish(3, 0x8000, (0, 0, 0), opt_record(do=True), cut))
    assert (message.id, message.answer, message.ednsflags, message.payload) == (3, [], 0x8000, 1232)


@pytest.mark.parametrize("rcode", [0, 5, 16, 23, 4095])
def test_an_rcode_is_split_between_header_and_opt(rcode: int) -> None:
    message = dns.message.from_wire(Packer(b"\0", TXT).finish(0, 0x8000 | rcode & 15, (0, 0, 0), opt_record(rcode)))
    assert message.rcode() == rcode


def test_extended_errors_are_written_as_rfc_8914_has_it_and_at_most_200_octets() -> None:
    opt = opt_record(errors=[(22, "nas"), (0, "x" * 500), (23, "\ud800")])
    options = dns.message.from_wire(Packer(b"\0", TXT).finish(0, 0x8000, (0, 0, 0), opt)).options
    told = [(option.code, option.text) for option in options if isinstance(option, dns.edns.EDEOption)]
    assert told == [(22, "nas"), (0, "x" * 200), (23, "?")]


def test_a_query_is_one() -> None:
    query = dns.message.from_wire(pack_query(Name.parse("web.").wire, SRV, ident=5, rd=True, size=999))
    assert (query.id, query.flags, query.edns, query.payload) == (5, 0x100, 0, 999)
    assert str(query.question[0]) == "web. IN SRV"


def test_ids_are_of_16_bits_and_not_foreseen() -> None:
    ids = random_ids(5000)
    assert len(ids) == 5000
    assert {0 <= each < 65536 for each in ids} == {True}
    assert len(set(ids)) > 4500
    assert random_ids(8) != random_ids(8)


def test_a_name_takes_over_the_case_of_another_unless_it_is_to_stay_exact() -> None:
    web, other = Name.of((b"web", b"minidisc")).wire, Name.of((b"WEB", b"minidisc")).wire
    said = []
    for exact in (False, True):
        packer = Packer(web, PTR, exact=exact)
        packer.record(None, PTR, 1, (b"", other))
        said.append(str(dns.message.from_wire(packer.finish(1, 0x8000, (1, 0, 0))).answer[0][0]))
    assert said == ["web.minidisc.", "WEB.minidisc."]
