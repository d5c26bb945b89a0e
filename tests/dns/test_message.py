"""The scanner reads what others write, says BadMessage to all else, and takes the same time for both."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from contextlib import suppress

import dns.edns
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA, APEX, Host, question

from mddns.base.errors import BadMessage
from mddns.base.model import Peer
from mddns.base.names import Name
from mddns.codec.answer import read_answer
from mddns.directory.peer_memory import Standing
from mddns.dns.message import MAX_HOPS, PTR, SRV, TXT, Message, Names, read_query, read_question
from mddns.lookup.fanout import Lookup
from mddns.zone.transfer import TransferIn

HEADER = struct.Struct("!6H")


def message(body: bytes, *, answers: int = 0, additional: int = 0, owner: bytes = b"\1q\0") -> bytes:
    """A response to a question for `owner`, and then `body`."""
    return HEADER.pack(1, 0x8400, 1, answers, 0, additional) + owner + b"\0\x21\0\1" + body


def record(owner: bytes, rtype: int, rdata: bytes = b"") -> bytes:
    return owner + struct.pack("!2HIH", rtype, 1, 5, len(rdata)) + rdata


def pointer(at: int) -> bytes:
    return (0xC000 | at).to_bytes(2, "big")


# What others write


def test_a_message_that_dnspython_wrote_is_read() -> None:
    query = dns.message.make_query("web.minidisc.", "SRV", use_edns=0, payload=4096)
    theirs = dns.message.make_response(query)
    theirs.answer += [
        dns.rrset.from_text("web.minidisc.", 5, "IN", "SRV", "1 2 80 a.web.minidisc."),
        dns.rrset.from_text("_list.minidisc.", 7, "IN", "PTR", "a.web.minidisc."),
    ]
    theirs.additional.append(dns.rrset.from_text("A.web.minidisc.", 5, "IN", "TXT", '"k=v" "" "x"'))
    theirs.use_edns(
        0,
        payload=1232,
        options=[dns.edns.EDEOption(dns.edns.EDECode.NETWORK_ERROR, "nas"), dns.edns.EDEOption(dns.edns.EDECode.OTHER)],
    )
    ours = Message(theirs.to_wire())
    srv, ptr = ours.answer
    (txt,) = ours.additional
    target = Name.parse("a.web.minidisc.").wire
    assert (ours.id, ours.rcode, ours.question.qname) == (theirs.id, 0, Name.parse("web.minidisc.").wire)
    assert (srv.key, srv.rtype, srv.ttl, ours.srv(srv)) == (
        Name.parse("web.minidisc.").wire,
        SRV,
        5,
        (1, 2, 80, target),
    )
    assert (ptr.rtype, ptr.ttl, ours.target(ptr)) == (PTR, 7, target)
    assert (txt.key, txt.rtype, ours.strings(txt)) == (target, TXT, [b"k=v", b"", b"x"])
    assert ours.errors() == [(23, "nas"), (0, "")]


def test_an_extended_rcode_is_put_together() -> None:
    query = dns.message.make_query("web.minidisc.", "SRV", use_edns=0)
    theirs = dns.message.make_response(query)
    theirs.set_rcode(dns.rcode.BADVERS)
    assert Message(theirs.to_wire()).rcode == 16


def test_a_query_that_dnspython_wrote_is_read() -> None:
    query = dns.message.make_query("WEB.minidisc.", "SRV", id=7, use_edns=0, payload=999, ednsflags=0x8000)
    ours = read_query(query.to_wire())
    assert (ours.id, ours.flags & 0x100, ours.question.qname, ours.question.key) == (
        7,
        0x100,
        b"\3WEB\x08minidisc\0",
        b"\3web\x08minidisc\0",
    )
    assert ours.edns is not None
    assert ours.edns[:4] == (999, 0, 0, True)


def test_ixfr_carries_a_record_in_its_query() -> None:
    wire = bytearray(question("@ IXFR"))
    wire[9] = 1
    assert read_query(bytes(wire) + record(b"\xc0\x0c", 6, bytes(22))).question.qtype == 251


# Names


def test_a_chain_of_16_pointers_is_followed_and_one_of_17_is_not() -> None:
    wire = b"\1a\0" + b"".join(pointer(0 if n == 0 else 3 + 2 * (n - 1)) for n in range(MAX_HOPS + 1))
    last = 3 + 2 * MAX_HOPS
    assert Names(wire).read(last - 2) == (b"\1a\0", last)
    with pytest.raises(BadMessage, match="too many"):
        Names(wire).read(last)


@pytest.mark.parametrize(
    "wire",
    [
        pointer(0),
        b"\1a" + pointer(0),
        b"\1a" + pointer(2),
        b"\1a" + pointer(99),
        b"\1a" + pointer(4) + b"\1b\0",
        b"\x40" + bytes(80),
        b"\x80" + bytes(200),
        b"\xbf" + bytes(200),
        b"\1a",
        b"\3ab",
        b"",
        b"\1a\xc0",
        (b"\x3f" + b"x" * 63) * 4 + b"\0",
        b"\1a" * 128,
    ],
    ids=lambda wire: wire[:6].hex(),
)
def test_what_is_no_name_is_a_bad_message(wire: bytes) -> None:
    with pytest.raises(BadMessage):
        Names(wire).read(0)


def test_the_longest_name_is_255_octets_however_it_is_written() -> None:
    long = b"\x3f" + b"x" * 63
    assert Names(long * 3 + b"\x3d" + b"x" * 61 + b"\0").read(0)[1] == 255
    with pytest.raises(BadMessage, match="255"):
        Names(long * 3 + b"\x3e" + b"x" * 62 + b"\0").read(0)
    with pytest.raises(BadMessage, match="255"):
        Names(long * 3 + b"\0" + b"\x3e" + b"x" * 62 + pointer(0)).read(193)


def test_a_question_is_not_compressed_and_at_most_255_octets() -> None:
    assert read_question(b"\1a" * 127 + b"\0\0\1\0\1", 0)[1] == 259
    for wire in (b"\1a\xc0\0\0\1\0\1", b"\1a" * 128 + b"\0\0\1\0\1", b"\1a\0\0\1\0", b"\1a"):
        with pytest.raises(BadMessage):
            read_question(wire, 0)


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=5), st.integers(0, 3))
@settings(deadline=None, max_examples=100)
def test_names_are_read_as_dnspython_reads_them(labels: list[bytes], cut: int) -> None:
    labels = labels[: 3 if sum(map(len, labels)) + len(labels) > 250 else None]
    first = Name.of(labels).wire
    cut = min(cut, len(labels))
    at = sum(1 + len(label) for label in labels[:cut])
    wire = first + b"\1z" + pointer(at)
    theirs, _ = dns.name.from_wire(wire, len(first))
    assert Names(wire).read(len(first))[0] == theirs.to_wire()


# RDATA


@pytest.mark.parametrize("rdata", [b"", b"\0\1\0\1\0\1", b"\0\1\0\1\0\1\0x", b"\0\1\0\1\0\1\1a", b"\0\1\0\1\0\1\3abc"])
def test_a_bad_srv_is_a_bad_message(rdata: bytes) -> None:
    ours = Message(message(record(b"\xc0\x0c", SRV, rdata), answers=1))
    with pytest.raises(BadMessage):
        ours.srv(ours.answer[0])


@pytest.mark.parametrize("rdata", [b"", b"\1", b"\0x", b"\1ab\0", b"\xc0"])
def test_a_bad_ptr_is_a_bad_message(rdata: bytes) -> None:
    ours = Message(message(record(b"\xc0\x0c", PTR, rdata), answers=1))
    with pytest.raises(BadMessage):
        ours.target(ours.answer[0])


@pytest.mark.parametrize("rdata", [b"\1", b"\3ab", b"\1a\2b", b"\0" * 257])
def test_a_bad_txt_is_a_bad_message(rdata: bytes) -> None:
    ours = Message(message(record(b"\xc0\x0c", TXT, rdata), answers=1))
    with pytest.raises(BadMessage):
        ours.strings(ours.answer[0])


@pytest.mark.parametrize(
    "options", [b"\0", b"\0\x0f\0", b"\0\x0f\0\1", b"\0\x0f\0\3\0\0", b"\0\x0a\0\0\0", b"\0\x0f\xff\xff\0\0"]
)
def test_a_bad_option_is_a_bad_message(options: bytes) -> None:
    with pytest.raises(BadMessage):
        Message(message(record(b"\0", 41, options), additional=1))


def test_an_error_that_is_too_short_or_no_text_is_no_exception() -> None:
    options = b"\0\x0f\0\0" + b"\0\x0f\0\1x" + b"\0\x0f\0\4\0\x16\xff\0" + b"\0\x10\0\2\0\0"
    assert Message(message(record(b"\0", 41, options), additional=1)).errors() == [(22, "\N{REPLACEMENT CHARACTER}")]


# Anything at all


def real_messages() -> list[bytes]:
    host = Host(ALPHA)
    host.responder.allow(frozenset(("127.0.0.1",)))
    for port in range(1, 6):
        host.advertise("web", port, {"env": "prod", "n": f"{port}"})
    host.advertise("bücher", 53, {"k" * 20: "v" * 200}, protocol="udp")
    found = []
    for text in ("web SRV", "_list PTR", "_web._tcp PTR", "nope A", "@ SOA", "web TXT", "@ NS"):
        answer = host.octets(question(text, use_edns=0), tcp=True)
        assert isinstance(answer, bytes)
        found.append(answer)
    transfer = host.octets(question("@ AXFR", use_edns=0), tcp=True, source="127.0.0.1")
    assert isinstance(transfer, tuple)
    return [*found, *transfer]


REAL = real_messages()


def mutated(draw: random.Random, wire: bytes) -> bytes:
    """A message with a few octets changed, or a piece cut out, doubled or put elsewhere."""
    out = bytearray(wire)
    for _ in range(draw.randrange(1, 6)):
        kind, at = draw.randrange(6), draw.randrange(len(out) + 1)
        if kind == 0 and at < len(out):
            out[at] = draw.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, draw.randrange(256)))
        elif kind == 1 and at + 1 < len(out):
            out[at : at + 2] = pointer(draw.randrange(len(out)))
        elif kind == 2:
            del out[at : at + draw.randrange(1, 30)]
        elif kind == 3:
            out[at:at] = out[at : at + draw.randrange(1, 60)]
        elif kind == 4:
            out = out[:at] or bytearray(b"\0")
        else:
            out[at:at] = draw.randbytes(draw.randrange(1, 9))
    return bytes(out)


def read_everything(wire: bytes) -> None:
    """All that mddns does with a message from somebody, each of which may only raise BadMessage."""

    def allowed(work: Callable[[], object]) -> None:
        with suppress(BadMessage):
            work()

    def whole() -> None:
        ours = Message(wire)
        for section in (ours.answer, ours.authority, ours.additional):
            for each in section:
                for read in (ours.srv, ours.target, ours.strings):
                    allowed(lambda read=read, each=each: read(each))  # type: ignore[misc]
        ours.errors()
        read_answer(ours, APEX)

    def transferred() -> None:
        transfer = TransferIn(APEX)
        while not transfer.feed(wire):
            pass
        transfer.told()

    allowed(whole)
    allowed(transferred)
    if len(wire) >= 12:
        allowed(lambda: read_query(wire))


def looked_up(wire: bytes) -> None:
    """The same by the door that datagrams come in by; nothing at all may come out of it."""
    for qtype, qname in ((SRV, "web.minidisc."), (PTR, "_list.minidisc.")):
        peer = Peer("p", ("100.64.0.3",))
        lookup = Lookup(APEX, Name.parse(qname).wire, qtype, [(peer, Standing.REGISTRY)], 0.0, timeout=1.0)
        ((address, port, sent),) = lookup.send(0.0)
        lookup.received(sent[:2] + wire[2:], address, port, 0.1)
        for ask in lookup.tcp():
            lookup.tcp_received(ask, sent[:2] + wire[2:], 0.2)
        lookup.send(0.3)


def test_real_messages_with_anything_changed_are_read_or_bad() -> None:
    draw = random.Random(1)
    for _ in range(6000):
        wire = mutated(draw, draw.choice(REAL))
        read_everything(wire)
        looked_up(wire)


def test_every_beginning_of_a_real_message_is_read_or_bad() -> None:
    for wire in REAL:
        for length in range(0, len(wire), 3):
            read_everything(wire[:length])


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_any_octets_are_read_or_bad(wire: bytes) -> None:
    read_everything(wire)
    read_everything(HEADER.pack(1, 0x8400, 1, 3, 3, 3) + wire)


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_any_octets_to_the_responder_are_answered_or_not(wire: bytes) -> None:
    answered(Host(ALPHA), wire)
    answered(Host(ALPHA), question("web SRV")[:12] + wire)


def answered(host: Host, wire: bytes) -> None:
    for tcp in (False, True):
        answer = host.octets(wire, tcp=tcp)
        assert answer is None or isinstance(answer, bytes)
        if answer is not None:
            assert answer[:2] == wire[:2]
            assert answer[2] & 0x80
            dns.message.from_wire(answer)


def test_real_queries_with_anything_changed_are_answered_or_not() -> None:
    draw = random.Random(2)
    host = Host(ALPHA)
    host.advertise("web", 80, {"env": "prod"})
    texts = ["web SRV", "_list PTR", "_web._tcp PTR", "web.prod._env SRV", "nope A", "@ SOA", "alpha-80.web ANY"]
    queries = [question(text, use_edns=edns) for text in texts for edns in (False, 0)]
    for _ in range(5000):
        answered(host, mutated(draw, draw.choice(queries)))


def test_every_beginning_of_a_real_query_is_answered_or_not() -> None:
    host = Host(ALPHA)
    wire = question("alpha-80.web.prod._env SRV", use_edns=0, options=[dns.edns.EDEOption(dns.edns.EDECode.OTHER, "x")])
    for length in range(len(wire) + 1):
        answered(host, wire[:length])


# Bombs: 65 kB that keep naive readers busy for seconds (reliability.md sections 1 and 3)


def ladder() -> bytes:
    """Pointers to pointers to pointers, each record's owner one further."""
    body = b""
    at = 12 + 3 + 4
    target = 12
    count = 0
    while len(body) < 65_000:
        body += record(pointer(target), 16, b"\0")
        target = at
        at += 13
        count += 1
    return message(body, answers=count)


def loops() -> bytes:
    """Records whose owners point at themselves."""
    return message(record(pointer(12 + 3 + 4), 16, b"\0") * 5000, answers=5000)


def long_names() -> bytes:
    """Legal names of 127 labels, pointed at from thousands of records, at every label."""
    rdata = b"\1a" * 127 + b"\0"
    body = record(b"\0", 65280, rdata)
    count, start = 1, 12 + 3 + 4 + 11
    while len(body) < 65_000:
        body += record(pointer(start + count * 2 % 254), 12, pointer(start + count * 6 % 254))
        count += 1
    return message(body, answers=count)


def staircase() -> bytes:
    """Names of 16 labels, each ending in a pointer into the middle of the one before."""
    body, count, at, before = b"", 0, 12 + 3 + 4, 12
    while len(body) < 64_000:
        body += record(b"\1a" * 15 + pointer(before), 16, b"\0")
        before = at + 16 if count % 7 else 12
        if before > 0x3FFF:
            before = 12
        at += 32 + 11
        count += 1
    return message(body, answers=count)


def many_records() -> bytes:
    """As many records as fit, with as little in them as can be."""
    count = 65_000 // 11
    return message(record(b"\0", 1) * count, answers=count)


def many_instances() -> bytes:
    """A PTR for each of 5,000 instances, and nothing of them."""
    rdata = b"".join(record(pointer(12), PTR, b"\1" + bytes((65 + n % 26,)) + pointer(12)) for n in range(4000))
    return message(rdata, answers=4000, owner=APEX.wire)


def many_strings() -> bytes:
    """TXT records of thousands of empty strings."""
    rdata = b"\0" * 60_000
    return message(
        record(pointer(12), SRV, b"\0\1\0\1\0\1\1a" + pointer(12)) + record(pointer(12), TXT, rdata), answers=2
    )


def many_options() -> bytes:
    return message(record(b"\0", 41, b"\0\x0f\0\2\0\0" * 10_000), additional=1)


BOMBS = [ladder, loops, long_names, staircase, many_records, many_instances, many_strings, many_options]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_costs_what_an_honest_message_of_its_size_does(
    bomb: Callable[[], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """The bound is generous, and 20 times less than such messages cost dnslib."""
    wire = bomb()
    assert 30_000 < len(wire) <= 65_535
    begun = time.perf_counter()
    read_everything(wire)
    looked_up(wire)
    answered(Host(ALPHA), wire)
    seconds = time.perf_counter() - begun
    with capsys.disabled():
        print(f"\n{bomb.__name__}: {len(wire)} octets in {1000 * seconds:.0f} ms", end="")  # noqa: T201
    assert seconds < 1.0


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_makes_the_scanner_look_at_each_octet_a_few_times_only(bomb: Callable[[], bytes]) -> None:
    """Counted, not timed: how often a name's octets are looked at."""
    wire = Counting(bomb())
    with suppress(BadMessage):
        Message(wire)
    assert wire.looks <= 3 * len(wire)


class Counting(bytes):
    """Octets that count how often one of them is asked for."""

    looks = 0

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        if isinstance(at, int):
            self.looks += 1
        return super().__getitem__(at)


def test_more_than_65535_octets_are_no_message() -> None:
    with pytest.raises(BadMessage):
        Message(message(record(b"\0", 16, bytes(65_000)) * 2, answers=2))
