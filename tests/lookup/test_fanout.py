"""One question to many peers, with a clock turned by hand and packets handed over one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA, APEX, BRAVO, CHARLIE, Fleet, Host, peer, question

import mddns.codec.fast_answer
from mddns.base.model import Peer
from mddns.base.names import Name
from mddns.codec.answer import Answer
from mddns.directory.peer_memory import Standing
from mddns.dns.message import PTR, SRV, Message
from mddns.lookup.asked_peer import Ask, Outcome
from mddns.lookup.datagrams import A_FLOOD, FLIGHT_TIME, IN_FLIGHT, RETRY
from mddns.lookup.fanout import HEAD_START, Lookup
from mddns.lookup.patience import IDLE_GRACE, NEW_GRACE

WEB = Name.parse("web.minidisc.").wire
LIST = Name.parse("_list.minidisc.").wire
NEW, REGISTRY, IDLE = Standing.NEW, Standing.REGISTRY, Standing.IDLE
PORT = 28004


class Datagram(NamedTuple):
    """What a lookup sends."""

    address: str
    port: int
    wire: bytes


def send(lookup: Lookup, now: float) -> list[Datagram]:
    return [Datagram(*each) for each in lookup.send(now)]


def look(
    *peers: tuple[Peer, Standing],
    qtype: int = SRV,
    timeout: float = 1.0,
    holder: Peer | None = None,
    enough: Callable[[Peer, Answer], bool] | None = None,
    rd: bool = False,
) -> Lookup:
    """A lookup begun at 0."""
    qname = WEB if qtype == SRV else LIST
    return Lookup(APEX, qname, qtype, peers, 0.0, timeout=timeout, holder=holder, enough=enough, rd=rd)


def host(me: Peer, *ports: int) -> Host:
    """One that offers web on these ports."""
    made = Host(me)
    made.responder.allow(frozenset(("100.64.0.99",)))
    for port in ports:
        made.advertise("web", port)
    return made


def reply(me: Peer, datagram: Datagram, *ports: int, tcp: bool = False) -> bytes:
    answer = host(me, *ports).octets(datagram.wire, tcp=tcp)
    assert isinstance(answer, bytes)
    return answer


def ports_of(ask: Ask | None) -> list[int]:
    assert ask is not None
    assert ask.answer is not None
    return [told.port for told in ask.answer.told]


def destinations(sent: Sequence[Datagram]) -> list[str]:
    return [datagram.address for datagram in sent]


# What goes out


def test_each_peer_is_asked_at_its_first_ipv4_address_with_an_id_of_its_own() -> None:
    many = [(peer(f"p{n}", f"fd7a::{n:x}", f"100.64.1.{n}", f"100.64.2.{n}"), NEW) for n in range(1, 101)]
    sent = send(look(*many), 0.0)
    assert destinations(sent) == [f"100.64.1.{n}" for n in range(1, 101)]
    assert {datagram.port for datagram in sent} == {PORT}
    assert len({datagram.wire[:2] for datagram in sent}) > 90


def test_a_peer_without_ipv4_is_asked_over_ipv6_and_at_its_own_port() -> None:
    assert send(look((peer("six", "fd7a::6", port=53), NEW)), 0.0)[0][:2] == ("fd7a::6", 53)


@pytest.mark.parametrize("rd", [False, True])
def test_the_query_is_one_that_any_responder_understands(rd: bool) -> None:
    import dns.flags
    import dns.message

    (sent,) = send(look((BRAVO, NEW), rd=rd), 0.0)
    query = dns.message.from_wire(sent.wire)
    assert [str(each) for each in query.question] == ["web.minidisc. IN SRV"]
    assert (query.flags, query.edns, query.payload) == (dns.flags.RD if rd else 0, 0, 1232)


def test_those_known_to_answer_are_asked_first() -> None:
    lookup = look((peer("a", "100.64.1.1"), IDLE), (peer("b", "100.64.1.2"), NEW), (peer("c", "100.64.1.3"), REGISTRY))
    assert destinations(send(lookup, 0.0)) == ["100.64.1.3", "100.64.1.2", "100.64.1.1"]


def test_nothing_is_sent_twice_unless_time_passes() -> None:
    lookup = look((BRAVO, NEW))
    assert len(send(lookup, 0.0)) == 1
    assert list(send(lookup, 0.0)) == []
    assert list(send(lookup, RETRY - 0.001)) == []


def test_a_silent_peer_is_asked_once_more() -> None:
    lookup = look((CHARLIE, REGISTRY))
    first = send(lookup, 0.0)
    again = send(lookup, RETRY)
    assert list(again) == list(first)
    assert sum(len(send(lookup, moment / 100)) for moment in range(16, 99)) == 0


def test_who_has_answered_is_not_asked_again() -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, REGISTRY))
    first = send(lookup, 0.0)
    lookup.received(reply(CHARLIE, first[0]), first[0].address, PORT, 0.01)
    assert destinations(send(lookup, RETRY)) == ["100.64.0.2"]


def test_who_is_not_expected_to_answer_is_not_asked_again() -> None:
    lookup = look((CHARLIE, IDLE), (BRAVO, REGISTRY))
    send(lookup, 0.0)
    assert destinations(send(lookup, RETRY)) == ["100.64.0.2"]


def test_who_answers_with_a_flood_of_nonsense_is_not_asked_again_and_the_others_are() -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, REGISTRY))
    first, _ = send(lookup, 0.0)
    for _ in range(A_FLOOD):
        lookup.received(first.wire[:2] + bytes(10), first.address, PORT, 0.01)
    assert destinations(send(lookup, RETRY)) == ["100.64.0.2"]


def test_a_silent_ipv4_address_is_joined_by_the_ipv6_one_after_a_third_of_the_deadline() -> None:
    lookup = look((BRAVO, REGISTRY), timeout=0.9)
    send(lookup, 0.0)
    send(lookup, RETRY)
    assert list(send(lookup, 0.299)) == []
    assert destinations(send(lookup, 0.3)) == ["fd7a::2"]


def test_a_refusal_over_ipv4_goes_to_ipv6_at_once() -> None:
    lookup = look((BRAVO, NEW))
    send(lookup, 0.0)
    lookup.failed("100.64.0.2", PORT, 0.001, refused=True)
    (six,) = send(lookup, 0.001)
    assert six.address == "fd7a::2"
    lookup.received(reply(BRAVO, six, 80), "fd7a::2", PORT, 0.002)
    assert ports_of(lookup.asks[0]) == [80]


def test_a_refusal_at_every_address_is_a_refusal() -> None:
    lookup = look((BRAVO, REGISTRY))
    send(lookup, 0.0)
    lookup.failed("100.64.0.2", PORT, 0.001, refused=True)
    send(lookup, 0.001)
    lookup.failed("fd7a::2", PORT, 0.002, refused=True)
    send(lookup, 0.002)
    assert lookup.done
    assert lookup.outcomes(Outcome.REFUSED) == lookup.asks


def test_an_address_that_cannot_be_reached_is_silence_and_no_refusal() -> None:
    lookup = look((CHARLIE, REGISTRY))
    send(lookup, 0.0)
    lookup.failed("100.64.0.3", PORT, 0.001, refused=False)
    send(lookup, 0.001)
    assert lookup.done
    assert lookup.asks[0].outcome is Outcome.SILENT


def test_an_error_about_somebody_else_or_twice_changes_nothing() -> None:
    lookup = look((BRAVO, REGISTRY))
    send(lookup, 0.0)
    for address, port in (("100.64.0.9", PORT), ("100.64.0.2", 53), ("fd7a::2", PORT)):
        lookup.failed(address, port, 0.001, refused=True)
    assert lookup.asks[0].outcome is Outcome.PENDING
    for _ in range(2):
        lookup.failed("100.64.0.2", PORT, 0.001, refused=True)
    assert lookup.asks[0].outcome is Outcome.PENDING  # IPv6 has not refused


def test_at_most_128_are_in_flight() -> None:
    lookup = look(*((peer(f"p{n}", f"100.65.{n // 250}.{n % 250 + 1}"), NEW) for n in range(500)))
    first = send(lookup, 0.0)
    assert len(first) == IN_FLIGHT == 128
    assert list(send(lookup, FLIGHT_TIME / 2)) == []
    # Each that answers makes room for one; each that is silent, after its flight time.
    for datagram in first[:5]:
        lookup.received(reply(CHARLIE, datagram), datagram.address, PORT, 0.005)
    assert len(send(lookup, 0.005)) == 5
    assert lookup.timer() <= FLIGHT_TIME
    assert len(send(lookup, FLIGHT_TIME)) == 123
    sent = 128 + 5 + 123
    now = FLIGHT_TIME
    while sent < 500:
        now += FLIGHT_TIME
        batch = len(send(lookup, now))
        assert 0 < batch <= 128
        sent += batch
    assert (sent, now < RETRY) == (500, True)


# What comes in


def wrong(wire: bytes) -> dict[str, bytes]:
    """Octets that are no answer to the query that `wire` answers rightly."""
    other_case = wire[:13] + wire[13:16].swapcase() + wire[16:]
    return {
        "id": bytes((wire[0] ^ 1,)) + wire[1:],
        "no answer": wire[:2] + bytes((wire[2] & 0x7F,)) + wire[3:],
        "opcode": wire[:2] + bytes((wire[2] | 0x28,)) + wire[3:],
        "question": wire.replace(b"\x03web\x08minidisc\x00", b"\x03wex\x08minidisc\x00", 1),
        "question's case": other_case,
        "question's type": wire.replace(b"\x08minidisc\x00\x00\x21", b"\x08minidisc\x00\x00\x10", 1),
        "no question": wire[:4] + b"\0\0" + wire[6:],
        "two questions": wire[:4] + b"\0\2" + wire[6:],
        "cut": wire[:-1],
        "header": wire[:12],
        "nothing": b"",
        "a header's half": wire[:11],
        "counts": wire[:6] + b"\xff\xff" + wire[8:],
        "loop": wire[:-2] + b"\xc0\x0c",
        "garbage": wire[:2] + bytes(range(256)),
    }


@pytest.mark.parametrize("kind", wrong(bytes(64)))
def test_what_is_no_answer_to_our_question_is_passed_over_and_the_right_one_used(kind: str) -> None:
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    right = reply(CHARLIE, sent, 80)
    for _ in range(3):
        lookup.received(wrong(right)[kind], sent.address, PORT, 0.01)
    send(lookup, 0.01)
    assert not lookup.done
    assert lookup.asks[0].outcome is Outcome.PENDING
    lookup.received(right, sent.address, PORT, 0.5)
    send(lookup, 0.5)
    assert lookup.done
    assert ports_of(lookup.asks[0]) == [80]


@pytest.mark.parametrize(("address", "port"), [("100.64.0.2", PORT), ("100.64.0.3", 53), ("fd7a::3", PORT)])
def test_the_right_answer_from_elsewhere_is_passed_over(address: str, port: int) -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, REGISTRY))
    sent = send(lookup, 0.0)[0]
    lookup.received(reply(CHARLIE, sent, 80), address, port, 0.01)
    assert {ask.outcome for ask in lookup.asks} == {Outcome.PENDING}


def test_an_answer_from_an_address_not_asked_yet_is_passed_over() -> None:
    lookup = look((BRAVO, REGISTRY))
    (sent,) = send(lookup, 0.0)
    lookup.received(reply(BRAVO, sent, 80), "fd7a::2", PORT, 0.01)
    assert lookup.asks[0].outcome is Outcome.PENDING


def test_only_the_first_right_answer_counts() -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, REGISTRY))
    sent = send(lookup, 0.0)[0]
    lookup.received(reply(CHARLIE, sent, 80), sent.address, PORT, 0.01)
    lookup.received(reply(CHARLIE, sent, 81, 82), sent.address, PORT, 0.02)
    assert ports_of(lookup.asks[0]) == [80]


def test_two_peers_at_one_address_are_told_apart_by_id() -> None:
    """Several nodes behind one address, as on loopback: the id says whose answer it is."""
    one, other = peer("one", "127.0.0.1"), peer("other", "127.0.0.1")
    lookup = look((one, NEW), (other, NEW))
    first, second = send(lookup, 0.0)
    lookup.received(reply(other, second, 2), "127.0.0.1", PORT, 0.01)
    lookup.received(reply(one, first, 1), "127.0.0.1", PORT, 0.01)
    assert [ports_of(ask) for ask in lookup.asks] == [[1], [2]]


@pytest.mark.parametrize(
    ("rcode", "outcome"),
    [(0, "ANSWERED"), (1, "REFUSED"), (2, "SILENT"), (3, "ANSWERED"), (4, "REFUSED"), (5, "REFUSED"), (6, "SILENT"),
     (9, "REFUSED"), (10, "SILENT")],
)  # fmt: skip
def test_refused_is_a_refusal_servfail_a_silence_and_nxdomain_an_answer(rcode: int, outcome: str) -> None:
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    wire = bytearray(sent.wire)
    wire[2], wire[3] = 0x80, rcode
    lookup.received(bytes(wire), sent.address, PORT, 0.01)
    send(lookup, 0.01)
    assert lookup.asks[0].outcome is Outcome[outcome]
    assert lookup.done


def test_the_rtt_is_from_question_to_answer_and_unknown_after_a_retransmission() -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, REGISTRY))
    charlie, bravo = send(lookup, 0.0)
    lookup.received(reply(CHARLIE, charlie, 80), charlie.address, PORT, 0.07)
    send(lookup, RETRY)
    lookup.received(reply(BRAVO, bravo, 80), bravo.address, PORT, 0.2)
    assert [ask.rtt for ask in lookup.asks] == [pytest.approx(0.07), None]


@given(st.binary(max_size=200), st.booleans(), st.integers(0, 20))
@settings(deadline=None, max_examples=150)
def test_any_octets_from_a_peer_cost_at_most_its_own_answer(junk: bytes, with_header: bool, cut: int) -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, REGISTRY))
    charlie, bravo = send(lookup, 0.0)
    head = reply(CHARLIE, charlie, 80)[: 12 + len(WEB) + 4 + cut] if with_header else charlie.wire[:2]
    lookup.received(head + junk, charlie.address, PORT, 0.01)
    lookup.received(reply(BRAVO, bravo, 80), bravo.address, PORT, 0.02)
    send(lookup, lookup.deadline)
    assert lookup.done
    assert ports_of(lookup.asks[1]) == [80]


def test_bad_packets_of_one_peer_are_not_kept() -> None:
    """A peer that sends a thousand different bad answers costs time while it does, and no memory."""
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    right = reply(CHARLIE, sent, 80)
    for number in range(1000):
        for counts in (b"\xff\xff\0\0", b"\0\0\xff\xff"):
            bad = right[:6] + counts + right[10:] + number.to_bytes(4, "big")
            lookup.received(bad, sent.address, PORT, 0.01)
    assert lookup.asks[0].outcome is Outcome.PENDING
    assert not lookup._reader._empty
    assert not lookup._reader._denials


def denials(monkeypatch: pytest.MonkeyPatch, *changes: Callable[[bytes], bytes]) -> tuple[list[Outcome], int]:
    """What becomes of peers that say "no such name", each with a change of its own, and how many were read."""
    read = 0

    def counting(wire: bytes) -> Message:
        nonlocal read
        read += 1
        return Message(wire)

    monkeypatch.setattr(mddns.codec.fast_answer, "Message", counting)
    peers = [Peer(f"p{number}", (f"100.64.1.{number}",)) for number in range(len(changes))]
    lookup = look(*((peer, REGISTRY) for peer in peers))
    for sent, change in zip(send(lookup, 0.0), changes, strict=True):
        lookup.received(change(reply(ALPHA, sent)), sent.address, PORT, 0.01)
    return [ask.outcome for ask in lookup.asks], read


def with_serial(serial: int) -> Callable[[bytes], bytes]:
    """The serial stands before four timers and an OPT record without options."""
    return lambda wire: wire[:-31] + serial.to_bytes(4, "big") + wire[-27:]


def test_denials_that_differ_in_their_serial_alone_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, read = denials(monkeypatch, *(with_serial(number * 1_000_003) for number in range(20)))
    assert outcomes == [Outcome.ANSWERED] * 20
    assert read == 1


@pytest.mark.parametrize("at", [2, 3, 7, 12, 15, 30, -1, -8, -12, -15, -26], ids=str)
def test_a_denial_with_another_octet_elsewhere_is_read_by_itself(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    def change(wire: bytes) -> bytes:
        changed = bytearray(wire)
        changed[at] ^= 0x40
        return bytes(changed)

    alone, _ = denials(monkeypatch, change)
    beside, read = denials(monkeypatch, with_serial(1), change, with_serial(2))
    assert beside == [Outcome.ANSWERED, *alone, Outcome.ANSWERED]
    assert read <= 3


# When it is over


def test_everybody_has_answered() -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, NEW), (ALPHA, IDLE))
    for sent in send(lookup, 0.0):
        assert not lookup.done
        lookup.received(reply(CHARLIE, sent), sent.address, PORT, 0.01)
    send(lookup, 0.01)
    assert lookup.done


def test_without_peers_it_is_over_at_once() -> None:
    lookup = look()
    send(lookup, 0.0)
    assert lookup.done


def end_of(lookup: Lookup, now: float) -> float:
    """When a lookup ends to which nothing more comes."""
    while not lookup.done:
        send(lookup, now)
        if not lookup.done:
            assert lookup.timer() > now
            now = lookup.timer()
    return now


def test_a_known_registry_is_waited_for_to_the_deadline() -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, NEW))
    assert end_of(lookup, 0.0) == 1.0
    assert len(lookup.outcomes(Outcome.SILENT)) == 2


@pytest.mark.parametrize("answered", [None, 0.0, 0.1, 0.29])
def test_new_peers_are_waited_for_300_ms_after_the_last_answer(answered: float | None) -> None:
    lookup = look((CHARLIE, NEW), (BRAVO, NEW))
    charlie, _ = send(lookup, 0.0)
    if answered is not None:
        lookup.received(reply(CHARLIE, charlie), charlie.address, PORT, answered)
    assert end_of(lookup, answered or 0.0) == pytest.approx((answered or 0.0) + NEW_GRACE)


def test_the_last_answer_moves_on() -> None:
    peers = [(peer(f"p{n}", f"100.64.1.{n}"), NEW) for n in range(5)]
    lookup = look(*peers)
    sent = send(lookup, 0.0)
    for n, datagram in enumerate(sent[:4]):
        lookup.received(reply(CHARLIE, datagram), datagram.address, PORT, 0.2 * n)
        send(lookup, 0.2 * n)
        assert not lookup.done
    assert end_of(lookup, 0.6) == pytest.approx(0.9)


def test_who_is_not_expected_to_answer_is_hardly_waited_for() -> None:
    lookup = look((CHARLIE, IDLE), (BRAVO, REGISTRY))
    sent = send(lookup, 0.0)
    lookup.received(reply(BRAVO, sent[0]), sent[0].address, PORT, 0.005)
    assert end_of(lookup, 0.005) == pytest.approx(0.005 + IDLE_GRACE)


def test_it_is_waited_for_twice_the_slowest_answers_time_on_slow_networks() -> None:
    lookup = look((CHARLIE, IDLE), (BRAVO, REGISTRY))
    sent = send(lookup, 0.0)
    lookup.received(reply(BRAVO, sent[0]), sent[0].address, PORT, 0.1)
    assert end_of(lookup, 0.1) == pytest.approx(0.3)


@pytest.mark.parametrize("timeout", [0.01, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("standing", list(Standing))
@pytest.mark.parametrize("holder", [None, ALPHA])
def test_the_deadline_holds_whatever_happens(timeout: float, standing: Standing, holder: Peer | None) -> None:
    peers = [(peer(f"p{n}", f"100.64.1.{n % 250}", f"fd7a::{n:x}"), standing) for n in range(300)]
    lookup = look(*peers, timeout=timeout, holder=holder)
    assert end_of(lookup, 0.0) <= timeout
    assert not lookup.outcomes(Outcome.ANSWERED)


@pytest.mark.parametrize("late", [1.0, 1.5, 100.0])
def test_who_looks_up_late_finds_it_over(late: float) -> None:
    """A process that slept, or a loop that was blocked: no further waiting, nothing more sent."""
    lookup = look((CHARLIE, REGISTRY))
    send(lookup, 0.0)
    assert list(send(lookup, late)) == []
    assert lookup.done


def test_first_ends_at_the_first_match() -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, REGISTRY), (ALPHA, NEW), enough=lambda peer, answer: bool(answer.told))
    charlie, bravo, _ = send(lookup, 0.0)
    lookup.received(reply(CHARLIE, charlie), charlie.address, PORT, 0.01)
    send(lookup, 0.01)
    assert not lookup.done
    lookup.received(reply(BRAVO, bravo, 80), bravo.address, PORT, 0.02)
    assert lookup.done
    assert list(send(lookup, 0.02)) == []


# TCP


def truncated(sent: Datagram) -> bytes:
    wire = bytearray(sent.wire)
    wire[2] |= 0x82
    return bytes(wire)


def test_a_truncated_answer_is_asked_again_over_tcp_of_that_peer_alone() -> None:
    lookup = look((CHARLIE, REGISTRY), (BRAVO, REGISTRY))
    charlie, bravo = send(lookup, 0.0)
    lookup.received(truncated(charlie), charlie.address, PORT, 0.01)
    (ask,) = lookup.tcp()
    assert (ask.peer, ask.over_tcp) == (CHARLIE, "100.64.0.3")
    assert lookup.query_for(ask) == charlie.wire
    assert lookup.tcp() == []
    lookup.received(reply(BRAVO, bravo), bravo.address, PORT, 0.02)
    send(lookup, 0.02)
    assert not lookup.done
    assert not lookup.tcp_received(ask, reply(CHARLIE, charlie, *range(1, 50), tcp=True), 0.03)
    send(lookup, 0.03)
    assert lookup.done
    assert len(ports_of(ask)) == 49


def test_tcp_goes_to_the_address_that_answered() -> None:
    lookup = look((BRAVO, NEW))
    send(lookup, 0.0)
    lookup.failed("100.64.0.2", PORT, 0.001, refused=True)
    (six,) = send(lookup, 0.001)
    lookup.received(truncated(six), "fd7a::2", PORT, 0.01)
    assert [ask.over_tcp for ask in lookup.tcp()] == ["fd7a::2"]


def test_nobody_who_has_not_answered_over_udp_is_asked_over_tcp() -> None:
    lookup = look((BRAVO, REGISTRY), (CHARLIE, NEW))
    end_of(lookup, 0.0)
    assert lookup.tcp() == []


def test_an_answer_that_lacks_records_of_its_instances_is_asked_again_over_tcp() -> None:
    """Additionals may be dropped without TC."""
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    lookup.received(reply(CHARLIE, sent, *range(1, 22)), sent.address, PORT, 0.01)
    (ask,) = lookup.tcp()
    answer = host(CHARLIE, *range(1, 22)).octets(lookup.query_for(ask), tcp=True)
    assert isinstance(answer, bytes)
    lookup.tcp_received(ask, answer, 0.02)
    assert sorted(ports_of(ask)) == list(range(1, 22))


def test_where_tcp_fails_what_came_over_udp_has_to_do() -> None:
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    lookup.received(reply(CHARLIE, sent, *range(1, 22)), sent.address, PORT, 0.01)
    (ask,) = lookup.tcp()
    lookup.tcp_failed(ask, 0.02)
    send(lookup, 0.02)
    assert lookup.done
    assert ask.outcome is Outcome.ANSWERED
    assert 0 < len(ports_of(ask)) < 21


def test_where_tcp_fails_and_nothing_was_told_the_peer_is_silent() -> None:
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    lookup.received(truncated(sent), sent.address, PORT, 0.01)
    (ask,) = lookup.tcp()
    lookup.tcp_failed(ask, 0.02)
    assert ask.outcome is Outcome.SILENT


def test_tcp_that_lasts_beyond_the_deadline_is_silence() -> None:
    lookup = look((CHARLIE, NEW))
    (sent,) = send(lookup, 0.0)
    lookup.received(truncated(sent), sent.address, PORT, 0.01)
    lookup.tcp()
    assert end_of(lookup, 0.01) == 1.0
    assert lookup.asks[0].outcome is Outcome.SILENT


@pytest.mark.parametrize("standing", [NEW, IDLE])
def test_who_began_to_answer_is_waited_for_to_the_deadline(standing: Standing) -> None:
    """TC is an answer: its author is a registry, and TCP takes two round trips more."""
    lookup = look((CHARLIE, standing), (BRAVO, REGISTRY))
    bravo, charlie = send(lookup, 0.0)
    lookup.received(reply(BRAVO, bravo), bravo.address, PORT, 0.01)
    lookup.received(truncated(charlie), charlie.address, PORT, 0.02)
    lookup.tcp()
    assert end_of(lookup, 0.02) == 1.0


@pytest.mark.parametrize("kind", wrong(bytes(64)))
def test_over_tcp_too_what_is_no_answer_to_our_question_is_none(kind: str) -> None:
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    lookup.received(truncated(sent), sent.address, PORT, 0.01)
    (ask,) = lookup.tcp()
    assert lookup.tcp_received(ask, wrong(reply(CHARLIE, sent, 80))[kind], 0.02) is False
    assert not lookup.outcomes(Outcome.SILENT)
    lookup.tcp_failed(ask, 0.03)
    assert lookup.outcomes(Outcome.SILENT) == [ask]


def test_datagrams_of_a_peer_that_is_asked_over_tcp_are_passed_over() -> None:
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    for _ in range(3):
        lookup.received(truncated(sent), sent.address, PORT, 0.01)
    lookup.received(reply(CHARLIE, sent, 80), sent.address, PORT, 0.01)
    assert len(lookup.tcp()) == 1
    assert lookup.asks[0].outcome is Outcome.PENDING


def test_a_list_that_no_message_holds_comes_as_a_transfer() -> None:
    crowd = host(CHARLIE, *range(1, 801))
    fleet = Fleet(CHARLIE)
    fleet.by_address[CHARLIE.addresses[0]] = crowd
    lookup = look((CHARLIE, REGISTRY), qtype=PTR)
    fleet.carry(lookup, 0.0)
    assert sorted(ports_of(lookup.asks[0])) == list(range(1, 801))
    assert fleet.asked == [("100.64.0.3", False), ("100.64.0.3", True), ("100.64.0.3", True)]


def test_a_name_with_more_instances_than_a_message_holds_comes_as_a_transfer() -> None:
    crowd = host(CHARLIE, *range(1, 801))
    crowd.advertise("db", 900)
    fleet = Fleet(CHARLIE)
    fleet.by_address[CHARLIE.addresses[0]] = crowd
    lookup = look((CHARLIE, REGISTRY))
    fleet.carry(lookup, 0.0)
    assert sorted(ports_of(lookup.asks[0])) == list(range(1, 801))
    assert fleet.asked == [("100.64.0.3", False), ("100.64.0.3", True), ("100.64.0.3", True)]


@pytest.mark.parametrize("bad", [b"", b"junk", None])
def test_where_the_transfer_fails_what_came_over_tcp_has_to_do_and_is_known_to_be_a_part(bad: bytes | None) -> None:
    crowd = host(CHARLIE, *range(1, 801))
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    lookup.received(truncated(sent), sent.address, PORT, 0.01)
    for _ in range(2):
        (ask,) = lookup.tcp()
        answer = crowd.octets(lookup.query_for(ask), tcp=True) if ask.transfer is None else bad
        if isinstance(answer, bytes):
            assert not lookup.tcp_received(ask, answer, 0.02)
        lookup.tcp_failed(ask, 0.03)
    assert ask.outcome is Outcome.ANSWERED
    assert 500 < len(ports_of(ask)) < 800
    assert ask.answer
    assert ask.answer.partial


def test_no_transfer_is_wanted_for_other_questions() -> None:
    """A view is in no transfer; what came is what there is."""
    crowd = Host(CHARLIE)
    for port in range(1, 801):
        crowd.advertise("web", port, {"env": "prod"})
    lookup = Lookup(APEX, Name.parse("_web._tcp.minidisc.").wire, SRV, [(CHARLIE, REGISTRY)], 0.0, timeout=1.0)
    (sent,) = send(lookup, 0.0)
    lookup.received(truncated(sent), sent.address, PORT, 0.01)
    (ask,) = lookup.tcp()
    answer = crowd.octets(lookup.query_for(ask), tcp=True)
    assert isinstance(answer, bytes)
    lookup.tcp_received(ask, answer, 0.02)
    assert (ask.outcome, lookup.tcp()) == (Outcome.ANSWERED, [])


# Our own host's holder


def test_a_holder_that_cannot_tell_everything_sends_us_around() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    for port in range(1, 801):
        fleet[BRAVO].advertise("web", port)
    lookup = look((ALPHA, NEW), (BRAVO, REGISTRY), holder=ALPHA)
    fleet.carry(lookup, 0.0)
    assert lookup.holder
    assert lookup.holder.outcome is Outcome.SILENT
    assert len(ports_of(lookup.asks[0])) == 800


def test_a_holder_whose_tcp_fails_sends_us_around_too() -> None:
    lookup = look((BRAVO, REGISTRY), holder=ALPHA)
    (sent,) = send(lookup, 0.0)
    lookup.received(reply(ALPHA, sent._replace(wire=question("web SRV", use_edns=0, ident=0)), *range(1, 22))
                    .replace(b"\0\0", sent.wire[:2], 1), sent.address, PORT, 0.01)  # fmt: skip
    (ask,) = lookup.tcp()
    assert ports_of(ask)
    lookup.tcp_failed(ask, 0.02)
    assert not lookup.done
    assert destinations(send(lookup, 0.02)) == ["100.64.0.2"]


def test_a_holder_that_refuses_late_changes_nothing() -> None:
    """Everybody has been asked by then, and is not asked twice."""
    lookup = look((CHARLIE, REGISTRY), holder=CHARLIE)
    (sent,) = send(lookup, 0.0)
    assert destinations(send(lookup, HEAD_START)) == ["100.64.0.3"]
    wire = bytearray(sent.wire)
    wire[2], wire[3] = 0x81, 5
    lookup.received(bytes(wire), sent.address, PORT, 0.12)
    assert list(send(lookup, 0.12)) == []
    assert lookup.asks[0].outcome is Outcome.PENDING


def test_the_holder_is_asked_first_and_alone_with_rd() -> None:
    lookup = look((ALPHA, NEW), (BRAVO, REGISTRY), holder=ALPHA)
    (sent,) = send(lookup, 0.0)
    assert sent.address == "100.64.0.1"
    assert sent.wire[2] & 1 == 1
    assert list(send(lookup, HEAD_START - 0.001)) == []


def test_the_holders_answer_ends_the_lookup() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet[BRAVO].advertise("web", 80)
    lookup = look((ALPHA, NEW), (BRAVO, REGISTRY), holder=ALPHA)
    fleet.carry(lookup, 0.0, source=ALPHA.addresses[0])
    assert lookup.holder
    assert lookup.holder.outcome is Outcome.ANSWERED
    assert ports_of(lookup.holder) == [80]
    assert {ask.outcome for ask in lookup.asks} == {Outcome.PENDING}


def test_a_holder_that_refuses_sends_us_around_at_once() -> None:
    lookup = look((ALPHA, NEW), (BRAVO, REGISTRY), holder=ALPHA)
    send(lookup, 0.0)
    lookup.failed("100.64.0.1", PORT, 0.001, refused=True)
    (six,) = send(lookup, 0.001)
    lookup.failed("fd7a::1", PORT, 0.002, refused=True)
    sent = send(lookup, 0.002)
    assert (six.address, destinations(sent)) == ("fd7a::1", ["100.64.0.2", "100.64.0.1"])
    assert {datagram.wire[2] & 1 for datagram in sent} == {0}


def test_a_silent_holder_costs_100_ms() -> None:
    lookup = look((ALPHA, NEW), (BRAVO, REGISTRY), holder=ALPHA)
    send(lookup, 0.0)
    assert lookup.timer() == HEAD_START == 0.1
    sent = send(lookup, HEAD_START)
    assert "100.64.0.2" in destinations(sent)


def test_a_holder_that_has_not_answered_is_waited_for_when_all_others_have() -> None:
    """It waits for a registry of which a fresh program knows nothing, and will say which one."""
    lookup = look((BRAVO, REGISTRY), (CHARLIE, NEW), holder=ALPHA)
    send(lookup, 0.0)
    bravo, _ = send(lookup, HEAD_START)
    lookup.received(reply(BRAVO, bravo), bravo.address, PORT, 0.2)
    assert end_of(lookup, 0.2) == 1.0


def test_a_holder_that_answers_late_still_ends_the_lookup() -> None:
    fleet = Fleet(ALPHA, BRAVO)
    fleet[BRAVO].advertise("web", 80)
    lookup = look((BRAVO, REGISTRY), holder=ALPHA)
    (sent,) = send(lookup, 0.0)
    send(lookup, HEAD_START)
    answer = fleet.octets(fleet[ALPHA], sent.wire, now=0.0, tcp=False)
    lookup.received(answer or b"", sent.address, PORT, 0.4)
    assert lookup.done
    assert ports_of(lookup.holder) == [80]


@pytest.mark.parametrize(("rcode", "code", "ends"), [(2, 22, True), (2, 14, False), (2, None, False), (5, 18, False)])
def test_of_a_holders_failures_only_that_registries_are_silent_is_an_answer(
    rcode: int, code: int | None, ends: bool
) -> None:
    lookup = look((BRAVO, REGISTRY), holder=ALPHA)
    (sent,) = send(lookup, 0.0)
    wire = bytearray(sent.wire[:-11])
    wire[2], wire[3] = 0x81, rcode
    option = b"" if code is None else b"\0\x0f\0\x02\0" + bytes((code,))
    opt = b"\0\0\x29\4\xd0\0\0\0\0\0" + bytes((len(option),)) + option
    lookup.received(bytes(wire) + opt, sent.address, PORT, 0.01)
    assert lookup.done is ends
    assert bool(send(lookup, 0.01)) is not ends


def test_the_question_helper_and_the_lookup_ask_the_same() -> None:
    """The other tests of this file are worth something only if a lookup asks as everybody does."""
    (sent,) = send(look((CHARLIE, NEW)), 0.0)
    assert sent.wire[2:] == question("web SRV", use_edns=0)[2:]


def test_a_version_of_edns_that_a_peer_does_not_speak_is_no_refusal() -> None:
    """A registry of a later day is not left alone for five minutes."""
    lookup = look((CHARLIE, REGISTRY))
    (sent,) = send(lookup, 0.0)
    wire = bytearray(sent.wire)
    wire[2], wire[-6] = 0x80, 1  # BADVERS is 16: its upper bits stand in the OPT record
    lookup.received(bytes(wire), sent.address, PORT, 0.01)
    assert lookup.asks[0].outcome is Outcome.SILENT


def test_what_a_view_tells_is_no_service_of_ours() -> None:
    """Read in either way: its instances are not two labels and the apex."""
    view = host(CHARLIE)
    view.advertise("web", 80, {"env": "prod"})
    qname = Name.parse("web.prod._env.minidisc.").wire
    lookup = Lookup(APEX, qname, SRV, [(CHARLIE, REGISTRY)], 0.0, timeout=1.0)
    (sent,) = send(lookup, 0.0)
    answer = view.octets(sent.wire)
    assert isinstance(answer, bytes)
    lookup.received(answer, sent.address, PORT, 0.01)
    assert (lookup.asks[0].outcome, ports_of(lookup.asks[0])) == (Outcome.ANSWERED, [])
