"""DNS Push: RFC 8765's figures, field by field, subscriptions, and what they are told.

The RFC has no octets: its figures are of fields. Each vector here is a figure filled with the name of the RFC's own
example (6.1) and the values of its text, in the figure's order, a field a line.
"""

from __future__ import annotations

import pytest
from played import ALPHA, SINCE, Host

from mddns.base.names import Name
from mddns.codec.instance_records import TTL
from mddns.dns.dso import DSOTYPENI, Fatal, ServerSession, Tlv, framed, read, refusal, write
from mddns.dns.dso_client import Answered, ClientSession
from mddns.dns.message import AAAA, ANY, FORMERR, IN, NOERROR, NOTAUTH, PTR, REFUSED, SERVFAIL, SOA, SRV, TXT, A
from mddns.responder.push_subscriptions import (
    MOST_OCTETS,
    MOST_SUBSCRIPTIONS,
    PUSH,
    RECONFIRM,
    REMOVED,
    REMOVED_ALL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Change,
    Held,
    Kind,
    Subscriptions,
    read_push,
    subscription,
    without_place,
    write_pushes,
)

WEB = Name.parse("web.minidisc.").wire


def tlv(kind: int, data: bytes) -> Tlv:
    return Tlv(kind, 0, data)


def host() -> tuple[Host, Subscriptions]:
    made = Host(ALPHA)
    made.advertise("web", 8080, {"env": "prod"})
    return made, Subscriptions(made.responder.standing)


def ask(made: Subscriptions, ident: int, name: str, qtype: int, qclass: int = IN) -> int:
    return made.request(ident, tlv(SUBSCRIBE, subscription(Name.parse(name).wire, qtype, qclass)), b"")


# Octets


def octets(*fields: str) -> bytes:
    return bytes.fromhex("".join(fields))


# The name that RFC 8765 6.1 subscribes to as its example.
IPP = Name.parse("_ipp._tcp.headoffice.example.com.").wire
NAME = octets(
    "04 5f697070",  # _ipp
    "04 5f746370",  # _tcp
    "0a 686561646f6666696365",  # headoffice
    "07 6578616d706c65",  # example
    "03 636f6d",  # com
    "00",
)
PRINTER = b"\x07printer" + IPP

SUBSCRIBING = octets(
    "0001",  # MESSAGE ID: not 0, and in use until UNSUBSCRIBE (6.2.1)
    "3000",  # QR 0, OPCODE 6, Z 0, RCODE 0
    "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT: zero
    "0040",  # DSO-TYPE: SUBSCRIBE
    "0026",  # DSO-LENGTH: 38
    NAME.hex(),  # NAME
    "000c",  # TYPE: PTR
    "0001",  # CLASS: IN
)
GRANTED = octets(
    "0001",  # MESSAGE ID: the request's
    "b000",  # QR 1, OPCODE 6, Z 0, RCODE NOERROR
    "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT; and no SUBSCRIBE TLV
)
UNSUBSCRIBING = octets(
    "0000",  # MESSAGE ID: zero
    "3000",  # QR 0, OPCODE 6, Z 0, RCODE 0
    "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
    "0042",  # DSO-TYPE: UNSUBSCRIBE
    "0002",  # DSO-LENGTH: 2
    "0001",  # SUBSCRIBE MESSAGE ID
)
RECONFIRMING = octets(
    "0000",  # MESSAGE ID: zero
    "3000",  # QR 0, OPCODE 6, Z 0, RCODE 0
    "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
    "0043",  # DSO-TYPE: RECONFIRM
    "0030",  # DSO-LENGTH: 48; there is no RDLEN
    NAME.hex(),  # NAME
    "000c",  # TYPE: PTR
    "0001",  # CLASS: IN
    "07 7072696e746572 c010",  # RDATA: printer, and a pointer to NAME, from the beginning of the message
)


class Zone:
    """What stands at a name, as the tests say; nothing at any other."""

    def __init__(self, *held: Held) -> None:
        self.held = frozenset(held)

    def look(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        return frozenset(each for each in self.held if name == IPP and qtype in (ANY, each[0]))


def test_a_subscribe_is_figure_1() -> None:
    session = ClientSession(iter((1,)).__next__, 0.0)
    assert IPP == NAME
    assert session.request(SUBSCRIBE, subscription(IPP, PTR), 0.0) == (1, framed(SUBSCRIBING))


def test_its_answer_is_figure_2_and_an_unsubscribe_figure_4() -> None:
    made = Subscriptions(Zone().look)
    server = ServerSession(made, 0.0)
    assert server.receive(SUBSCRIBING, 0.0) == GRANTED
    assert made.active
    assert server.receive(UNSUBSCRIBING, 0.0) is None
    assert not made.active
    assert write(0, [(UNSUBSCRIBE, b"\0\x01")]) == UNSUBSCRIBING
    session = ClientSession(iter((1,)).__next__, 0.0)
    session.request(SUBSCRIBE, subscription(IPP, PTR), 0.0)
    assert session.feed(framed(GRANTED), 0.0) == [Answered(1, NOERROR)]


def test_a_reconfirm_is_figure_5_and_is_answered_with_nothing() -> None:
    """RFC 8765 6.5.1; what 6.5 says of NOERROR cannot be said to a message without id."""
    server = ServerSession(Subscriptions(Zone().look), 0.0)
    server.receive(SUBSCRIBING, 0.0)
    assert server.receive(RECONFIRMING, 0.0) is None
    assert write(0, [(RECONFIRM, subscription(IPP, PTR) + b"\x07printer\xc0\x10")]) == RECONFIRMING


# One for each kind of change that RFC 8765 6.3.1 sums up, in figure 3's fields behind NAME.
CHANGES = [
    pytest.param(
        Change(IPP, PTR, IN, 120, PRINTER),
        Kind.ADD,
        (
            "000c",  # TYPE: PTR
            "0001",  # CLASS: IN
            "0000 0078",  # TTL: 120 s
            "002a",  # RDLEN: 42
            "07 7072696e746572" + NAME.hex(),  # RDATA: printer._ipp._tcp.headoffice.example.com
        ),
        id="a record is added",
    ),
    pytest.param(
        Change(IPP, PTR, IN, 0, PRINTER),
        Kind.ADD,
        (
            "000c",  # TYPE: PTR
            "0001",  # CLASS: IN
            "0000 0000",  # TTL: 0, for as long as the subscription
            "002a",  # RDLEN
            "07 7072696e746572" + NAME.hex(),  # RDATA
        ),
        id="a record is added, of the least TTL",
    ),
    pytest.param(
        Change(IPP, 42, IN, 0x7FFFFFFF, b""),
        Kind.ADD,
        (
            "002a",  # TYPE: APL, which may be empty
            "0001",  # CLASS: IN
            "7fff ffff",  # TTL: the largest
            "0000",  # RDLEN: 0, which removes nothing
        ),
        id="an empty record is added, of the largest TTL",
    ),
    pytest.param(
        Change(IPP, PTR, IN, REMOVED, PRINTER),
        Kind.REMOVE,
        (
            "000c",  # TYPE: PTR
            "0001",  # CLASS: IN
            "ffff ffff",  # TTL: this record is removed
            "002a",  # RDLEN
            "07 7072696e746572" + NAME.hex(),  # RDATA
        ),
        id="a record is removed",
    ),
    pytest.param(
        Change(IPP, 42, IN, REMOVED, b""),
        Kind.REMOVE,
        (
            "002a",  # TYPE: APL
            "0001",  # CLASS: IN
            "ffff ffff",  # TTL: this record is removed
            "0000",  # RDLEN: 0
        ),
        id="an empty record is removed",
    ),
    pytest.param(
        Change(IPP, PTR, IN, REMOVED_ALL, b""),
        Kind.REMOVE_ALL,
        (
            "000c",  # TYPE: PTR
            "0001",  # CLASS: IN
            "ffff fffe",  # TTL: all are removed
            "0000",  # RDLEN: 0
        ),
        id="an RRset is removed",
    ),
    pytest.param(
        Change(IPP, ANY, IN, REMOVED_ALL, b""),
        Kind.REMOVE_ALL,
        (
            "00ff",  # TYPE: ANY
            "0001",  # CLASS: IN
            "ffff fffe",  # TTL: all are removed
            "0000",  # RDLEN: 0
        ),
        id="all RRsets of a class are removed",
    ),
    pytest.param(
        Change(IPP, 0, ANY, REMOVED_ALL, b""),
        Kind.REMOVE_ALL,
        (
            "0000",  # TYPE: zero, where the class is ANY
            "00ff",  # CLASS: ANY
            "ffff fffe",  # TTL: all are removed
            "0000",  # RDLEN: 0
        ),
        id="all RRsets of all classes are removed",
    ),
]


def push(*fields: str, name: bytes = NAME) -> bytes:
    """Figure 3, with the fields behind NAME."""
    data = name + octets(*fields)
    return octets(
        "0000",  # MESSAGE ID: zero
        "3000",  # QR 0, OPCODE 6, Z 0, RCODE 0
        "0000 0000 0000 0000",  # QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT
        "0041",  # DSO-TYPE: PUSH
        f"{len(data):04x}",  # DSO-LENGTH
        data.hex(),  # DSO-DATA
    )


def pushed(wire: bytes) -> list[Change]:
    return read_push(read(wire).tlvs[0], wire)


@pytest.mark.parametrize(("change", "kind", "fields"), CHANGES)
def test_a_push_is_figure_3(change: Change, kind: Kind, fields: tuple[str, ...]) -> None:
    (wire,) = write_pushes([change])
    assert wire == push(*fields)
    (found,) = pushed(wire)
    assert (found, found.kind) == (change, kind)


def test_where_the_class_is_any_the_type_is_ignored() -> None:
    assert pushed(push("000c", "00ff", "ffff fffe", "0000")) == [Change(IPP, 0, ANY, REMOVED_ALL, b"")]


@pytest.mark.parametrize("ttl", ["8000 0000", "ffff fffd"])
def test_a_ttl_that_means_nothing_is_passed_over_and_the_rest_counts(ttl: str) -> None:
    wire = push("000c", "0001", ttl, "0002", "c010", NAME.hex(), "000c", "0001", "0000 0078", "0002", "c010")
    assert pushed(wire) == [Change(IPP, PTR, IN, 120, IPP)]


def test_names_may_be_compressed_against_the_whole_message() -> None:
    wire = push("0021", "0001", "0000 0078", "0010", "0000 0000 0277 07 7072696e746572 c010")
    assert pushed(wire)[0].rdata == octets("0000 0000 0277") + PRINTER


def test_an_owner_that_comes_again_is_pointed_to() -> None:
    changes = [Change(IPP, PTR, IN, 120, PRINTER), Change(WEB, PTR, IN, 120, IPP), Change(IPP, TXT, IN, 120, b"\0")]
    (wire,) = write_pushes(changes)
    assert wire.endswith(octets("c010", "0010", "0001", "0000 0078", "0001", "00"))
    assert pushed(wire) == changes


@pytest.mark.parametrize(
    "body",
    [
        b"",
        WEB[:-3],
        WEB + bytes.fromhex("0001 0001 00000005 0009 64400001"),
        WEB + bytes.fromhex("0001 0001 fffffffe 0004 64400001"),
        WEB + bytes.fromhex("00ff 0001 00000005 0000"),
        WEB + bytes.fromhex("0001 00ff 00000005 0004 64400001"),
        WEB + bytes.fromhex("00ff 0001 ffffffff 0000"),
        WEB + bytes.fromhex("0001 00ff ffffffff 0004 64400001"),
        WEB + bytes.fromhex("000c 0001 00000005 0004 64400001"),
        b"\xc0\x20" + bytes.fromhex("0001 0001 00000005 0004 64400001"),
    ],
    ids=[
        "nothing", "half a name", "too long", "all with RDATA", "any type added", "any class added",
        "any type removed", "any class removed", "no name in PTR", "a pointer forwards",
    ],
)  # fmt: skip
def test_a_push_that_makes_no_sense_is_fatal(body: bytes) -> None:
    wire = push(name=body)
    with pytest.raises(Fatal):
        pushed(wire)


def test_a_push_is_of_16382_octets_at_most() -> None:
    fields = "0010", "0001", "0000 0005"
    most = MOST_OCTETS - len(push(*fields, "0000"))
    assert pushed(push(*fields, f"{most:04x}", bytes(most).hex()))
    with pytest.raises(Fatal):
        pushed(push(*fields, f"{most + 1:04x}", bytes(most + 1).hex()))


def test_many_changes_take_messages_that_can_be_pointed_into() -> None:
    changes = [Change(WEB, TXT, IN, 5, bytes((200,)) + bytes(200)) for _ in range(500)]
    wires = list(write_pushes(changes))
    assert len(wires) > 5
    assert max(map(len, wires)) <= MOST_OCTETS
    assert [change for wire in wires for change in pushed(wire)] == changes


def test_an_owner_is_pointed_to_within_its_own_message_alone() -> None:
    texts = [Change(IPP, TXT, IN, 5, bytes((200,)) + bytes(200)) for _ in range(100)]
    changes = [Change(WEB, TXT, IN, 5, b"\0"), *texts]
    wires = list(write_pushes(changes))
    assert len(wires) == 2
    assert [change for wire in wires for change in pushed(wire)] == changes


def test_where_there_is_no_place_an_unsubscribe_is_passed_over() -> None:
    """It may have been sent before its SUBSCRIBE was refused (RFC 8765 6.4.1)."""
    assert without_place(UNSUBSCRIBING, 30.0, SERVFAIL) is None
    assert without_place(SUBSCRIBING, 30.0, SERVFAIL) == refusal(SUBSCRIBING, 30.0)
    with pytest.raises(Fatal):
        without_place(RECONFIRMING, 30.0, SERVFAIL)


# Subscriptions


def test_what_stands_is_told_at_once_and_once() -> None:
    _, made = host()
    assert ask(made, 1, "web.minidisc.", A) == NOERROR
    assert made.changes() == [Change(WEB, A, IN, TTL, bytes((100, 64, 0, 1)))]
    assert made.changes() == []


def test_what_comes_later_is_told_when_it_comes() -> None:
    played, made = host()
    assert ask(made, 1, "db.minidisc.", TXT) == NOERROR
    assert made.changes() == []
    db = played.advertise("db", 5432, {"a": "b"})
    (change,) = made.changes()
    assert (change.kind, change.rdata) == (Kind.ADD, b"\x03a=b")
    played.registry.withdraw(db, SINCE)
    (change,) = made.changes()
    assert (change.kind, change.rtype) == (Kind.REMOVE_ALL, TXT)


def told_of(before: Zone, after: Zone, *qtypes: int) -> set[Change]:
    zone = Zone(*before.held)
    made = Subscriptions(zone.look)
    for ident, qtype in enumerate(qtypes, 1):
        ask(made, ident, "_ipp._tcp.headoffice.example.com.", qtype)
    made.changes()
    zone.held = after.held
    return set(made.changes())


ONE, TWO, NOTE = (PTR, b"\x01a\0"), (PTR, b"\x01b\0"), (TXT, b"\0")


def test_what_is_gone_is_told_in_the_fewest_notifications() -> None:
    """RFC 8765 6.3.1: a record of several, an RRset whole, everything."""
    assert told_of(Zone(ONE, TWO, NOTE), Zone(ONE, NOTE), ANY) == {Change(IPP, PTR, IN, REMOVED, TWO[1])}
    assert told_of(Zone(ONE, TWO, NOTE), Zone(NOTE), ANY) == {Change(IPP, PTR, IN, REMOVED_ALL, b"")}
    assert told_of(Zone(ONE, TWO, NOTE), Zone(), ANY) == {Change(IPP, ANY, IN, REMOVED_ALL, b"")}
    assert told_of(Zone(ONE, TWO, NOTE), Zone(), PTR) == {Change(IPP, PTR, IN, REMOVED_ALL, b"")}


def test_an_rrset_that_is_another_is_not_removed_whole() -> None:
    gone, new = Change(IPP, PTR, IN, REMOVED, ONE[1]), Change(IPP, PTR, IN, TTL, TWO[1])
    assert told_of(Zone(ONE), Zone(TWO), PTR, ANY) == {gone, new}


def test_a_change_is_a_removal_and_then_an_addition() -> None:
    played, made = host()
    ask(made, 1, "web.minidisc.", TXT)
    made.changes()
    played.advertise("web", 8080, {"env": "dev"})
    assert [(each.kind, each.rdata) for each in made.changes()] == [
        (Kind.REMOVE, b"\x08env=prod"),
        (Kind.ADD, b"\x07env=dev"),
    ]


def test_any_is_every_type() -> None:
    _, made = host()
    ask(made, 1, "web.minidisc.", ANY, ANY)
    assert {change.rtype for change in made.changes()} == {SRV, TXT, A}


def test_the_name_is_told_as_it_was_asked() -> None:
    _, made = host()
    ask(made, 1, "WeB.Minidisc.", A)
    assert made.changes()[0].owner == Name.parse("WeB.Minidisc.").wire


@pytest.mark.parametrize("name", ["_web._tcp.minidisc.", "prod._env.minidisc.", "web.prod._env.minidisc."])
def test_types_and_views_can_be_watched(name: str) -> None:
    played, made = host()
    assert ask(made, 1, name, ANY) == NOERROR
    made.changes()
    played.advertise("web", 8081, {"env": "prod"})
    assert bool(made.changes()) == (name != "prod._env.minidisc.")


def test_the_serial_is_told_with_every_change() -> None:
    played, made = host()
    ask(made, 1, "minidisc.", SOA)
    assert len(made.changes()) == 1
    played.advertise("other", 1)
    gone, new = made.changes()
    assert (gone.kind, new.kind, gone.rtype, new.rtype) == (Kind.REMOVE, Kind.ADD, SOA, SOA)
    assert new.rdata[-20:-16] == played.registry.serial.to_bytes(4, "big")


def test_two_subscriptions_to_the_same_record_tell_it_once() -> None:
    _, made = host()
    ask(made, 1, "web.minidisc.", A)
    ask(made, 2, "web.minidisc.", ANY)
    changes = made.changes()
    assert len(changes) == len(set(changes)) == 3


def test_after_unsubscribe_nothing_is_told() -> None:
    played, made = host()
    ask(made, 7, "web.minidisc.", TXT)
    made.changes()
    assert made.active
    assert made.told(tlv(UNSUBSCRIBE, b"\0\x07"), b"")
    assert not made.active
    played.advertise("web", 8080, {"env": "dev"})
    assert made.changes() == []


def test_unsubscribing_from_what_was_refused_is_passed_over() -> None:
    _, made = host()
    assert made.told(tlv(UNSUBSCRIBE, b"\0\x63"), b"")


def test_what_is_not_ours_is_notauth() -> None:
    _, made = host()
    assert ask(made, 1, "example.com.", A) == NOTAUTH
    assert ask(made, 2, "web.minidisc.", A, 3) == NOTAUTH
    assert not made.active


def test_there_is_a_limit() -> None:
    _, made = host()
    assert {ask(made, n, f"x{n}.minidisc.", A) for n in range(1, MOST_SUBSCRIPTIONS + 1)} == {NOERROR}
    assert ask(made, 999, "web.minidisc.", A) == REFUSED


@pytest.mark.parametrize(
    "data", [b"", WEB, subscription(WEB, A) + b"x", subscription(WEB, A)[:-1], b"\xc0\x0c\0\1\0\1"]
)
def test_a_malformed_subscribe_is_a_format_error(data: bytes) -> None:
    _, made = host()
    assert made.request(1, tlv(SUBSCRIBE, data), b"") == FORMERR


def test_the_same_twice_is_fatal_in_any_case_of_letters() -> None:
    _, made = host()
    ask(made, 1, "web.minidisc.", A)
    with pytest.raises(Fatal):
        ask(made, 2, "WEB.minidisc.", A)
    with pytest.raises(Fatal):
        ask(made, 1, "web.minidisc.", AAAA)


@pytest.mark.parametrize("kind", [PUSH, UNSUBSCRIBE, RECONFIRM])
def test_what_is_no_request_is_fatal_as_one(kind: int) -> None:
    _, made = host()
    with pytest.raises(Fatal):
        made.request(1, tlv(kind, b""), b"")


def test_unknown_requests_are_dsotypeni() -> None:
    _, made = host()
    assert made.request(1, tlv(0x44, b""), b"") == DSOTYPENI


def test_reconfirm_is_heard_and_changes_nothing() -> None:
    _, made = host()
    assert made.told(tlv(RECONFIRM, subscription(WEB, PTR) + WEB), b"")
    with pytest.raises(Fatal):
        made.told(tlv(RECONFIRM, b"\xff"), b"")
    with pytest.raises(Fatal):
        made.told(tlv(UNSUBSCRIBE, b"\0"), b"")
    assert not made.told(tlv(PUSH, b""), b"")
