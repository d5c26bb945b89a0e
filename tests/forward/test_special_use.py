"""Names of special use are answered here, whatever an upstream would say; judged by dnspython."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import pytest

from mddns.dns.message import RD, read_query
from mddns.forward.special_use import special_reply
from mddns.forward.upstream_reply import For, compose_reply

SIX = "1." + "0." * 31 + "ip6.arpa"


def ask(question: str) -> dns.message.Message | None:
    """The answer to ``name type``; None where it is a name like any other."""
    name, rtype = question.split()
    wire = dns.message.make_query(name, rtype).to_wire()
    query = read_query(wire)
    reply = special_reply(query.question)
    return reply and dns.message.from_wire(compose_reply(reply, For(wire[:2], RD, wire[12:], 512, False, False), 0))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("localhost A", "127.0.0.1"),
        ("localhost AAAA", "::1"),
        ("LocalHost A", "127.0.0.1"),
        ("foo.localhost A", "127.0.0.1"),
        ("a.b.localhost AAAA", "::1"),
        ("1.0.0.127.in-addr.arpa PTR", "localhost."),
        (f"{SIX} PTR", "localhost."),
    ],
)
def test_this_machine_is_localhost(question: str, answer: str) -> None:
    told = ask(question)
    assert told
    assert [str(rdata) for rrset in told.answer for rdata in rrset] == [answer]


@pytest.mark.parametrize(
    "question",
    [
        "x.invalid A",
        "a.b.invalid SRV",
        "x.onion A",
        "2.0.0.127.in-addr.arpa PTR",
        "1.0.0.0.in-addr.arpa PTR",
        "9.254.169.in-addr.arpa PTR",
    ],
)
def test_what_cannot_exist_does_not(question: str) -> None:
    told = ask(question)
    assert told
    assert told.rcode() == dns.rcode.NXDOMAIN
    assert [rrset.rdtype.name for rrset in told.authority] == ["SOA"]


@pytest.mark.parametrize(
    "question",
    [
        "localhost MX",
        "foo.localhost SRV",
        "invalid A",
        "onion A",
        "_dns.resolver.arpa SVCB",
        "resolver.arpa NS",
        "0.0.127.in-addr.arpa PTR",
        f"{SIX} A",
    ],
)
def test_a_name_that_exists_without_that_type_is_nodata(question: str) -> None:
    told = ask(question)
    assert told
    assert (told.rcode(), told.answer) == (dns.rcode.NOERROR, [])
    assert [rrset.rdtype.name for rrset in told.authority] == ["SOA"]


@pytest.mark.parametrize(
    "question",
    [
        "example.com A",
        "notlocalhost A",
        "localhost.example A",
        "printer.local A",
        "1.0.0.10.in-addr.arpa PTR",
        "com NS",
        ". NS",
        "x.test A",
        "home.arpa A",
    ],
)
def test_other_names_are_nobodys_business_here(question: str) -> None:
    assert ask(question) is None
