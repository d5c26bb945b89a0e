"""DNS Stateful Operations: RFC 8490's figures, field by field, and the server's session by its rules.

The RFC has no octets: its figures are of fields. Each vector here is a figure filled with values that the RFC's own
text names, in the figure's order, a field a line. They are written and read.
"""

from __future__ import annotations

import itertools
import random

import pytest
from dso_octets import KNOWN, octets

from mddns.base.errors import BadMessage
from mddns.dns.dso import (
    DSOTYPENI,
    INACTIVITY,
    KEEPALIVE,
    KEEPALIVE_EVERY,
    PADDING,
    RETRY_DELAY,
    Fatal,
    ServerSession,
    Tlv,
    framed,
    is_dso,
    is_response,
    keepalive,
    read,
    refusal,
    retry_after,
    retry_delay,
    write,
)
from mddns.dns.dso_client import Answered, ClientSession, Ordinary
from mddns.dns.message import FORMERR, NOTAUTH, NOTIMP, REFUSED, SERVFAIL

HEADER = "3000 0000 0000 0000 0000"


class Vector:
    """A message, and what it says: its id, whether it answers, rcode, TLVs."""

    def __init__(
        self,
        name: str,
        *fields: str,
        ident: int = 0,
        answers: bool = False,
        rcode: int = 0,
        tlvs: list[tuple[int, bytes]],
    ) -> None:
        self.name = name
        self.wire = octets(*fields)
        self.ident, self.answers, self.rcode, self.tlvs = ident, answers, rcode, tlvs


VECTORS = [
    Vector(
        "Keepalive, a request: 15 s (the default of 6.2), 60 minutes (recommended by 6.5.2)",
        "1234",  # MESSAGE ID: not 0 in a request (5.4.1)
        "3000",  # QR 0, OPCODE 6, Z 0, RCODE 0
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT: zero (5.4)
        "0001",  # DSO-TYPE: Keepalive (7.1)
        "0008",  # DSO-LENGTH
        "0000 3a98",  # INACTIVITY TIMEOUT: 15,000 ms
        "0036 ee80",  # KEEPALIVE INTERVAL: 3,600,000 ms
        ident=0x1234,
        tlvs=[keepalive(15, 3600)],
    ),
    Vector(
        "Keepalive, the response: the defaults of 6.2",
        "1234",  # MESSAGE ID: the request's
        "b000",  # QR 1, OPCODE 6, Z 0, RCODE NOERROR
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        "0001",  # DSO-TYPE: Keepalive
        "0008",  # DSO-LENGTH
        "0000 3a98",  # INACTIVITY TIMEOUT: 15 s
        "0000 3a98",  # KEEPALIVE INTERVAL: 15 s
        ident=0x1234,
        answers=True,
        tlvs=[keepalive(15, 15)],
    ),
    Vector(
        "Keepalive by a server, unidirectional: no idle session at all (6.4.2), the least interval (6.5.2)",
        "0000",  # MESSAGE ID: 0, no answer is wanted (7.1)
        "3000",  # QR 0, OPCODE 6, Z 0, RCODE 0
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        "0001",  # DSO-TYPE: Keepalive
        "0008",  # DSO-LENGTH
        "0000 0000",  # INACTIVITY TIMEOUT: 0
        "0000 2710",  # KEEPALIVE INTERVAL: 10 s
        tlvs=[keepalive(0, 10)],
    ),
    Vector(
        "Keepalive: no limit (6.4.2), and the largest interval that is one (6.5.2)",
        "0000",  # MESSAGE ID
        "3000",  # QR 0, OPCODE 6, Z 0, RCODE 0
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        "0001",  # DSO-TYPE: Keepalive
        "0008",  # DSO-LENGTH
        "ffff ffff",  # INACTIVITY TIMEOUT: none
        "ffff fffe",  # KEEPALIVE INTERVAL: 49.7 days
        tlvs=[(KEEPALIVE, b"\xff" * 7 + b"\xfe")],
    ),
    Vector(
        "Retry Delay of a server that is overloaded (7.2.1), for as long as can be said (6.6.3)",
        "0000",  # MESSAGE ID: 0
        "3002",  # QR 0, OPCODE 6, Z 0, RCODE SERVFAIL: the reason
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        "0002",  # DSO-TYPE: Retry Delay (7.2)
        "0004",  # DSO-LENGTH
        "ffff ffff",  # RETRY DELAY: 49.7 days
        rcode=SERVFAIL,
        tlvs=[retry_delay(4294967.295)],
    ),
    Vector(
        "Retry Delay of a routine shutdown, a tenth of a second (6.6.1.1)",
        "0000",  # MESSAGE ID: 0
        "3000",  # QR 0, OPCODE 6, Z 0, RCODE NOERROR
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        "0002",  # DSO-TYPE: Retry Delay
        "0004",  # DSO-LENGTH
        "0000 0064",  # RETRY DELAY: 100 ms
        tlvs=[retry_delay(0.1)],
    ),
    Vector(
        "a type that is not implemented (5.4.5), with Retry Delay as Response Additional TLV (7.2.2)",
        "0001",  # MESSAGE ID: the request's
        "b00b",  # QR 1, OPCODE 6, Z 0, RCODE DSOTYPENI (11)
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        "0002",  # DSO-TYPE: Retry Delay; no copy of the TLV that is not known
        "0004",  # DSO-LENGTH
        "0036 ee80",  # RETRY DELAY: an hour (RFC 8765 6.2.2)
        ident=1,
        answers=True,
        rcode=DSOTYPENI,
        tlvs=[retry_delay(3600)],
    ),
    Vector(
        "a response without any TLV (5.4.2)",
        "0007",  # MESSAGE ID: the request's
        "b000",  # QR 1, OPCODE 6, Z 0, RCODE NOERROR
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        ident=7,
        answers=True,
        tlvs=[],
    ),
    Vector(
        "Encryption Padding behind another TLV: none (7.3), then three octets",
        "0007",  # MESSAGE ID
        "3000",  # QR 0, OPCODE 6, Z 0, RCODE 0
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        "0040",  # DSO-TYPE: the primary TLV's
        "0001",  # DSO-LENGTH
        "78",  # DSO-DATA
        "0003",  # DSO-TYPE: Encryption Padding
        "0000",  # DSO-LENGTH: 0, which is four octets of padding already
        "0003",  # DSO-TYPE: Encryption Padding
        "0003",  # DSO-LENGTH
        "00 00 00",  # PADDING
        ident=7,
        tlvs=[(KNOWN, b"x"), (PADDING, b""), (PADDING, bytes(3))],
    ),
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_messages_are_laid_out_as_the_figures_show(vector: Vector) -> None:
    wire = vector.wire
    assert write(vector.ident, vector.tlvs, response=vector.answers, rcode=vector.rcode) == wire
    message = read(wire)
    assert (message.id, message.response, message.rcode) == (vector.ident, vector.answers, vector.rcode)
    assert [(tlv.kind, tlv.data) for tlv in message.tlvs] == vector.tlvs
    assert all(wire[tlv.at : tlv.at + len(tlv.data)] == tlv.data for tlv in message.tlvs)
    assert is_dso(wire)
    assert is_response(wire) == vector.answers


def test_a_retry_delay_is_in_milliseconds() -> None:
    delays = [read(vector.wire).retry_delay for vector in VECTORS if dict(vector.tlvs).get(RETRY_DELAY)]
    assert delays == [4294967.295, 0.1, 3600]


def test_bits_that_mean_nothing_are_ignored() -> None:
    """The Z bits, and the rcode of a request (RFC 8490 5.4.1)."""
    wire = octets("0009", "37fb", "0000 0000 0000 0000", "0001", "0008", "0000 3a98", "0000 3a98")
    assert server().receive(wire, 0.0) == write(9, [keepalive(15, 15)], response=True)


def test_how_long_to_stay_away_is_what_rfc_8765_recommends() -> None:
    """Section 6.2.2, for each rcode that it names; of REFUSED and NOTAUTH it says that any value is right."""
    assert [retry_after(rcode) for rcode in (FORMERR, SERVFAIL, NOTIMP, DSOTYPENI, 3)] == [300, 60, 3600, 3600, 300]
    assert {retry_after(rcode) for rcode in (REFUSED, NOTAUTH)} == {60}


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
    asked, answer = VECTORS[0].wire, VECTORS[1].wire
    assert server().receive(asked, 0.0) == answer


@pytest.mark.parametrize("kind", [0, 4, 0x3F, 0xF7FF, 0xF800, 0xFFFF])
def test_an_unknown_type_in_a_request_is_dsotypeni(kind: int) -> None:
    """And nothing of the unknown TLV is in the answer (RFC 8490 5.4.5)."""
    answer = write(9, [retry_delay(3600)], response=True, rcode=DSOTYPENI)
    assert server().receive(write(9, [(kind, b"x")]), 0.0) == answer


def test_unknown_additional_types_are_passed_over() -> None:
    assert server().receive(write(9, [(KNOWN, b"x"), (0xF800, b"y")]), 0.0) == write(9, response=True)


@pytest.mark.parametrize("padding", [b"", bytes(99), b"\xff\x5a"])
def test_who_pads_is_padded(padding: bytes) -> None:
    """RFC 8490 7.3: with octets of any value, and in errors too."""
    asked = write(9, [(KNOWN, b"x"), (PADDING, padding)])
    assert server().receive(asked, 0.0) == write(9, [(PADDING, b"")], response=True)
    refused = write(9, [retry_delay(30), (PADDING, b"")], response=True, rcode=SERVFAIL)
    assert refusal(asked, 30.0) == refused


def test_a_request_that_is_refused_says_when_it_may_be_asked_again() -> None:
    """RFC 8765 6.2.2."""
    answer = write(9, [retry_delay(60)], response=True, rcode=REFUSED)
    assert server().receive(write(9, [(KNOWN, b"no")]), 0.0) == answer


@pytest.mark.parametrize(
    "wire",
    [write(0, [(KNOWN, b"")]), write(9, response=True), write(0, response=True), write(9, [retry_delay(1)])],
    ids=["told", "an answer", "an answer to nobody", "retry delay"],
)
def test_where_there_is_no_place_nothing_is_answered_that_wants_no_answer(wire: bytes) -> None:
    """RFC 8490 5.4.3: not even an error."""
    with pytest.raises(Fatal):
        refusal(wire, 30.0)


def test_a_malformed_request_is_a_format_error_also_where_there_is_no_place() -> None:
    answer = write(9, [retry_delay(300)], response=True, rcode=FORMERR)
    assert refusal(octets("0009 3000 0001 0000 0000 0000"), 30.0) == answer


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
    answer = server().receive(wire, 0.0)
    assert answer is not None
    assert answer[:12] == octets("0009 b001 0000 0000 0000 0000")


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


def test_before_the_first_request_nothing_comes_without_id() -> None:
    with pytest.raises(Fatal):
        server().receive(write(0, [(KNOWN, b"")]), 0.0)
    assert established().receive(write(0, [(KNOWN, b"")]), 0.0) is None


def test_who_was_refused_may_not_know_it_yet() -> None:
    """An UNSUBSCRIBE may follow at once on the SUBSCRIBE that it takes back (RFC 8765 6.4.1)."""
    made = server()
    made.receive(write(1, [(KNOWN, b"no")]), 0.0)
    assert made.receive(write(0, [(KNOWN, b"")]), 0.0) is None


@pytest.mark.parametrize(
    "wire", [write(1, [(KNOWN, b"no")]), write(1, [(0xF800, b"")]), write(1), write(1, [(KEEPALIVE, b"")])]
)
def test_a_refused_request_establishes_nothing(wire: bytes) -> None:
    """Neither does one whose type nobody knows (RFC 8490 5.1.1): there is no session to be ended."""
    made = server()
    assert made.receive(wire, 0.0)
    assert made.farewell() is None
    made.heard(KEEPING, 0.0)


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
    """Those that come and those that go (RFC 8490 6.3)."""
    made = established()
    made.heard(QUERY, 25.0)
    assert made.timer() == 25.0 + 2 * INACTIVITY
    made.sent(26.0)
    assert made.timer() == 26.0 + 2 * INACTIVITY


def test_who_is_told_of_changes_needs_to_say_nothing() -> None:
    """A message that was sent resets the keepalive timer of both sides (RFC 8490 6.3, 6.5.1)."""
    operations = Played()
    made = ServerSession(operations, 0.0)
    operations.active = True
    made.receive(write(2, [(KNOWN, b"")]), 0.0)
    made.sent(29.0)
    assert made.timer() == 29.0 + 2 * KEEPALIVE_EVERY


def client() -> ClientSession:
    return ClientSession(itertools.count(100).__next__, 0.0)


def joined() -> ClientSession:
    made = client()
    ident, _ = made.request(KNOWN, b"", 0.0)
    assert made.feed(framed(write(ident, response=True)), 0.0) == [Answered(ident, 0)]
    return made


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


def test_hostile_octets_raise_what_is_declared_and_nothing_else() -> None:
    dice = random.Random(8490)
    for _ in range(3000):
        wire = bytearray(write(dice.randrange(3), [(dice.randrange(5), dice.randbytes(dice.randrange(12)))]))
        for _ in range(dice.randrange(4)):
            wire[dice.randrange(len(wire))] = dice.randrange(256)
        for take in (established().receive, lambda wire, now: joined().feed(framed(wire), now), refusal):
            try:
                take(bytes(wire), 0.0)
            except BadMessage:
                continue
