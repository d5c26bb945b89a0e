"""DNS Push on a node's real sockets."""

from __future__ import annotations

import asyncio
import itertools
import socket
import statistics
import time
from collections.abc import Awaitable, Callable

import dns.edns
import dns.message
import pytest
from conftest import Measured
from loopback import address, fleet, network_of
from played import question
from push_clients import Watcher

from mddns.base.model import Peer
from mddns.base.names import Name
from mddns.base.offer import make
from mddns.base.policy import Policy
from mddns.dns import dso
from mddns.dns.dso import framed
from mddns.dns.dso_client import Answered, ClientSession, GoAway, Ordinary
from mddns.dns.message import REFUSED, SERVFAIL, SOA, TXT
from mddns.node import Node
from mddns.responder import push_subscriptions
from mddns.responder.push_subscriptions import SUBSCRIBE, Held, Kind, subscription
from mddns.server import dns_connection, push_sessions
from mddns.system import connection_limits
from mddns.zone.secondary import Progress, Secondary

APEX = Name.parse("minidisc.")
Work = Callable[[Node, Peer], Awaitable[None]]


def run(work: Work) -> None:
    async def main() -> None:
        everybody = fleet(2)
        node = await Node.open(network_of(everybody[0], everybody), APEX, timeout=0.3, policy=Policy())
        try:
            async with asyncio.timeout(20):
                await work(node, everybody[1])
        finally:
            await node.close()

    asyncio.run(main())


def test_a_subscriber_is_told_what_stands_and_what_changes() -> None:
    async def work(node: Node, peer: Peer) -> None:
        web = node.advertise(make(8080, "web", {"env": "prod"}))
        async with Watcher(node, peer.addresses[0]) as watcher:
            ident = watcher.subscribe("web.minidisc.", TXT)
            assert await watcher.next() == Answered(ident, 0)
            assert [each.rdata for each in await watcher.changes()] == [b"\x08env=prod"]
            node.relabel(web, {"env": "dev"})
            assert [(each.kind, each.rdata) for each in await watcher.changes()] == [
                (Kind.REMOVE, b"\x08env=prod"),
                (Kind.ADD, b"\x07env=dev"),
            ]
            node.withdraw(web)
            assert [each.kind for each in await watcher.changes()] == [Kind.REMOVE_ALL]

    run(work)


def test_on_each_push_of_the_serial_a_mirror_asks_ixfr_on_the_same_connection(measured: Measured) -> None:
    """And has each change within milliseconds."""

    async def work(node: Node, peer: Peer) -> None:
        for port in range(1, 201):
            node.advertise(make(port, "web", {"n": "0"}))
        copy, took = Secondary(APEX), []
        async with Watcher(node, peer.addresses[0]) as watcher:

            async def refresh() -> Progress:
                watcher.writer.write(framed(copy.ask(watcher.session.lend_id())))
                while True:
                    event = await watcher.next()
                    if isinstance(event, Ordinary) and (progress := copy.feed(event.wire)) is not Progress.MORE:
                        return progress

            ident = watcher.subscribe("minidisc.", SOA)
            assert await watcher.next() == Answered(ident, 0)
            await watcher.changes()
            assert await refresh() is Progress.CHANGED
            for number in range(1, 100):
                begun = time.perf_counter()
                node.advertise(make(number, "web", {"n": str(number)}))
                changes = await watcher.changes()
                assert await refresh() is Progress.CHANGED
                took.append(time.perf_counter() - begun)
                assert copy.serial == int.from_bytes(changes[-1].rdata[-20:-16], "big")
        told = {one.port: one.attributes.labels["n"] for one in copy.told()}
        assert told == {port: str(port) if port < 100 else "0" for port in range(1, 201)}
        p50, p99 = statistics.median(took), sorted(took)[-1]
        measured(f"push and IXFR of one change among 200 services: p50 {p50 * 1000:.1f} ms, most {p99 * 1000:.1f} ms")

    run(work)


def test_changes_at_one_moment_are_told_together() -> None:
    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            watcher.subscribe("minidisc.", SOA)
            await watcher.next()
            await watcher.changes()
            for port in range(1, 51):
                node.advertise(make(port, "web", {}))
            assert len(await watcher.changes()) == 2
            await asyncio.sleep(0.05)
            assert not watcher.events

    run(work)


def test_a_session_is_not_ended_for_being_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_connection, "IDLE", 0.1)

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher, Watcher(node, peer.addresses[0]) as plain:
            watcher.subscribe("web.minidisc.", TXT)
            await watcher.next()
            plain.writer.write(framed(question("web SRV")))
            assert isinstance(await plain.next(), Ordinary)
            with pytest.raises(EOFError):
                await plain.next()
            node.advertise(make(8080, "web", {}))
            assert await watcher.changes()

    run(work)


def test_one_that_has_subscribed_to_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dso, "INACTIVITY", 0.05)
    monkeypatch.setattr(dso, "LEAST_PATIENCE", 0.1)

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            watcher.writer.write(framed(dso.write(5, [dso.keepalive(15, 15)])))
            with pytest.raises(dso.Fatal):  # our own client did not ask
                await watcher.next()
            with pytest.raises(EOFError):
                await watcher.next()
            assert len(node.sessions) == 0

    run(work)


def test_strangers_are_refused_and_asked_to_stay_away() -> None:
    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, address()) as watcher:
            ident = watcher.subscribe("minidisc.", SOA)
            assert await watcher.next() == Answered(ident, REFUSED, dns_connection.STAY_AWAY)
            assert len(node.sessions) == 0

    run(work)


def test_who_gets_no_session_is_told_when_to_come_back_and_may_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "MOST_SESSIONS_PER_SOURCE", 1)

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as first, Watcher(node, peer.addresses[0]) as second:
            first.subscribe("minidisc.", SOA)
            await first.next()
            ident = second.subscribe("minidisc.", SOA)
            assert await second.next() == Answered(ident, SERVFAIL, dns_connection.STAY_AWAY)
            second.writer.write(framed(question("@ SOA")))
            assert isinstance(await second.next(), Ordinary)
            assert len(node.sessions) == 1
        async with Watcher(node, "127.0.0.1") as other:
            other.subscribe("minidisc.", SOA)
            assert (await other.next())[1] == 0

    run(work)


def test_there_is_a_limit_for_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "MOST_SESSIONS", 1)

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as first, Watcher(node, "127.0.0.1") as second:
            first.subscribe("minidisc.", SOA)
            await first.next()
            ident = second.subscribe("minidisc.", SOA)
            assert await second.next() == Answered(ident, SERVFAIL, dns_connection.STAY_AWAY)

    run(work)


def test_sessions_take_no_places_of_plain_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(connection_limits, "MOST_PER_SOURCE", 2)

    async def work(node: Node, peer: Peer) -> None:
        watchers = [Watcher(node, peer.addresses[0]) for _ in range(10)]
        for watcher in watchers:
            await watcher.__aenter__()
            watcher.subscribe("minidisc.", SOA)
            assert (await watcher.next())[1] == 0
        async with Watcher(node, peer.addresses[0]) as plain:
            plain.writer.write(framed(question("@ SOA")))
            assert isinstance(await plain.next(), Ordinary)
        assert len(node.sessions) == 10
        for watcher in watchers:
            await watcher.__aexit__()
        while len(node.sessions):
            await asyncio.sleep(0.01)

    run(work)


@pytest.mark.parametrize(
    "wire",
    [dso.write(0, [(0x41, b"")]), dso.write(0, response=True), dso.write(7, [(push_subscriptions.PUSH, b"")])],
    ids=["told first", "an answer", "a push"],
)
def test_who_breaks_the_protocol_is_cut_off(wire: bytes) -> None:
    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            watcher.writer.write(framed(wire))
            with pytest.raises(ConnectionResetError):  # RFC 8490 5.3: the end of a connection by RST
                await watcher.reader.read()
            assert len(node.sessions) == 0

    run(work)


@pytest.mark.parametrize("wire", [dso.write(0, [(push_subscriptions.RECONFIRM, b"")]), dso.write(7, response=True)])
def test_where_there_is_no_place_who_breaks_the_protocol_is_cut_off_too(wire: bytes) -> None:
    """RFC 8490 5.4.3: what wants no answer gets none, not even a refusal."""

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, address()) as watcher:
            watcher.writer.write(framed(wire))
            with pytest.raises(ConnectionResetError):
                await watcher.reader.read()

    run(work)


def test_whoever_is_refused_may_take_back_what_it_asked() -> None:
    """By an UNSUBSCRIBE that crosses with the refusal (RFC 8765 6.4.1): the connection goes on, without a session."""

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, address()) as watcher:
            ident = watcher.subscribe("minidisc.", SOA)
            watcher.writer.write(framed(dso.write(0, [(push_subscriptions.UNSUBSCRIBE, ident.to_bytes(2, "big"))])))
            again = watcher.subscribe("minidisc.", SOA)
            assert [(await watcher.next())[0] for _ in range(2)] == [ident, again]

    run(work)


def test_who_acknowledges_nothing_is_given_up_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pushed to it keeps its session alive (RFC 8490 6.3), whether it is there or not."""
    seen = []

    def watched(transport: asyncio.Transport, seconds: float) -> None:
        connection_limits.give_up_after(transport, seconds)
        sock = transport.get_extra_info("socket")
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    monkeypatch.setattr(dns_connection, "give_up_after", watched)

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            watcher.subscribe("minidisc.", SOA)
            await watcher.next()
        assert seen == [30_000]

    run(work)


def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_connection, "MOST_UNSENT", 50_000)

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            watcher.subscribe("web.minidisc.", TXT)
            await watcher.next()
            number = 0
            while len(node.sessions):
                number += 1
                for port in range(1, 200):
                    labels = {f"k{n}": "x" * 240 for n in range(5)} | {"n": str(number)}
                    node.registry.advertise(make(port, "web", {**labels, "port": str(port)}), 0)
                node._changed()
                await asyncio.sleep(0.015)
            assert number < 100

    run(work)


def test_who_leaves_says_so_and_asks_nobody_to_stay_away() -> None:
    """Another process of the host may be there to go on."""

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            watcher.subscribe("web.minidisc.", TXT)
            assert isinstance(await watcher.next(), Answered)
            await node.close()
            assert await watcher.next() == GoAway(0.0, 0)
            with pytest.raises(EOFError):
                await watcher.next()

    run(work)


def test_edns_tcp_keepalive_in_a_session_is_cut_off() -> None:
    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            watcher.subscribe("web.minidisc.", TXT)
            assert isinstance(await watcher.next(), Answered)
            query = dns.message.make_query("web.minidisc", "TXT")
            query.use_edns(0, options=[dns.edns.GenericOption(11, b"")])
            watcher.writer.write(framed(query.to_wire()))
            with pytest.raises(EOFError):
                await watcher.next()

    run(work)


def test_over_udp_there_is_none() -> None:
    async def work(node: Node, peer: Peer) -> None:
        answer = node._answer(dso.write(7, [dso.keepalive(15, 15)]), peer.addresses[0], False)
        assert answer == dso.write(7, response=True, rcode=4)

    run(work)


def test_other_apexes_are_notauth() -> None:
    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            ident = watcher.subscribe("example.com.", SOA)
            assert await watcher.next() == Answered(ident, 9, dso.retry_after(9))

    run(work)


def test_what_is_sent_keeps_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers and pushes count, as messages that come do (RFC 8490 6.3)."""
    sent = []
    counted = dso.ServerSession.sent
    monkeypatch.setattr(dso.ServerSession, "sent", lambda self, now: (sent.append(now), counted(self, now)))

    async def work(node: Node, peer: Peer) -> None:
        async with Watcher(node, peer.addresses[0]) as watcher:
            watcher.subscribe("web.minidisc.", TXT)
            await watcher.next()
            assert len(sent) == 0
            node.advertise(make(8080, "web", {}))
            await watcher.changes()
            assert len(sent) == 1
            watcher.writer.write(framed(question("@ SOA")))
            assert isinstance(await watcher.next(), Ordinary)
            assert len(sent) == 2
            watcher.writer.write(framed(Secondary(APEX).ask(9)))
            assert isinstance(await watcher.next(), Ordinary)
            assert len(sent) == 3

    run(work)


class Heard:
    """A connection that takes everything."""

    def send(self, wire: bytes) -> bool:
        return True

    def end(self) -> None:
        raise AssertionError("the node ends the connection")

    abort = end


class Seen:
    """What is looked at: as a node's own view, or as the merged one of who comes from `local`."""

    def __init__(self, local: str) -> None:
        self.local = local
        self.looks = 0

    def is_local(self, source: str) -> bool:
        return source == self.local

    def look(self, session: push_sessions.Session, name: bytes, qtype: int) -> frozenset[Held] | None:
        return self.standing(name, qtype)

    def standing(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        self.looks += 1
        return frozenset()

    def answer(self, session: push_sessions.Session, wire: bytes) -> None:
        raise AssertionError("nobody asks")

    def leave(self, session: push_sessions.Session) -> None:
        pass


@pytest.mark.parametrize("merged_moved", [False, True])
def test_a_change_has_those_looked_after_alone_who_look_at_what_has_changed(merged_moved: bool) -> None:
    """Every host has a session with every other: a change of one must not have each look through them all."""

    async def main() -> None:
        own, merged = Seen(""), Seen("100.64.0.1")
        opened = push_sessions.Sessions(own.standing, lambda _: True, time.monotonic, merged)
        for source in ("100.64.0.1", "100.64.0.2"):
            client = ClientSession(itertools.count(1).__next__, time.monotonic())
            session = opened.begin(Heard(), source)
            assert session
            session.receive(client.request(SUBSCRIBE, subscription(APEX.wire, SOA), time.monotonic())[1][2:])
        opened.flush()
        own.looks = merged.looks = 0
        opened.changed(merged=merged_moved)
        opened.flush()
        assert (own.looks, merged.looks) == ((0, 1) if merged_moved else (1, 0))
        opened.close()

    asyncio.run(main())
