"""Tests of faults that reviews found: transfers, callers that share a lookup, settings that could not be set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import dns.flags
import dns.message
import pytest
from played import ALPHA, APEX, BRAVO, LOOKER_ON, Fleet, Host, Said, peer, question

import mddns.aio
import mddns.lookup.asyncio_sockets
import mddns.zone.transfer
from mddns import Policy
from mddns.base.errors import BadMessage
from mddns.base.model import Snapshot
from mddns.base.names import Name
from mddns.lookup.fanout import Lookup
from mddns.responder.reaction import Messages
from mddns.responder.responder import client
from mddns.zone.transfer import TransferIn

# Transfers


def transferred(host: Host, text: str = "@ AXFR", apex: Name = APEX, **edns: Any) -> tuple[bytes, ...]:
    """The messages of a zone transfer from `host`."""
    host.responder.allow(frozenset((LOOKER_ON,)))
    wire = question(text, **edns) if apex is APEX else dns.message.make_query(str(apex), "AXFR", id=1).to_wire()
    answer = host.responder.respond(wire, client(LOOKER_ON, frozenset(), tcp=True), 0.0)
    assert isinstance(answer, Messages)
    return tuple(answer)


def crowd(count: int) -> Host:
    host = Host(ALPHA)
    for port in range(1, count + 1):
        host.advertise("web", port, {"n": f"{port}"})
    return host


def test_a_transfer_of_all_that_a_node_may_offer_is_read() -> None:
    """The longest names and apex, 1,000 services, and labels of 1,300 octets each."""
    apex = Name.parse("a" * 60 + "." + "b" * 59 + ".")
    host = Host(peer("m" * 63, "100.64.0.1"), apex=apex)
    for number in range(1, 1001):
        labels = {f"k{at}": f"{number:04}".ljust(246, "v") for at in range(5)} | {"k": "v" * 47}
        assert sum(len(key) + len(value) + 2 for key, value in labels.items()) == 1300
        host.advertise(f"{number:04}".ljust(62, "n"), number, labels)
    messages = transferred(host, apex=apex)
    assert sum(map(len, messages)) > 5 << 20
    assert max(map(len, messages)) < 20_000
    transfer = TransferIn(apex)
    assert [transfer.feed(message) for message in messages] == [False] * (len(messages) - 1) + [True]
    assert len(transfer.told()) == 1000


def fed(messages: Iterable[bytes]) -> bool:
    """Reads a zone transfer; whether it was complete."""
    transfer = TransferIn(APEX)
    return any(transfer.feed(message) for message in messages)


@pytest.mark.parametrize("limit", ["MOST_OCTETS", "MOST_MESSAGES", "MOST_RECORDS"])
def test_a_transfer_without_an_end_is_given_up(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = transferred(crowd(300))
    assert len(messages) > 3
    most = {"MOST_OCTETS": sum(map(len, messages)), "MOST_MESSAGES": len(messages), "MOST_RECORDS": 3 * 300 * 3}
    monkeypatch.setattr(mddns.zone.transfer, limit, most[limit])
    assert fed(messages)
    with pytest.raises(BadMessage):
        fed((messages[0], *messages[1:-1] * 4))


@pytest.mark.parametrize("edns", [False, 0])
@pytest.mark.parametrize("do", [0, 0x8000])
def test_the_first_message_of_a_transfer_has_opt_where_the_query_had(edns: Any, do: int) -> None:
    query: dict[str, Any] = {"use_edns": 0, "ednsflags": do} if edns is not False else {}
    first, *others = (Said(message).message for message in transferred(crowd(300), **query))
    assert first.edns == (-1 if edns is False else 0)
    assert bool(first.ednsflags & dns.flags.DO) is bool(do and query)
    assert others
    assert {message.edns for message in others} == {-1}


def changed(at: int, bits: int) -> Callable[[bytes], bytes]:
    return lambda wire: wire[:at] + bytes((wire[at] ^ bits,)) + wire[at + 1 :]


@pytest.mark.parametrize(
    "change",
    [changed(2, 0x80), changed(2, 0x08), changed(2, 0x28), changed(2, 0x02), changed(3, 5), changed(25, 3),
     changed(23, 1), changed(13, 1)],
    ids=["QR", "opcode", "UPDATE", "TC", "rcode", "class", "type", "name"],
)  # fmt: skip
@pytest.mark.parametrize("which", [0, 1])
def test_every_message_of_a_transfer_must_be_an_answer_to_the_question(
    change: Callable[[bytes], bytes], which: int
) -> None:
    messages = list(transferred(crowd(300)))
    messages[which] = change(messages[which])
    with pytest.raises(BadMessage):
        fed(messages)


def test_of_a_transfer_only_records_of_class_in_and_services_with_a_port_are_believed() -> None:
    (wire,) = transferred(crowd(2))

    def told(wire: bytes) -> list[int]:
        transfer = TransferIn(APEX)
        assert transfer.feed(wire)
        return sorted(each.port for each in transfer.told())

    target = b"\x07alpha-1\x03web\x08minidisc\0"
    srv = b"\0\x21\0\1\0\0\0\5" + (6 + len(target)).to_bytes(2, "big") + b"\0\x0a\0\x0a\0\1" + target
    assert told(wire) == [1, 2]
    assert wire.count(srv) > 1
    assert told(wire.replace(srv, srv[:3] + b"\3" + srv[4:])) == [2]
    assert told(wire.replace(srv, srv[:14] + b"\0\0" + srv[16:])) == [2]


# Callers that share a lookup


class Played:
    """A fleet as a network, seen by `me` or by a node that offers nothing; lookups wait for :meth:`go`."""

    def __init__(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, me: Any = None) -> None:
        self.fleet = fleet
        self.snapshot = fleet.snapshot(me)
        self.source = me.addresses[0] if me else LOOKER_ON
        self.lookups = 0
        self.go = asyncio.Event()
        monkeypatch.setattr(mddns.lookup.asyncio_sockets, "run", self.run)

    def read(self, timeout: float) -> Snapshot:
        return self.snapshot

    async def aread(self, timeout: float) -> Snapshot:
        return self.snapshot

    async def run(self, lookup: Lookup, clock: Callable[[], float]) -> None:
        self.lookups += 1
        await self.go.wait()
        self.fleet.carry(lookup, clock(), self.source)


def web() -> Fleet:
    fleet = Fleet(ALPHA, BRAVO)
    fleet[ALPHA].advertise("web", 1, {"env": "prod"})
    fleet[BRAVO].advertise("web", 2, {"env": "test"})
    return fleet


def test_who_wants_one_service_of_other_labels_is_not_told_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lookup in progress ends at its own first match."""

    async def scene() -> None:
        network = Played(web(), monkeypatch)
        async with mddns.aio.Resolver(network) as resolver:
            asking = [asyncio.create_task(resolver.find_service("web", {"env": env})) for env in ("prod", "test")]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            network.go.set()
            assert [await each for each in asking] == ["100.64.0.1:1", "100.64.0.2:2"]

    asyncio.run(scene())


@pytest.mark.parametrize("me", [None, ALPHA])
def test_who_joins_a_lookup_gets_what_it_found_even_if_that_is_not_kept(
    me: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mddns.lookup.query.lifetime", lambda message, most: 0)

    async def scene() -> None:
        network = Played(web(), monkeypatch, me)
        async with mddns.aio.Resolver(network) as resolver:
            asking = [asyncio.create_task(resolver.resolve("web", labels)) for labels in ({}, {"env": "test"}, {})]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            network.go.set()
            assert [len(await each) for each in asking] == [2, 1, 2]
            assert network.lookups == 1

    asyncio.run(scene())


# Settings


@pytest.mark.parametrize("kind", [mddns.Resolver, mddns.aio.Resolver])
def test_a_resolver_takes_a_policy(kind: Any) -> None:
    fleet, policy = Fleet(ALPHA, BRAVO), Policy(remote=False)
    fleet[BRAVO].advertise("db", 1, address="10.0.0.1")
    fleet[BRAVO].advertise("db", 2)
    for given, ports in ((policy, [2]), (None, [1, 2])):
        inquirer = kind("static:100.64.0.1", policy=given)._inquirer
        query = mddns.lookup.query.Query.of("db")
        lookup = inquirer.begin(query, fleet.snapshot(None), 0.0)
        fleet.carry(lookup, 0.0)
        found = inquirer.finish(query, lookup, 0.0)
        assert sorted(each.endpoint.port for each in found.services) == ports
