"""What is kept of an upstream's answer, and how a client gets it; judged by dnspython."""

from __future__ import annotations

import ipaddress
import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mddns.base.errors import BadMessage
from mddns.dns.message import CD, RD, Message
from mddns.forward.upstream_reply import LONGEST, LONGEST_DENIAL, For, Reply, compose_failure, compose_reply, read_reply

AD = 0x20
SOA = "example.com. 900 IN SOA ns.example.com. root.example.com. 1 2 3 4 300"


def message(
    question: str,
    answer: str = "",
    authority: str = "",
    additional: str = "",
    *,
    rcode: str = "NOERROR",
    flags: str = "QR RD RA",
    **edns: object,
) -> Message:
    """A response as a server sends it: sections as zone text."""
    name, rtype = question.split()
    made = dns.message.make_query(name, rtype, use_edns=0, **edns)  # type: ignore[arg-type]
    made.flags = dns.flags.from_text(flags)
    made.set_rcode(dns.rcode.from_text(rcode))
    for section, text in ((made.answer, answer), (made.authority, authority), (made.additional, additional)):
        for line in filter(None, map(str.strip, text.splitlines())):
            owner, ttl, rclass, kind, rest = line.split(None, 4)
            section.append(dns.rrset.from_text(owner, int(ttl), rclass, kind, rest))
    return Message(made.to_wire(max_size=65535))


def asks(question: str, *, limit: int = 65535, flags: int = RD, edns: bool = True, do: bool = False) -> For:
    name, rtype = question.split()
    wire = dns.message.make_query(name, rtype).to_wire()
    return For(b"\x12\x34", flags, wire[12:], limit, edns, do)


def told(reply: Reply, asked: For, age: int = 0, ttl: int | None = None) -> dns.message.Message:
    return dns.message.from_wire(compose_reply(reply, asked, age, ttl))


def lines(section: list[dns.rrset.RRset]) -> list[str]:
    return [line for rrset in section for line in rrset.to_text().splitlines()]


# What is kept


def test_an_answer_is_kept_as_it_is() -> None:
    reply = read_reply(message("a.example.com A", "a.example.com. 60 IN A 192.0.2.1\na.example.com. 60 IN A 192.0.2.2"))
    got = told(reply, asks("a.example.com A"))
    assert lines(got.answer) == ["a.example.com. 60 IN A 192.0.2.1", "a.example.com. 60 IN A 192.0.2.2"]
    assert reply.keep == 60
    assert reply.addresses == (b"\xc0\0\2\1", b"\xc0\0\2\2")


def test_aliases_are_followed_in_any_order_of_records() -> None:
    text = "b.example.net. 20 IN A 192.0.2.1\na.example.com. 60 IN CNAME b.example.net."
    reply = read_reply(message("a.example.com A", text))
    assert len(told(reply, asks("a.example.com A")).answer) == 2
    assert reply.keep == 20


def test_an_alias_made_by_dname_stays() -> None:
    text = """example.com. 60 IN DNAME example.net.
              a.example.com. 60 IN CNAME a.example.net.
              a.example.net. 60 IN A 192.0.2.1"""
    assert len(told(read_reply(message("a.example.com A", text)), asks("a.example.com A")).answer) == 3


def test_what_was_not_asked_is_dropped() -> None:
    text = """a.example.com. 60 IN A 192.0.2.1
              bank.example. 60 IN A 203.0.113.9
              a.example.com. 60 IN TXT "beside"
              xample.com. 60 IN DNAME evil.example."""
    reply = read_reply(
        message("a.example.com A", text, "com. 60 IN NS ns.evil.example.", "ns.evil.example. 60 IN A 1.2.3.4")
    )
    got = told(reply, asks("a.example.com A"))
    assert lines(got.answer) == ["a.example.com. 60 IN A 192.0.2.1"]
    assert (got.authority, got.additional) == ([], [])


def test_a_foreign_class_is_dropped() -> None:
    reply = read_reply(message("a.example.com A", "a.example.com. 60 CH TXT x"))
    assert reply.counts == (0, 0, 0)


def test_a_circle_of_aliases_ends() -> None:
    text = "a.example.com. 60 IN CNAME b.example.com.\nb.example.com. 60 IN CNAME a.example.com."
    reply = read_reply(message("a.example.com A", text))
    assert reply.counts == (2, 0, 0)
    assert reply.keep == 0


def test_a_long_chain_ends() -> None:
    text = "\n".join(f"a{n}.example.com. 60 IN CNAME a{n + 1}.example.com." for n in range(100))
    assert read_reply(message("a0.example.com A", text)).counts[0] < 20


def test_addresses_of_named_hosts_stay_and_others_go() -> None:
    reply = read_reply(
        message(
            "_x._tcp.example.com SRV",
            "_x._tcp.example.com. 60 IN SRV 1 2 3 host.example.net.",
            additional="host.example.net. 30 IN A 192.0.2.1\nother.example.net. 10 IN A 192.0.2.2",
        )
    )
    assert lines(told(reply, asks("_x._tcp.example.com SRV")).additional) == ["host.example.net. 30 IN A 192.0.2.1"]
    assert reply.keep == 30


@pytest.mark.parametrize(
    "record",
    [
        "MX 10 mail.example.com.",
        "NS ns.example.com.",
        "SOA ns.example.com. root.example.com. 1 2 3 4 5",
        "SRV 1 2 3 host.example.com.",
        'NAPTR 1 2 "s" "x" "" _sip._udp.example.com.',
        "RP me.example.com. txt.example.com.",
        'CAA 0 issue "example.com"',
        "HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1",
        "TYPE65400 \\# 4 01020304",
    ],
)
def test_records_of_all_kinds_survive_being_written_anew(record: str) -> None:
    kind = record.split()[0]
    text = f"example.com. 60 IN {record}"
    got = told(read_reply(message(f"example.com {kind}", text)), asks(f"example.com {kind}"))
    rtype, _, rest = record.partition(" ")
    assert got.answer == [dns.rrset.from_text("example.com.", 60, "IN", rtype, rest)]


@pytest.mark.parametrize("kind", ["HTTPS", "SVCB"])
def test_hints_are_addresses(kind: str) -> None:
    text = f"example.com. 60 IN {kind} 1 a.example.net. alpn=h2 ipv4hint=192.0.2.1,10.0.0.1 port=443 ipv6hint=fd00::1"
    reply = read_reply(message(f"example.com {kind}", text))
    assert [ipaddress.ip_address(each).compressed for each in reply.addresses] == ["192.0.2.1", "10.0.0.1", "fd00::1"]


@given(st.binary(max_size=200))
def test_broken_hints_end(rdata: bytes) -> None:
    head = struct.pack("!6H", 1, 0x8180, 1, 1, 0, 0) + b"\1a\0" + struct.pack("!2H", 65, 1)
    read_reply(Message(head + b"\xc0\x0c" + struct.pack("!2HIH", 65, 1, 60, len(rdata)) + rdata))


def test_any_gets_everything_at_its_name() -> None:
    reply = read_reply(message("a.example.com ANY", "a.example.com. 60 IN A 192.0.2.1\na.example.com. 9 IN TXT x"))
    assert reply.counts == (2, 0, 0)


# For how long


@pytest.mark.parametrize(
    ("answer", "keep"),
    [
        ("a.example.com. 60 IN A 192.0.2.1\na.example.com. 20 IN A 192.0.2.2", 20),
        ("a.example.com. 0 IN A 192.0.2.1", 0),
        ("a.example.com. 999999 IN A 192.0.2.1", LONGEST),
    ],
)
def test_an_answer_is_kept_for_its_lowest_ttl(answer: str, keep: int) -> None:
    reply = read_reply(message("a.example.com A", answer))
    assert reply.keep == keep
    assert {rrset.ttl for rrset in told(reply, asks("a.example.com A")).answer} == {keep}


def test_a_ttl_above_2_31_is_zero() -> None:
    """RFC 2181 8."""
    wire = bytearray(message("a.example.com A", "a.example.com. 60 IN A 192.0.2.1").wire)
    at = wire.index(struct.pack("!HHI", 1, 1, 60))
    wire[at + 4] = 0x80
    assert read_reply(Message(bytes(wire))).keep == 0


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
def test_a_denial_is_kept_for_as_long_as_its_soa_says(rcode: str) -> None:
    """RFC 2308 3 and 5: the lower of the SOA's TTL and its last field."""
    reply = read_reply(message("a.example.com A", authority=SOA, rcode=rcode))
    assert reply.keep == 300
    got = told(reply, asks("a.example.com A"))
    assert dns.rcode.to_text(got.rcode()) == rcode
    assert got.authority[0].ttl == 300


@pytest.mark.parametrize(
    "authority",
    [
        "",
        "example.org. 900 IN SOA ns.example.org. root.example.org. 1 2 3 4 300",
        "xample.com. 900 IN SOA ns.example.org. root.example.org. 1 2 3 4 300",
        "example.com. 900 IN NS ns.example.com.",
    ],
)
def test_a_denial_without_the_zones_soa_is_not_kept(authority: str) -> None:
    assert read_reply(message("a.example.com A", authority=authority, rcode="NXDOMAIN")).keep == 0


def test_no_denial_is_kept_for_long() -> None:
    soa = SOA.replace("900", "90000").replace("300", "90000")
    assert read_reply(message("a.example.com A", authority=soa)).keep == LONGEST_DENIAL


def test_an_alias_to_nothing_is_a_denial_of_its_end() -> None:
    text = "a.example.com. 60 IN CNAME b.example.net."
    far = "example.net. 900 IN SOA ns.example.net. root.example.net. 1 2 3 4 30"
    assert read_reply(message("a.example.com A", text, far, rcode="NXDOMAIN")).keep == 30
    assert read_reply(message("a.example.com A", text, SOA, rcode="NXDOMAIN")).keep == 0


# How a client gets it


def test_ttls_count_down() -> None:
    text = "a.example.com. 60 IN CNAME b.example.com.\nb.example.com. 20 IN A 192.0.2.1"
    got = told(read_reply(message("a.example.com A", text)), asks("a.example.com A"), 15)
    assert [rrset.ttl for rrset in got.answer] == [45, 5]


def test_a_stale_answer_has_one_ttl() -> None:
    reply = read_reply(message("a.example.com A", "a.example.com. 60 IN A 192.0.2.1"))
    assert told(reply, asks("a.example.com A"), ttl=30).answer[0].ttl == 30


def test_the_question_is_echoed_as_it_was_asked_and_names_with_it() -> None:
    reply = read_reply(message("A.ExAmPlE.cOm A", "A.ExAmPlE.cOm. 60 IN A 192.0.2.1"))
    got = told(reply, asks("a.EXAMPLE.com A"))
    assert str(got.question[0].name) == "a.EXAMPLE.com."
    assert str(got.answer[0].name) == "a.EXAMPLE.com."


@pytest.mark.parametrize(
    ("flags", "do", "upstream", "shown"),
    [
        (RD, False, "QR RD RA AD", "QR RD RA"),
        (RD | AD, False, "QR RD RA AD", "QR RD RA AD"),
        (RD, True, "QR RD RA AD", "QR RD RA AD"),
        (RD | AD, True, "QR RD RA", "QR RD RA"),
        (RD | CD, False, "QR AA RD RA", "QR RD RA CD"),
        (0, False, "QR RD RA CD", "QR RA"),
    ],
)
def test_ad_is_told_to_who_wants_it_and_nothing_else_is_the_upstreams(
    flags: int, do: bool, upstream: str, shown: str
) -> None:
    """RFC 6840 5.7 and 5.8."""
    reply = read_reply(message("a.example.com A", "a.example.com. 60 IN A 192.0.2.1", flags=upstream))
    got = told(reply, asks("a.example.com A", flags=flags, do=do))
    assert dns.flags.to_text(got.flags) == shown


def test_the_opt_record_is_our_own() -> None:
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    reply = read_reply(message("a.example.com A", "a.example.com. 60 IN A 192.0.2.1", payload=4000, options=[cookie]))
    got = told(reply, asks("a.example.com A"))
    assert (got.payload, got.options, got.ednsflags) == (1232, (), 0)
    assert told(reply, asks("a.example.com A", edns=False)).edns == -1
    assert told(reply, asks("a.example.com A", do=True)).ednsflags == dns.flags.DO


def test_extended_errors_are_passed_on() -> None:
    error = dns.edns.EDEOption(4, "forged for you")
    reply = read_reply(message("a.example.com A", "a.example.com. 60 IN A 192.0.2.1", options=[error]))
    assert told(reply, asks("a.example.com A")).options == (error,)


def test_what_does_not_fit_is_cut_at_a_section_then_altogether() -> None:
    hosts = "\n".join(f"h{n}.example.net. 60 IN A 192.0.2.{n}" for n in range(1, 40))
    answers = "\n".join(f"example.com. 60 IN MX {n} h{n}.example.net." for n in range(1, 40))
    reply = read_reply(message("example.com MX", answers, additional=hosts))
    whole = compose_reply(reply, asks("example.com MX"), 0)
    without = told(reply, asks("example.com MX", limit=len(whole) - 1))
    assert not without.flags & dns.flags.TC
    assert (len(without.answer[0]), without.additional) == (39, [])
    truncated = compose_reply(reply, asks("example.com MX", limit=512), 0)
    got = dns.message.from_wire(truncated)
    assert got.flags & dns.flags.TC
    assert (got.answer, got.edns) == ([], 0)
    assert len(truncated) <= 512


@pytest.mark.parametrize("limit", [60, 100, 512, 600])
def test_of_addresses_that_do_not_fit_some_come_with_tc(limit: int) -> None:
    """For stubs that have no TCP, as musl before 1.2.4; with the alias that leads to them."""
    answers = "www.example.com. 60 IN CNAME example.com.\n"
    answers += "\n".join(f"example.com. 60 IN A 192.0.2.{n}" for n in range(1, 60))
    soa = "example.com. 60 IN SOA ns.example.com. root.example.com. 1 2 3 4 60"
    reply = read_reply(message("www.example.com A", answers, soa))
    asked = asks("www.example.com A", limit=limit, edns=False)
    wire = compose_reply(reply, asked, 10)
    got = dns.message.from_wire(wire)
    assert limit - 16 < len(wire) <= limit
    assert got.flags & dns.flags.TC
    assert lines(got.answer) == [
        line.replace(" 60 ", " 50 ") for line in answers.splitlines()[: len(lines(got.answer))]
    ]
    assert got.authority == []


def test_a_failure_has_question_and_reason() -> None:
    got = dns.message.from_wire(compose_failure(asks("a.example.com A"), 2, ((22, "nobody"),)))
    assert got.rcode() == dns.rcode.SERVFAIL
    assert got.question[0].name == dns.name.from_text("a.example.com.")
    assert got.options == (dns.edns.EDEOption(22, "nobody"),)


# What is meant to hurt


BROKEN = [(kind, rdata) for kind in (2, 5, 6, 12, 15, 33) for rdata in (b"", b"\xff", b"\xc0\x0c" * 3, bytes(41))]


@pytest.mark.parametrize(("kind", "rdata"), BROKEN)
def test_broken_rdata_is_a_bad_message(kind: int, rdata: bytes) -> None:
    head = struct.pack("!6H", 1, 0x8180, 1, 1, 0, 0) + b"\1a\0" + struct.pack("!2H", kind, 1)
    wire = head + b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 60, len(rdata)) + rdata
    with pytest.raises(BadMessage):
        read_reply(Message(wire))


def test_names_that_grow_when_they_are_written_out_do_not_make_a_message_of_any_size() -> None:
    """65 kB of pointers to one long name are 1.4 MB of names."""
    label = b"\x3f" + b"x" * 63
    long_name = label * 3 + b"\0"
    head = struct.pack("!6H", 1, 0x8180, 1, 4000, 0, 0) + long_name + struct.pack("!2H", 6, 1)
    record = b"\xc0\x0c" + struct.pack("!2HIH", 6, 1, 60, 24) + b"\xc0\x0c\xc0\x0c" + bytes(16) + b"%04d"
    wire = head + b"".join(record[:-4] + b"%04d" % n for n in range(1700))
    wire = wire[:6] + struct.pack("!H", 1700) + wire[8:]
    with pytest.raises(BadMessage):
        read_reply(Message(wire))
