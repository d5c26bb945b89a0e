"""Whom a question is put to, when, and which answers are believed: a table of moments, no sockets and no waiting."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from mddns.dns.message import CD, IN, NS, PTR, RD, SRV, A, Question
from mddns.files.resolv_conf import Place
from mddns.forward.server_selection import LINGER, LONGEST_PAUSE, Options, Servers
from mddns.forward.upstream_query import AGAIN, HEDGE, Pursuit, Try
from mddns.forward.upstream_reply import MX

NAME = "www.example.com."
QNAME = b"\3www\7example\3com\0"
QUESTION = Question(b"\3WWW\7example\3com\0", QNAME, A, IN)


def random_octets() -> Callable[[int], bytes]:
    """Octets that are others each time, and the same in each run."""

    def numbers() -> Iterator[int]:
        state = 12345
        while True:
            state = (state * 1103515245 + 12345) % 2**31
            yield state >> 16 & 0xFF

    source = numbers()
    return lambda count: bytes(next(source) for _ in range(count))


def servers(count: int, **options: object) -> Servers:
    return Servers([Place(f"10.0.0.{n}") for n in range(1, count + 1)], Options()._replace(**options))


def pursuit(of: Servers, now: float = 0.0, flags: int = RD, do: bool = False) -> Pursuit:
    return Pursuit(QUESTION, flags, do, of, now, random_octets())


def names(tries: list[Try]) -> list[str]:
    return [f"{each.server.place}{' tcp' if each.tcp else ''}" for each in tries]


def answer(to: Try, rcode: str = "NOERROR", *, edit: Callable[[dns.message.Message], None] | None = None) -> bytes:
    query = dns.message.from_wire(to.wire)
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(dns.rcode.from_text(rcode))
    if rcode == "NOERROR":
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.1"))
    if edit:
        edit(response)
    return response.to_wire()


# What is asked


def test_a_query_is_one_question_with_edns() -> None:
    (first,) = pursuit(servers(1)).due(0.0)
    query = dns.message.from_wire(first.wire)
    assert query.question[0].to_text().lower() == f"{NAME} in a"
    assert (query.edns, query.payload, query.ednsflags, query.options) == (0, 1232, 0, ())
    assert dns.flags.to_text(query.flags) == "RD AD"


@pytest.mark.parametrize(("flags", "do", "shown"), [(0, False, "AD"), (RD | CD, True, "RD AD CD"), (RD, True, "RD AD")])
def test_rd_cd_and_do_are_the_clients(flags: int, do: bool, shown: str) -> None:
    (first,) = pursuit(servers(1), flags=flags, do=do).due(0.0)
    query = dns.message.from_wire(first.wire)
    assert dns.flags.to_text(query.flags) == shown
    assert bool(query.ednsflags & dns.flags.DO) is do


def test_ids_and_the_case_of_names_are_others_each_time() -> None:
    of, draw = servers(1), random_octets()
    wires = [Pursuit(QUESTION, RD, False, of, 0.0, draw).due(0.0)[0].wire for _ in range(50)]
    assert len({wire[:2] for wire in wires}) > 45
    assert len({wire[12:29] for wire in wires}) > 40
    assert {wire[12:29].lower() for wire in wires} == {QNAME}


# Who is asked, and when


def test_the_next_server_is_asked_when_one_is_slow() -> None:
    asked = pursuit(servers(3))
    assert names(asked.due(0.0)) == ["10.0.0.1"]
    assert asked.timer() == HEDGE
    assert asked.due(HEDGE - 0.01) == []
    assert names(asked.due(HEDGE)) == ["10.0.0.2"]
    assert names(asked.due(2 * HEDGE)) == ["10.0.0.3"]
    assert not asked.settled


def test_the_slow_one_may_still_answer() -> None:
    asked = pursuit(servers(2))
    (first,) = asked.due(0.0)
    asked.due(HEDGE)
    asked.received(first.number, answer(first), 0.4)
    assert asked.settled
    assert asked.result


def test_datagrams_are_sent_again_as_they_were() -> None:
    asked = pursuit(servers(1))
    (first,) = asked.due(0.0)
    assert asked.due(AGAIN) == [first]
    assert asked.due(AGAIN + 0.1) == []
    assert asked.due(AGAIN + 2 * AGAIN) == [first]


@pytest.mark.parametrize(("timeout", "attempts"), [(2.0, 2), (1.0, 1), (3.0, 5)])
def test_silence_ends_after_all_attempts(timeout: float, attempts: int) -> None:
    asked = pursuit(servers(2, timeout=timeout, attempts=attempts))
    now = 0.0
    while not asked.settled:
        asked.due(now)
        assert asked.settled or asked.timer() > now
        now = asked.timer() if not asked.settled else now
    assert now == timeout * attempts
    assert asked.result is None
    assert asked.over


def test_nobody_to_ask() -> None:
    asked = pursuit(Servers())
    assert asked.settled
    assert asked.over
    assert asked.due(0.0) == []


def test_rotate_begins_with_another_each_time() -> None:
    of = servers(3, rotate=True)
    assert {names(pursuit(of).due(0.0))[0] for _ in range(3)} == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_use_vc_asks_over_tcp() -> None:
    assert names(pursuit(servers(1, use_vc=True)).due(0.0)) == ["10.0.0.1 tcp"]


def test_where_nobody_listens_the_next_is_asked_at_once() -> None:
    asked = pursuit(servers(2))
    (first,) = asked.due(0.0)
    asked.failed(first.number, 0.01)
    assert names(asked.due(0.01)) == ["10.0.0.2"]


def test_a_forged_refusal_does_not_shut_our_ears() -> None:
    asked = pursuit(servers(2))
    (first,) = asked.due(0.0)
    asked.failed(first.number, 0.01)
    asked.due(0.01)
    assert asked.listens(first.number)
    asked.received(first.number, answer(first), 0.02)
    assert asked.result


def test_where_nobody_listens_anywhere_it_ends_at_once() -> None:
    asked = pursuit(servers(2))
    for _ in range(2):
        (each,) = asked.due(0.0)
        asked.failed(each.number, 0.0)
    assert asked.settled


# Health


def silence(of: Servers, now: float) -> float:
    """One question that nobody answers but the second server."""
    asked = pursuit(of, now)
    tries = asked.due(now)
    while (helpful := next((each for each in tries if str(each.server.place) == "10.0.0.2"), None)) is None:
        now = asked.timer()
        tries = asked.due(now)
    asked.received(helpful.number, answer(helpful), now)
    assert asked.settled
    while not asked.over:
        now = asked.timer()
        asked.due(now)
    return now


def test_a_silent_server_is_asked_last_from_then_on() -> None:
    of = servers(2)
    now = silence(of, 0.0)
    assert now == LINGER
    assert names(pursuit(of, now).due(now)) == ["10.0.0.2"]


def test_a_silent_server_is_tried_again_beside_another_by_one_question() -> None:
    of = servers(2)
    now = silence(of, 0.0) + 1.0
    assert names(pursuit(of, now).due(now)) == ["10.0.0.1", "10.0.0.2"]
    assert names(pursuit(of, now).due(now)) == ["10.0.0.2"]


def test_a_server_that_answers_again_comes_first_again() -> None:
    of = servers(2)
    now = silence(of, 0.0) + 1.0
    asked = pursuit(of, now)
    beside, second = asked.due(now)
    asked.received(second.number, answer(second), now + 0.001)
    assert asked.settled
    assert asked.listens(beside.number)
    asked.received(beside.number, answer(beside), now + 0.02)
    assert asked.over
    assert names(pursuit(of, now + 0.1).due(now + 0.1)) == ["10.0.0.1"]


def test_pauses_grow() -> None:
    of, now, pauses = servers(2), 0.0, []
    first = of.all[0]
    for _ in range(10):
        now = max(silence(of, now), first.paused_until)
        pauses.append(first.paused_until - now)
        now = first.paused_until
        assert first.missed(now, now)
        pauses[-1] = first.paused_until - now
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_a_server_that_answers_others_is_not_silent() -> None:
    """One name that takes long says nothing about who looks it up."""
    of = servers(1)
    slow = pursuit(of)
    slow.due(0.0)
    quick = pursuit(of, 0.5)
    (each,) = quick.due(0.5)
    quick.received(each.number, answer(each), 0.6)
    slow.due(slow.timer())
    slow.due(LINGER)
    assert not of.all[0].misses


def test_silent_servers_are_told_of() -> None:
    asked = pursuit(servers(1))
    asked.due(0.0)
    asked.due(LINGER)
    assert [str(server.place) for server in asked.silent] == ["10.0.0.1"]


def test_all_silent_are_asked_nevertheless() -> None:
    of = servers(2)
    for server in of.all:
        server.missed(0.0, 1.0)
    asked = pursuit(of, 1.1)
    assert names(asked.due(1.1)) == ["10.0.0.1"]
    assert names(asked.due(1.1 + HEDGE)) == ["10.0.0.2"]


def test_a_server_that_asks_us_is_not_asked() -> None:
    of = servers(2)
    of.all[0].looping = 60.0
    assert names(pursuit(of).due(0.0)) == ["10.0.0.2"]
    assert names(pursuit(of, 60.0).due(60.0)) == ["10.0.0.1"]


# What is believed


def other_id(wire: bytes) -> bytes:
    return bytes((wire[0] ^ 1,)) + wire[1:]


def other_name(wire: bytes) -> bytes:
    return wire[:13] + bytes((wire[13] ^ 1,)) + wire[14:]


def other_type(wire: bytes) -> bytes:
    return wire[:30] + b"\x1c" + wire[31:]


FORGED = {
    "another id": other_id,
    "another name": other_name,
    "another type": other_type,
    "a query": lambda wire: wire[:2] + bytes((wire[2] & 0x7F,)) + wire[3:],
    "another opcode": lambda wire: wire[:2] + bytes((wire[2] | 0x28,)) + wire[3:],
    "no octets": lambda wire: b"",
    "a header": lambda wire: wire[:11],
    "cut off": lambda wire: wire[:-3],
    "no question": lambda wire: wire[:4] + bytes(8),
    "a record that says too much": lambda wire: wire[:6] + b"\xff\xff" + wire[8:],
}


@pytest.mark.parametrize("what", FORGED)
def test_what_is_no_answer_is_ignored_and_the_answer_behind_it_believed(what: str) -> None:
    asked = pursuit(servers(1))
    (first,) = asked.due(0.0)
    good = answer(first)
    asked.received(first.number, FORGED[what](good), 0.01)
    assert not asked.settled
    assert asked.listens(first.number)
    assert names(asked.due(0.02)) == []
    asked.received(first.number, good, 0.03)
    assert asked.result is not None


def test_a_server_that_changes_the_case_is_asked_again_without_a_random_one_and_so_from_then_on() -> None:
    of = servers(1)
    asked = pursuit(of)
    (first,) = asked.due(0.0)
    good = answer(first)
    asked.received(first.number, good[:12] + good[12:29].lower() + good[29:], 0.01)
    (second,) = asked.due(0.01)
    assert (second.tcp, second.wire[12:29]) == (False, QNAME)
    asked.received(second.number, answer(second), 0.02)
    assert asked.result
    (third,) = pursuit(of, 1.0).due(1.0)
    assert third.wire[12:29] == QNAME


def test_a_server_that_answers_in_capitals_is_believed_once_no_random_case_was_sent() -> None:
    asked = pursuit(servers(1))
    (first,) = asked.due(0.0)
    good = answer(first)
    asked.received(first.number, good[:12] + good[12:29].swapcase() + good[29:], 0.01)
    (second,) = asked.due(0.01)
    good = answer(second)
    asked.received(second.number, good[:12] + good[12:29].upper() + good[29:], 0.02)
    assert asked.result


@pytest.mark.parametrize(("rtype", "fixed"), [(SRV, 6), (MX, 2), (NS, 0), (PTR, 0)])
def test_the_random_case_of_a_question_never_comes_out_in_rdata(rtype: int, fixed: int) -> None:
    """A server compresses names in RDATA by pointing into the question, whose case we drew."""
    question = Question(b"\3WWW\7eXample\3com\0", QNAME, rtype, IN)
    asked = Pursuit(question, RD, False, servers(1), 0.0, random_octets())
    (first,) = asked.due(0.0)
    rdata = bytes(fixed) + b"\4host\xc0\x10"  # host, and the question's name from its second label on
    record = b"\xc0\x0c" + struct.pack("!HHIH", rtype, IN, 60, len(rdata)) + rdata
    header = first.wire[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0)
    asked.received(first.number, header + first.wire[12 : 16 + len(QNAME)] + record, 0.01)
    assert asked.result is not None
    (told,) = asked.result.answer
    assert asked.result.names.read(told.start + fixed)[0] == b"\4host\7eXample\3com\0"


def test_who_loses_the_case_over_tcp_too_is_not_asked_in_such_a_way_again() -> None:
    of = servers(1)
    asked = pursuit(of)
    (first,) = asked.due(0.0)
    lower = answer(first)
    asked.received(first.number, lower[:12] + lower[12:29].lower() + lower[29:], 0.01)
    (second,) = asked.due(0.01)
    lower = answer(second)
    asked.received(second.number, lower[:12] + lower[12:29].lower() + lower[29:], 0.02)
    assert asked.result
    (third,) = pursuit(of, 1.0).due(1.0)
    assert third.wire[12:29] == QNAME


def test_a_truncated_answer_is_asked_for_over_tcp() -> None:
    asked = pursuit(servers(2))
    (first,) = asked.due(0.0)

    def truncate(response: dns.message.Message) -> None:
        response.flags |= dns.flags.TC

    asked.received(first.number, answer(first, edit=truncate), 0.01)
    (second,) = asked.due(0.01)
    assert names([second]) == ["10.0.0.1 tcp"]
    asked.received(second.number, answer(second), 0.02)
    assert asked.result


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTAUTH", "YXDOMAIN"])
def test_a_server_that_cannot_tell_leads_to_the_next(rcode: str) -> None:
    asked = pursuit(servers(2))
    (first,) = asked.due(0.0)
    asked.received(first.number, answer(first, rcode), 0.01)
    (second,) = asked.due(0.01)
    assert names([second]) == ["10.0.0.2"]
    asked.received(second.number, answer(second), 0.02)
    assert asked.result


def test_where_no_server_can_tell_the_first_one_counts() -> None:
    asked = pursuit(servers(2))
    for rcode in ("REFUSED", "SERVFAIL"):
        (each,) = asked.due(0.0)
        asked.received(each.number, answer(each, rcode), 0.0)
    assert asked.settled
    assert asked.result is None
    assert asked.rcode == dns.rcode.REFUSED


@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP", "BADVERS"])
def test_a_server_without_edns_is_asked_without(rcode: str) -> None:
    of = servers(1)
    asked = pursuit(of)
    (first,) = asked.due(0.0)
    asked.received(first.number, answer(first, rcode), 0.01)
    (second,) = asked.due(0.01)
    assert dns.message.from_wire(second.wire).edns == -1
    asked.received(second.number, answer(second, rcode), 0.02)
    assert asked.settled
    assert dns.message.from_wire(pursuit(of, 1.0).due(1.0)[0].wire).edns == -1


def test_a_formerr_that_is_a_header_alone_means_no_edns() -> None:
    asked = pursuit(servers(1))
    (first,) = asked.due(0.0)
    asked.received(first.number, first.wire[:2] + b"\x81\x81" + bytes(8), 0.01)
    assert dns.message.from_wire(asked.due(0.01)[0].wire).edns == -1


def test_no_such_name_is_an_answer() -> None:
    asked = pursuit(servers(2))
    (first,) = asked.due(0.0)
    asked.received(first.number, answer(first, "NXDOMAIN"), 0.01)
    assert asked.result


def test_a_tcp_connection_that_breaks_leads_to_the_next() -> None:
    asked = pursuit(servers(2, use_vc=True))
    (first,) = asked.due(0.0)
    asked.failed(first.number, 0.01)
    assert not asked.listens(first.number)
    assert names(asked.due(0.01)) == ["10.0.0.2 tcp"]


def test_a_server_that_contradicts_itself_is_not_asked_for_ever() -> None:
    """Truncated, another case, no EDNS, truncated: every oddity is followed up, at most so often."""
    asked = pursuit(servers(1))
    seen, queue = 0, asked.due(0.0)
    while queue and seen < 100:
        each = queue.pop()
        seen += 1
        swapped = answer(each)
        asked.received(each.number, swapped[:12] + swapped[12:29].swapcase() + swapped[29:], 0.0)
        queue += asked.due(0.0)
    assert seen <= 12
