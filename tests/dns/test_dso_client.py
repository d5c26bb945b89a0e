"""A session of DNS Stateful Operations as the client keeps it, by the rules of RFC 8490."""

from __future__ import annotations

import itertools

import pytest
from dso_octets import KNOWN, octets

from mddns.base.errors import BadMessage
from mddns.dns.dso import (
    DSOTYPENI,
    KEEPALIVE,
    KEEPALIVE_EVERY,
    PADDING,
    RETRY_DELAY,
    Fatal,
    framed,
    keepalive,
    read,
    refusal,
    retry_delay,
    write,
)
from mddns.dns.dso_client import ANSWER_WITHIN, Answered, Asked, ClientSession, GoAway, Ordinary, Told
from mddns.dns.message import NOTAUTH

OTHER = 0x43


def client() -> ClientSession:
    return ClientSession(itertools.count(100).__next__, 0.0, frozenset((KNOWN, OTHER)))


def joined() -> ClientSession:
    made = client()
    ident, _ = made.request(KNOWN, b"", 0.0)
    assert made.feed(framed(write(ident, response=True)), 0.0) == [Answered(ident, 0)]
    return made


def test_a_request_is_framed_and_its_answer_told() -> None:
    made = client()
    ident, wire = made.request(KNOWN, b"abc", 0.0)
    assert wire == framed(write(100, [(KNOWN, b"abc")]))
    assert made.feed(framed(write(ident, response=True, rcode=5)), 0.0) == [Answered(ident, 5)]


def test_octets_may_come_one_by_one() -> None:
    made = joined()
    stream = framed(write(0, [(KNOWN, b"x")])) + framed(octets("0007 8400 0000 0000 0000 0000"))
    events = [event for octet in stream for event in made.feed(bytes((octet,)), 0.0)]
    told, ordinary = events
    assert isinstance(told, Told)
    assert told.tlv.data == b"x"
    assert ordinary == Ordinary(octets("0007 8400 0000 0000 0000 0000"))


def test_a_refusal_tells_how_long_to_stay_away() -> None:
    made = client()
    ident, wire = made.request(KNOWN, b"", 0.0)
    assert made.feed(framed(refusal(wire[2:], 30.0)), 0.0) == [Answered(ident, 2, 30.0)]


def test_a_server_may_ask_to_go_away() -> None:
    assert joined().feed(framed(write(0, [retry_delay(2.5)])), 0.0) == [GoAway(2.5, 0)]


def test_keepalives_are_sent_when_nothing_else_was() -> None:
    made = joined()
    assert made.timer() == KEEPALIVE_EVERY
    assert made.due(14.9) is None
    made.sent(10.0)
    assert made.due(15.0) is None
    wire = made.due(25.0)
    assert wire is not None
    assert read(wire[2:]).tlvs[0].kind == KEEPALIVE
    assert made.feed(framed(write(read(wire[2:]).id, [keepalive(15, 3600)], response=True)), 25.0) == []
    assert made.timer() == 25.0 + 3600


def test_a_server_that_says_nothing_to_keepalives_is_silent() -> None:
    made = joined()
    assert not made.silent(30.0)
    assert made.silent(30.1)


@pytest.mark.parametrize(
    "wire",
    [
        write(99, response=True),
        write(0, response=True),
        write(100, response=True),
        write(0),
        write(0, [keepalive(15, 9.999)]),
        write(0, [(KEEPALIVE, b"")]),
        write(0, [(RETRY_DELAY, b"")]),
        write(9, [keepalive(15, 15)]),
        write(9, [retry_delay(1)]),
        write(9, [(KNOWN, b"")]),
        write(9, [(OTHER, b"")]),
    ],
    ids=[
        "unasked", "an answer to nobody", "granted twice", "nothing", "below ten seconds", "half a keepalive",
        "half a delay", "keepalive asked", "retry delay asked", "what clients ask", "what clients tell",
    ],
)  # fmt: skip
def test_what_a_server_may_not_send_aborts(wire: bytes) -> None:
    with pytest.raises(BadMessage):
        joined().feed(framed(wire), 0.0)


@pytest.mark.parametrize(
    "tlvs",
    [[], [keepalive(15, 15)] * 2, [(PADDING, b""), keepalive(15, 15)], [keepalive(15, 15), (OTHER, b"")]],
    ids=["none", "two", "behind another", "with what is no answer"],
)
def test_a_keepalive_is_answered_with_exactly_one(tlvs: list[tuple[int, bytes]]) -> None:
    """RFC 8490 5.4.2, 7.1."""
    made = joined()
    wire = made.due(15.0)
    assert wire
    with pytest.raises(Fatal):
        made.feed(framed(write(read(wire[2:]).id, tlvs, response=True)), 15.0)


@pytest.mark.parametrize("kind", [KEEPALIVE, OTHER])
def test_an_answer_has_nothing_that_belongs_elsewhere(kind: int) -> None:
    """RFC 8490 7.1 of Keepalive, RFC 8765 6.3 to 6.5 of what only goes without id."""
    made = client()
    ident, _ = made.request(KNOWN, b"", 0.0)
    with pytest.raises(Fatal):
        made.feed(framed(write(ident, [(kind, bytes(8))], response=True)), 0.0)


def test_in_an_answer_its_own_type_and_unknown_ones_are_passed_over() -> None:
    """RFC 8765 6.2.2 of SUBSCRIBE, RFC 8490 5.4.5 of those that nobody knows."""
    made = client()
    ident, _ = made.request(KNOWN, b"", 0.0)
    tlvs = [(KNOWN, b"x"), (0xF800, b"y"), (PADDING, b"z")]
    assert made.feed(framed(write(ident, tlvs, response=True)), 0.0) == [Answered(ident, 0)]


def test_what_a_server_asks_and_nobody_knows_is_dsotypeni() -> None:
    """RFC 8490 5.4.5. Ids of the two directions have nothing to do with each other (5.5.2)."""
    answer = framed(write(100, [retry_delay(3600)], response=True, rcode=DSOTYPENI))
    assert joined().feed(framed(write(100, [(0xF800, b"x")])), 0.0) == [Asked(answer)]
    padded = framed(write(9, [retry_delay(3600), (PADDING, b"")], response=True, rcode=DSOTYPENI))
    assert joined().feed(framed(write(9, [(0xF800, b"x"), (PADDING, bytes(9))])), 0.0) == [Asked(padded)]


@pytest.mark.parametrize(
    "wire",
    [write(9), octets("0009 3000 0001 0000 0000 0000"), octets("0009 3000 0000 0000 0000 0000 | f800 0009 00")],
    ids=["nothing", "counts", "cut off"],
)
def test_a_malformed_request_of_a_server_is_a_format_error(wire: bytes) -> None:
    answer = framed(write(9, [retry_delay(300)], response=True, rcode=1))
    assert joined().feed(framed(wire), 0.0) == [Asked(answer)]


def test_a_server_may_end_what_it_had_granted() -> None:
    """RFC 8490 5.6: by another answer, once."""
    made = joined()
    ended = framed(write(100, response=True, rcode=NOTAUTH))
    assert made.feed(ended, 0.0) == [Answered(100, NOTAUTH)]
    with pytest.raises(Fatal):
        made.feed(ended, 0.0)


@pytest.mark.parametrize("rcode", [DSOTYPENI, NOTAUTH])
def test_a_request_that_was_refused_establishes_nothing(rcode: int) -> None:
    """RFC 8490 5.1.1."""
    made = client()
    ident, _ = made.request(KNOWN, b"", 0.0)
    made.feed(framed(write(ident, response=True, rcode=rcode)), 0.0)
    with pytest.raises(Fatal):
        made.feed(framed(write(0, [(KNOWN, b"")])), 0.0)


def test_a_request_without_an_answer_is_given_up_whatever_else_comes() -> None:
    """RFC 8490 5.1.1: for as long as that, the state of the server is not known."""
    made = client()
    made.request(KNOWN, b"", 0.0)
    assert made.feed(framed(octets("0007 8400 0000 0000 0000 0000")), 20.0)
    assert made.timer() == ANSWER_WITHIN
    assert not made.silent(ANSWER_WITHIN)
    assert made.silent(ANSWER_WITHIN + 0.1)


def test_nothing_is_told_before_the_session_is_established() -> None:
    with pytest.raises(Fatal):
        client().feed(framed(write(0, [(KNOWN, b"")])), 0.0)


def test_a_message_of_less_than_a_header_aborts() -> None:
    with pytest.raises(BadMessage):
        joined().feed(b"\0\x0b" + bytes(11), 0.0)


def test_ids_in_use_and_zero_are_not_drawn() -> None:
    """RFC 8490 5.4.1: by a request under way, one that lasts, or another message on the connection."""
    made = ClientSession(iter((0, 7, 7, 65536, 8, 8, 7, 9, 9, 10, 9)).__next__, 0.0)
    assert [made.request(KNOWN, b"", 0.0)[0] for _ in range(2)] == [7, 8]
    made.feed(framed(write(7, response=True)) + framed(write(8, response=True, rcode=5)), 0.0)
    assert [made.request(KNOWN, b"", 0.0)[0], made.lend_id(), made.request(KNOWN, b"", 0.0)[0]] == [8, 9, 10]
    made.free(9)
    assert made.lend_id() == 9
