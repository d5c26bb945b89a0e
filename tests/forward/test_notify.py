"""Who is told of a change, when, and until when."""

from __future__ import annotations

import math

import dns.flags
import dns.message
import dns.opcode
import dns.rdatatype
import pytest
from played import APEX

from mddns.dns.writer import RR
from mddns.files.resolv_conf import Place
from mddns.forward.notify import AT_MOST_EVERY, FIRST_WAIT, TRIES, Notifications
from mddns.zone.apex import Apex

ONE, TWO = Place("192.0.2.1", 53), Place("192.0.2.2", 5353)


def soa(serial: int) -> RR:
    return Apex(APEX, serial, ("192.0.2.9",)).soa_record


def made(*places: Place) -> Notifications:
    ids = iter(range(1000, 2000))
    return Notifications(APEX, places or (ONE,), lambda: next(ids))


def serial(wire: bytes) -> int:
    return int(dns.message.from_wire(wire).answer[0][0].serial)


def answer(wire: bytes, flags: int = 0) -> bytes:
    """The header of an answer to `wire` alone, as some servers send it."""
    return wire[:2] + (0xA000 | flags).to_bytes(2, "big") + bytes(8)


def test_the_message_is_as_rfc_1996_has_it() -> None:
    told = made()
    told.moved(soa(77), 0.0)
    ((place, wire),) = told.due(0.0)
    message = dns.message.from_wire(wire)
    assert (place, message.id, message.opcode()) == (ONE, 1000, dns.opcode.NOTIFY)
    assert message.flags & ~0x7800 == dns.flags.AA
    assert [(str(each.name), each.rdtype) for each in message.question] == [("minidisc.", dns.rdatatype.SOA)]
    assert serial(wire) == 77


def test_nobody_is_told_before_anything_has_changed() -> None:
    told = made()
    assert told.next_at == math.inf
    assert told.due(1e9) == []


def test_it_is_sent_again_under_the_same_id_with_longer_waits_until_it_is_given_up() -> None:
    told = made()
    told.moved(soa(1), 0.0)
    sent, said, now = [], [], 0.0
    while now < math.inf:
        sent += [(now, place, wire) for place, wire in told.due(now)]
        said += told.given_up(now)
        now = told.next_at
    assert [when for when, *_ in sent] == [FIRST_WAIT * (2**number - 1) for number in range(TRIES)]
    assert {wire for *_, wire in sent} == {sent[0][2]}
    assert said == ["192.0.2.1 does not answer NOTIFY; is a name server there?"]


def test_who_stays_silent_is_told_of_the_next_change_and_complained_of_once() -> None:
    told = made()
    said = []
    for number in range(2):
        begun = 100.0 * number
        told.moved(soa(number), begun)
        while (now := told.next_at) < math.inf:
            told.due(now)
            said += told.given_up(now)
    assert len(said) == 1


@pytest.mark.parametrize("flags", [0, 0x0200, 0x0400, 0x0480])
def test_an_answer_ends_it_cut_off_or_not(flags: int) -> None:
    told = made(ONE, TWO)
    told.moved(soa(1), 0.0)
    sent = dict(told.due(0.0))
    assert told.heard(answer(sent[ONE], flags), ONE) == []
    assert [place for place, _ in told.due(10.0)] == [TWO]


@pytest.mark.parametrize("rcode", [1, 4, 5, 9, 15])
def test_a_refusal_ends_it_and_is_told_once(rcode: int) -> None:
    told = made()
    said = []
    for number in range(2):
        told.moved(soa(number), 10.0 * number)
        ((_, wire),) = told.due(10.0 * number)
        said += told.heard(answer(wire, rcode), ONE)
    assert said == [f"192.0.2.1 refused NOTIFY (rcode {rcode}); is minidisc. a secondary zone of ours there?"]
    assert told.next_at == math.inf


def test_what_is_no_answer_to_it_changes_nothing() -> None:
    told = made(ONE, TWO)
    told.moved(soa(1), 0.0)
    sent = dict(told.due(0.0))
    right = answer(sent[ONE])
    for wire, place in (
        (right[:11], ONE),
        (b"", ONE),
        (b"\0\0" + right[2:], ONE),
        (right, TWO),
        (right, Place("192.0.2.1", 54)),
        (right[:2] + b"\x20" + right[3:], ONE),  # a request
        (right[:2] + b"\x80" + right[3:], ONE),  # of another opcode
    ):
        assert told.heard(wire, place) == []
    assert len(told.due(FIRST_WAIT)) == 2


def test_changes_that_come_fast_are_told_of_as_one_the_last() -> None:
    told = made()
    sent = []
    for number in range(100):
        now = number / 50
        told.moved(soa(number), now)
        sent += [(now, serial(wire)) for _, wire in told.due(now)]
    then = told.next_at
    sent += [(then, serial(wire)) for _, wire in told.due(then)]
    assert sent == [(0.0, 0), (AT_MOST_EVERY, 50), (2 * AT_MOST_EVERY, 99)]


def test_an_answer_to_an_earlier_state_does_not_end_the_telling_of_a_later() -> None:
    told = made()
    told.moved(soa(1), 0.0)
    ((_, first),) = told.due(0.0)
    told.moved(soa(2), 0.5)
    assert told.heard(answer(first), ONE) == []
    ((_, second),) = told.due(AT_MOST_EVERY)
    assert told.heard(answer(first), ONE) == []
    assert serial(second) == 2
    assert told.next_at < math.inf
