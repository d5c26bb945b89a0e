"""DNS Push: octets as RFC 8765's figures lay them out, subscriptions, and what they are told."""

from __future__ import annotations

import pytest
from played import ALPHA, SINCE, Host

from mddns.dso import DSOTYPENI, Fatal, Tlv, read
from mddns.instance import TTL
from mddns.names import Name
from mddns.push import (
    MOST_OCTETS,
    MOST_SUBSCRIPTIONS,
    PUSH,
    RECONFIRM,
    REMOVED,
    REMOVED_ALL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Change,
    Kind,
    Subscriptions,
    read_push,
    subscription,
    write_pushes,
)
from mddns.wire import AAAA, ANY, FORMERR, IN, NOERROR, NOTAUTH, PTR, REFUSED, SOA, SRV, TXT, A

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


def test_a_subscribe_is_name_type_class() -> None:
    assert subscription(WEB, SRV) == b"\x03web\x08minidisc\0" + b"\0\x21\0\x01"


CHANGES = [
    (Change(WEB, A, IN, 5, bytes((100, 64, 0, 1))), Kind.ADD, "0001 0001 00000005 0004 64400001"),
    (Change(WEB, A, IN, REMOVED, bytes((100, 64, 0, 1))), Kind.REMOVE, "0001 0001 ffffffff 0004 64400001"),
    (Change(WEB, A, IN, REMOVED_ALL, b""), Kind.REMOVE_ALL, "0001 0001 fffffffe 0000"),
    (Change(WEB, ANY, IN, REMOVED_ALL, b""), Kind.REMOVE_ALL, "00ff 0001 fffffffe 0000"),
    (Change(WEB, ANY, ANY, REMOVED_ALL, b""), Kind.REMOVE_ALL, "00ff 00ff fffffffe 0000"),
]


@pytest.mark.parametrize(("change", "kind", "text"), CHANGES)
def test_changes_are_laid_out_as_records(change: Change, kind: Kind, text: str) -> None:
    (wire,) = write_pushes([change])
    body = WEB + bytes.fromhex(text)
    assert wire == bytes.fromhex("0000 3000 0000 0000 0000 0000 0041") + len(body).to_bytes(2, "big") + body
    (found,) = read_push(read(wire).tlvs[0], wire)
    assert (found, found.kind) == (change, kind)


def test_names_may_be_compressed_against_the_whole_message() -> None:
    head = bytes.fromhex("0000 3000 0000 0000 0000 0000 0041")
    target = b"\x0aalpha-8080\xc0\x10"
    body = WEB + bytes.fromhex("0021 0001 00000005") + (6 + len(target)).to_bytes(2, "big") + bytes(6) + target
    wire = head + len(body).to_bytes(2, "big") + body
    (found,) = read_push(read(wire).tlvs[0], wire)
    assert found.rdata == bytes(6) + Name.parse("alpha-8080.web.minidisc.").wire


@pytest.mark.parametrize(
    "body",
    [
        b"",
        WEB[:-3],
        WEB + bytes.fromhex("0001 0001 00000005 0009 64400001"),
        WEB + bytes.fromhex("0001 0001 fffffffe 0004 64400001"),
        WEB + bytes.fromhex("0001 0001 80000000 0004 64400001"),
        WEB + bytes.fromhex("000c 0001 00000005 0004 64400001"),
        b"\xc0\x20" + bytes.fromhex("0001 0001 00000005 0004 64400001"),
    ],
    ids=["nothing", "half a name", "too long", "all with RDATA", "no TTL", "no name in PTR", "a pointer forwards"],
)
def test_a_push_that_makes_no_sense_is_fatal(body: bytes) -> None:
    wire = bytes.fromhex("0000 3000 0000 0000 0000 0000 0041") + len(body).to_bytes(2, "big") + body
    with pytest.raises(Fatal):
        read_push(read(wire).tlvs[0], wire)


def test_many_changes_take_messages_that_can_be_pointed_into() -> None:
    changes = [Change(WEB, TXT, IN, 5, bytes((200,)) + bytes(200)) for _ in range(500)]
    wires = list(write_pushes(changes))
    assert len(wires) > 5
    assert max(map(len, wires)) <= MOST_OCTETS
    assert [change for wire in wires for change in read_push(read(wire).tlvs[0], wire)] == changes


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
    assert (change.kind, change.rdata) == (Kind.REMOVE, b"\x03a=b")


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
