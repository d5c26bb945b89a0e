"""DNS Stateful Operations: octets as RFC 8490's figures lay them out, and the session by its rules."""

from __future__ import annotations

import itertools
import random

import pytest

from mddns.dso import (
    DSOTYPENI,
    INACTIVITY,
    KEEPALIVE,
    KEEPALIVE_EVERY,
    PADDING,
    RETRY_DELAY,
    Answered,
    ClientSession,
    Fatal,
    GoAway,
    Ordinary,
    ServerSession,
    Tlv,
    Told,
    framed,
    is_dso,
    keepalive,
    read,
    refusal,
    retry_delay,
    write,
)
from mddns.errors import BadMessage

KNOWN = 0x40
HEADER = "3000 0000 0000 0000 0000"


def octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("|", ""))


VECTORS = [
    # id, response, rcode, TLVs; the message: header (figure 1 of section 5.4), then type, length, data each.
    (0x1234, False, 0, [(KEEPALIVE, octets("00003a98 00003a98"))], "1234 " + HEADER + "| 0001 0008 00003a98 00003a98"),
    (0x1234, True, 0, [(KEEPALIVE, octets("00003a98 00003a98"))],
     "1234 b000 0000 0000 0000 0000 | 0001 0008 00003a98 00003a98"),
    (0, False, 0, [(RETRY_DELAY, octets("00007530"))], "0000 " + HEADER + "| 0002 0004 00007530"),
    (0, False, 2, [(RETRY_DELAY, octets("00007530"))], "0000 3002 0000 0000 0000 0000 | 0002 0004 00007530"),
    (1, True, DSOTYPENI, [], "0001 b00b 0000 0000 0000 0000"),
    (7, False, 0, [(KNOWN, b"x"), (PADDING, bytes(3))], "0007 " + HEADER + "| 0040 0001 78 | 0003 0003 000000"),
]  # fmt: skip


@pytest.mark.parametrize(("ident", "response", "rcode", "tlvs", "text"), VECTORS)
def test_messages_are_laid_out_as_the_figures_show(
    ident: int, response: bool, rcode: int, tlvs: list[tuple[int, bytes]], text: str
) -> None:
    wire = octets(text)
    assert write(ident, tlvs, response=response, rcode=rcode) == wire
    message = read(wire)
    assert (message.id, message.response, message.rcode) == (ident, response, rcode)
    assert [(tlv.kind, tlv.data) for tlv in message.tlvs] == tlvs
    assert all(wire[tlv.at : tlv.at + len(tlv.data)] == tlv.data for tlv in message.tlvs)
    assert is_dso(wire)


@pytest.mark.parametrize(
    "text",
    [
        "0001 3000 0001 0000 0000 0000 | 0001 0008 00003a98 00003a98",
        "0001 3000 0000 0000 0000 0001 | 0001 0008 00003a98 00003a98",
        "0001 " + HEADER + "| 0001 0009 00003a98 00003a98",
        "0001 " + HEADER + "| 0001 00",
    ],
    ids=["a question is counted", "an additional record is counted", "a TLV beyond the end", "half a TLV"],
)
def test_what_is_malformed_is_a_bad_message(text: str) -> None:
    with pytest.raises(BadMessage):
        read(octets(text))


def test_a_query_is_not_of_dso() -> None:
    assert not is_dso(octets("0001 0100 0001 0000 0000 0000"))
    assert not is_dso(octets("0001 2800 0001 0000 0000 0000"))


# The server


class Played:
    """Operations of type KNOWN: requests are granted, with data b"no" refused."""

    def __init__(self) -> None:
        self.active = False
        self.heard: list[bytes] = []

    def request(self, ident: int, tlv: Tlv, wire: bytes) -> int:
        if tlv.kind != KNOWN:
            return DSOTYPENI
        return 5 if tlv.data == b"no" else 0

    def told(self, tlv: Tlv, wire: bytes) -> bool:
        self.heard.append(tlv.data)
        return tlv.kind == KNOWN


def server(now: float = 0.0) -> ServerSession:
    return ServerSession(Played(), now)


def established() -> ServerSession:
    made = server()
    assert made.receive(write(1, [(KNOWN, b"")]), 0.0) == write(1, response=True)
    return made


def test_keepalive_is_answered_with_the_defaults_of_the_rfc() -> None:
    asked = write(9, [keepalive(60, 3600)])
    assert server().receive(asked, 0.0) == write(9, [(KEEPALIVE, octets("00003a98 00003a98"))], response=True)


def test_an_unknown_type_in_a_request_is_dsotypeni() -> None:
    assert server().receive(write(9, [(0xF800, b"x")]), 0.0) == write(9, response=True, rcode=DSOTYPENI)


def test_unknown_additional_types_are_passed_over() -> None:
    assert server().receive(write(9, [(KNOWN, b"x"), (0xF800, b"y"), (PADDING, bytes(99))]), 0.0) == write(
        9, response=True
    )


@pytest.mark.parametrize(
    "wire",
    [
        write(9),
        write(9, [(KEEPALIVE, b"short")]),
        write(9, [(PADDING, b"")]),
        octets("0009 3000 0001 0000 0000 0000"),
        octets("0009 " + HEADER + "| 0040 0009 00"),
    ],
    ids=["no TLV", "half a keepalive", "padding alone", "counts", "cut off"],
)
def test_a_malformed_request_is_a_format_error(wire: bytes) -> None:
    assert server().receive(wire, 0.0) == write(9, response=True, rcode=1)


@pytest.mark.parametrize(
    "wire",
    [
        write(0),
        write(0, [(0xF800, b"")]),
        write(0, [keepalive(15, 15)]),
        write(0, [retry_delay(1)]),
        write(9, [retry_delay(1)]),
        write(9, response=True),
        write(0, response=True),
        octets("0000 " + HEADER + "| 0040 0009 00"),
    ],
    ids=[
        "nothing told", "unknown", "keepalive", "retry delay", "retry delay asked", "an answer", "an answer to nobody",
        "cut off",
    ],
)  # fmt: skip
def test_what_a_client_may_not_send_aborts(wire: bytes) -> None:
    with pytest.raises(Fatal):
        established().receive(wire, 0.0)


def test_before_the_session_is_established_nothing_comes_without_id() -> None:
    with pytest.raises(Fatal):
        server().receive(write(0, [(KNOWN, b"")]), 0.0)
    assert established().receive(write(0, [(KNOWN, b"")]), 0.0) is None


def test_a_refused_request_establishes_nothing() -> None:
    made = server()
    made.receive(write(1, [(KNOWN, b"no")]), 0.0)
    with pytest.raises(Fatal):
        made.receive(write(0, [(KNOWN, b"")]), 0.0)


def test_a_session_without_operations_ends_after_twice_the_inactivity_timeout() -> None:
    made = established()
    made.receive(write(2, [keepalive(15, 15)]), 10.0)
    assert made.timer() == 2 * INACTIVITY
    made.receive(write(2, [(KNOWN, b"")]), 12.0)
    assert made.timer() == 12.0 + 2 * INACTIVITY


def test_a_session_with_operations_ends_after_twice_the_keepalive_interval_of_silence() -> None:
    operations = Played()
    made = ServerSession(operations, 0.0)
    operations.active = True
    made.receive(write(2, [keepalive(15, 15)]), 20.0)
    assert made.timer() == 20.0 + 2 * KEEPALIVE_EVERY


def test_other_messages_keep_it_alive_too() -> None:
    made = established()
    made.heard(QUERY, 25.0)
    assert made.timer() == 25.0 + 2 * INACTIVITY


# A query for . SOA with the option edns-tcp-keepalive (RFC 7828 3.1), with another one, and without any.
QUERY = octets("0007 0000 0001 0000 0000 0001 | 00 0006 0001 | 00 0029 04d0 00000000 0000")
KEEPING = octets("0007 0000 0001 0000 0000 0001 | 00 0006 0001 | 00 0029 04d0 00000000 0004 000b 0000")
PADDED = octets("0007 0000 0001 0000 0000 0001 | 00 0006 0001 | 00 0029 04d0 00000000 0004 000c 0000")


def test_edns_tcp_keepalive_within_a_session_aborts() -> None:
    """RFC 8490 7.1.2: whoever receives it, in whichever message. Before there is a session it is nothing to us."""
    with pytest.raises(Fatal):
        established().heard(KEEPING, 1.0)
    with pytest.raises(Fatal):
        joined().feed(framed(KEEPING), 1.0)
    established().heard(PADDED, 1.0)
    ServerSession(Played(), 0.0).heard(KEEPING, 1.0)
    assert client().feed(framed(KEEPING), 1.0) == [Ordinary(KEEPING)]


def test_a_farewell_is_a_retry_delay_of_nothing() -> None:
    """Before the session is established there is nobody who could be told (RFC 8490 6.6.1)."""
    assert established().farewell() == octets("0000 " + HEADER + "| 0002 0004 00000000")
    assert ServerSession(Played(), 0.0).farewell() is None


# The client


def client() -> ClientSession:
    return ClientSession(itertools.count(100).__next__, 0.0)


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
        write(9, [(KNOWN, b"")]),
        write(0),
        write(0, [(KEEPALIVE, octets("00003a98 0000270f"))]),
        write(0, [(KEEPALIVE, b"")]),
        write(0, [(RETRY_DELAY, b"")]),
    ],
    ids=["unasked", "a request", "nothing", "below ten seconds", "half a keepalive", "half a delay"],
)
def test_what_a_server_may_not_send_aborts(wire: bytes) -> None:
    with pytest.raises(BadMessage):
        joined().feed(framed(wire), 0.0)


def test_nothing_is_told_before_the_session_is_established() -> None:
    with pytest.raises(Fatal):
        client().feed(framed(write(0, [(KNOWN, b"")])), 0.0)


def test_a_message_of_less_than_a_header_aborts() -> None:
    with pytest.raises(BadMessage):
        joined().feed(b"\0\x0b" + bytes(11), 0.0)


def test_ids_under_way_and_zero_are_not_drawn() -> None:
    made = ClientSession(iter((0, 7, 7, 65536, 8)).__next__, 0.0)
    assert [made.request(KNOWN, b"", 0.0)[0] for _ in range(2)] == [7, 8]


def test_hostile_octets_raise_what_is_declared_and_nothing_else() -> None:
    dice = random.Random(8490)
    for _ in range(3000):
        wire = bytearray(write(dice.randrange(3), [(dice.randrange(5), dice.randbytes(dice.randrange(12)))]))
        for _ in range(dice.randrange(4)):
            wire[dice.randrange(len(wire))] = dice.randrange(256)
        for take in (established().receive, lambda wire, now: joined().feed(framed(wire), now)):
            try:
                take(bytes(wire), 0.0)
            except BadMessage:
                continue
