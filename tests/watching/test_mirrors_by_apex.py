"""The mirrors of a node, on real sockets: who gets the merged view, from when to when, and that nothing goes round."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable

import dns.asyncquery
import dns.message
import pytest
from loopback import fleet, free_port, network_of, open_sockets
from push_clients import Watcher as Client

from mddns.base.model import Peer
from mddns.base.names import Name
from mddns.base.offer import make
from mddns.base.policy import Policy
from mddns.dns.dso import framed
from mddns.dns.dso_client import Answered, Ordinary
from mddns.dns.message import SOA, SRV
from mddns.http.metrics import peer_states
from mddns.networks.settings import Settings
from mddns.node import Node
from mddns.responder.push_subscriptions import Kind
from mddns.responder.responder import client as client_at
from mddns.system import clock
from mddns.system.clock import Turns
from mddns.watching import mirrors_by_apex
from mddns.watching.mirror_zone import MirrorCopy, State
from mddns.watching.polling import Polling
from mddns.watching.watcher import Watcher
from mddns.zone.secondary import Progress

APEX = Name.parse("minidisc.")
PATIENCE = 20.0


async def opened(peer: Peer, everybody: tuple[Peer, ...], port: int = 80, apex: Name = APEX) -> Node:
    node = await Node.open(network_of(peer, everybody), apex, timeout=0.3, policy=Policy())
    node.advertise(make(port, "web"))
    return node


def run(work: Callable[[list[Node], tuple[Peer, ...]], Awaitable[None]], everybody: tuple[Peer, ...] = ()) -> None:
    """With a node at each of `everybody`, two if they are not given."""

    async def main() -> None:
        peers = everybody or fleet(2)
        nodes = [await opened(peer, peers, 80 + number) for number, peer in enumerate(peers)]
        try:
            async with asyncio.timeout(PATIENCE):
                await work(nodes, peers)
        finally:
            for node in nodes:
                await node.close()

    asyncio.run(main())


async def eventually(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def transferred(client: Client, copy: MirrorCopy) -> None:
    client.writer.write(framed(copy.ask(client.session.lend_id())))
    while True:
        event = await client.next()
        if isinstance(event, Ordinary) and copy.feed(event.wire) is not Progress.MORE:
            return


def ports(copy: MirrorCopy) -> set[int]:
    return {told.port for told in copy.told()}


async def current(client: Client, copy: MirrorCopy) -> None:
    """Until the whole network was heard."""
    while not copy.beside()[0]:
        await transferred(client, copy)
        await asyncio.sleep(0.01)


def test_a_session_of_our_own_host_is_of_the_whole_network() -> None:
    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        copy = MirrorCopy(APEX)
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            ident = client.subscribe("minidisc.", SOA)
            assert await client.next() == Answered(ident, 0)
            await current(client, copy)
            assert ports(copy) == {80, 81}
            nodes[1].advertise(make(90, "db"))
            while 90 not in ports(copy):
                await transferred(client, copy)

    run(work)


def test_a_mirror_that_begins_tells_of_its_own_host_from_the_first_state_on() -> None:
    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        copy = MirrorCopy(APEX)
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await client.next()
            await transferred(client, copy)
            assert 80 in ports(copy)

    run(work)


def test_a_name_that_a_program_of_our_own_host_subscribes_to_is_of_the_whole_network_too() -> None:
    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("web.minidisc.", SRV)
            await client.next()
            seen: set[int] = set()
            while seen != {80, 81}:
                seen |= {int.from_bytes(each.rdata[4:6], "big") for each in await client.changes()}
            await nodes[1].close()
            assert [each.kind for each in await client.changes()] == [Kind.REMOVE]

    run(work)


def test_a_session_from_elsewhere_is_of_this_host_alone_and_mirrors_nothing() -> None:
    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        copy = MirrorCopy(APEX)
        async with Client(nodes[0], peers[1].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await transferred(client, copy)
        assert (copy.is_mirror, ports(copy)) == (False, {80})
        assert nodes[0].mirrors.sessions() == 0

    run(work)


def test_what_is_asked_without_a_session_is_of_this_host_as_ever() -> None:
    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        async with Client(nodes[0], peers[0].addresses[0]) as client, Client(nodes[0], peers[0].addresses[0]) as plain:
            client.subscribe("minidisc.", SOA)
            await current(client, MirrorCopy(APEX))
            copy = MirrorCopy(APEX)
            await transferred(plain, copy)
        assert (copy.is_mirror, ports(copy)) == (False, {80})

    run(work)


def test_a_mirror_lasts_a_while_longer_than_who_looks_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes back meanwhile finds it whole at once."""
    monkeypatch.setattr("mddns.watching.mirrors_by_apex.KEPT_FOR", 0.5)

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        mirrors = nodes[0].mirrors
        for _ in range(2):
            copy = MirrorCopy(APEX)
            async with Client(nodes[0], peers[0].addresses[0]) as client:
                client.subscribe("minidisc.", SOA)
                await current(client, copy)
                await eventually(lambda: mirrors.sessions() == 1)
        copy = MirrorCopy(APEX)
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await transferred(client, copy)
            assert copy.beside()[0]
        await eventually(lambda: mirrors.sessions() == 0)
        await eventually(lambda: not mirrors.descriptors())

    run(work)


def test_a_node_that_closes_leaves_nothing_of_its_mirror() -> None:
    before = open_sockets()

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await current(client, MirrorCopy(APEX))
            await eventually(lambda: bool(nodes[0].mirrors.descriptors()))
            await nodes[0].close()
            with contextlib.suppress(EOFError):
                while True:
                    await client.next()

    run(work)
    assert open_sockets() == before


def test_a_child_of_a_fork_has_no_part_in_a_mirror() -> None:
    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await current(client, MirrorCopy(APEX))
            await eventually(lambda: nodes[0].mirrors.sessions() == 1)
            numbers = nodes[0].mirrors.descriptors()
            child = os.fork()
            if not child:
                gone = all(os.readlink(f"/proc/self/fd/{number}") == os.devnull for number in numbers)
                os._exit(0 if gone else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    run(work)


def states(nodes: Iterable[Node]) -> list[int]:
    """The serials of their mirrors."""
    return [kept.mirror._zone.serial for node in nodes for kept in node.mirrors._kept.values()]


def test_nodes_that_take_each_other_for_programs_of_their_own_have_no_news_without_end() -> None:
    """Two of one address, as in a demonstration: what one says of the other is not what that one says."""

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        watchers = [Watcher(Settings(network_of(peer, peers), "", APEX, peer.port, 0.3)) for peer in peers]
        for watcher in watchers:
            await watcher.start()
        try:
            await eventually(lambda: all(each.view and len(each.view.services) == 2 for each in watchers))
            before = None
            while before != states(nodes):  # what they find out of each other at first may be news
                before = states(nodes)
                assert len(before) == 2
                await asyncio.sleep(1.0)
            await nodes[0].close()
            await eventually(lambda: watchers[1].view is not None and len(watchers[1].view.services) == 1)
        finally:
            for watcher in watchers:
                await watcher.close()

    first, second = free_port(), free_port()
    run(work, (Peer("one", ("127.0.0.1",), first), Peer("two", ("127.0.0.1",), second)))


def test_many_programs_of_our_own_host_have_sessions() -> None:
    """More than one source has from elsewhere."""

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        settings = Settings(network_of(peers[0], peers), "", APEX, peers[0].port, 0.3)
        watchers = [Watcher(settings) for _ in range(40)]
        for watcher in watchers:
            await watcher.start()
        try:
            await eventually(lambda: all(each.view and len(each.view.services) == 2 for each in watchers))
            await eventually(lambda: sum(each.sessions() for each in watchers) == 40)
            assert len(nodes[1].sessions) == 1
        finally:
            for watcher in watchers:
                await watcher.close()

    run(work)


def test_a_watcher_of_a_wider_network_than_the_holders_sees_all_of_it() -> None:
    async def main() -> None:
        peers = fleet(3)
        nodes = [await opened(peer, peers[:2], 80 + number) for number, peer in enumerate(peers[:2])]
        nodes.append(await opened(peers[2], peers, 82))
        watcher = Watcher(Settings(network_of(peers[0], peers), "", APEX, peers[0].port, 0.3))
        await watcher.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await eventually(lambda: watcher.view is not None and len(watcher.view.services) == 3)
                await eventually(lambda: watcher.sessions() == 2)
                nodes[2].advertise(make(90, "db"))
                await eventually(lambda: watcher.view is not None and len(watcher.view.services) == 4)
                await nodes[1].close()
                await eventually(lambda: watcher.view is not None and len(watcher.view.services) == 3)
        finally:
            await watcher.close()
            for node in nodes:
                await node.close()

    asyncio.run(main())


def test_a_mirror_does_not_outlast_the_time_of_a_holder() -> None:
    """Who was one before, and stopped meanwhile, begins anew."""

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        seen = []
        for era in (1, 1, 2):
            nodes[0].mirrors._era = lambda: era  # noqa: B023 - called at once
            async with Client(nodes[0], peers[0].addresses[0]) as client:
                client.subscribe("minidisc.", SOA)
                await current(client, MirrorCopy(APEX))
                seen += [kept.mirror for kept in nodes[0].mirrors._kept.values()]
        assert seen[0] is seen[1]
        assert seen[1] is not seen[2]

    run(work)


def test_a_mirror_that_was_stopped_does_not_vouch_for_what_it_knew_until_it_has_heard_of_it_again() -> None:
    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        watcher = Watcher(Settings(network_of(peers[0], peers), "", APEX, peers[0].port, 0.3), own=list)

        def stands() -> list[State]:
            return [each.state for each in watcher.stood if each.id == peers[1].id]

        await watcher.start()
        try:
            await eventually(lambda: stands() == [State.REGISTRY] and watcher.sessions() == 1)
            watcher._turns = Turns(clock.now() - 8.0)
            watcher._tick()
            watcher.publish()
            assert stands() == [State.UNHEARD]
            await eventually(lambda: stands() == [State.REGISTRY])
        finally:
            await watcher.close()

    run(work)


async def found(node: Node, source: Peer) -> set[int]:
    """The ports of ``web`` that a node tells `source` of, when that asks for the whole network."""
    query = dns.message.make_query("web.minidisc", "SRV")
    me = node.me
    reply = await dns.asyncquery.tcp(query, me.addresses[0], 5, me.port, source.addresses[0])
    return {record.port for rrset in reply.answer for record in rrset}


def test_questions_about_the_network_are_answered_from_the_mirror_as_long_as_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirrors_by_apex, "KEPT_FOR", 0.0)

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        directory = nodes[0].directory
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await current(client, MirrorCopy(APEX))
            assert directory.followed(clock.now())
            for port in (90, 91, 92):
                nodes[1].advertise(make(port, "web"))
                await eventually(lambda: len(directory.services(clock.now())) == port - 87)  # noqa: B023 - awaited
                assert await found(nodes[0], peers[1]) == {80, 81, *range(90, port + 1)}
        await eventually(lambda: not directory.followed(clock.now()))
        await nodes[1].close()
        assert await found(nodes[0], peers[0]) == {80}

    run(work)


def test_what_our_own_host_offers_is_in_a_mirror_as_soon_as_it_is_in_the_hosts_own_view() -> None:
    """Also where a state that was to be taken is from before."""

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            copy = MirrorCopy(APEX)
            await current(client, copy)
            (kept,) = nodes[0].mirrors._kept.values()
            nodes[0].advertise(make(90, "web"))
            kept.mirror._take()
            answer = kept.mirror.answer(copy.ask(7))
            for wire in (answer,) if isinstance(answer, bytes) else answer or ():
                copy.feed(wire)
            assert ports(copy) == {80, 81, 90}

    run(work)


def test_what_a_mirror_finds_out_of_a_peer_is_known_to_its_node() -> None:
    """Which asks nobody by itself meanwhile, and has to tell it in its log and in its numbers."""

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await current(client, MirrorCopy(APEX))
            assert peer_states(nodes[0].directory, clock.now())["registry"] == 1
            await nodes[1].close()
            await eventually(lambda: peer_states(nodes[0].directory, clock.now())["registry"] == 0)

    run(work)


def test_what_a_mirror_hears_is_known_to_its_node_also_while_that_does_not_rely_on_it() -> None:
    """Both think the same of who is silent: what they know of him has to be of the same moment too."""

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        directory = nodes[0].directory
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await current(client, MirrorCopy(APEX))
            directory.slept(10.0, clock.now())
            nodes[1].advertise(make(90, "web"))
            await eventually(lambda: len(directory.services(clock.now())) == 3)
            assert not directory.followed(clock.now())

    run(work)


def test_a_mirror_with_a_fault_is_followed_by_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            await current(client, MirrorCopy(APEX))
            with monkeypatch.context() as patch:
                patch.setattr(Polling, "_probe", lambda *_: 1 / 0)
                while True:
                    if not await client.reader.read(1 << 16):
                        break
        async with Client(nodes[0], peers[0].addresses[0]) as client:
            client.subscribe("minidisc.", SOA)
            copy = MirrorCopy(APEX)
            await current(client, copy)
            assert ports(copy) == {80, 81}

    run(work)


def test_who_is_left_alone_again_and_again_costs_those_who_ask_nothing() -> None:
    """Answers that need nobody to be called go on; who is left alone for the first time is seen when it asks."""

    async def work(nodes: list[Node], peers: tuple[Peer, ...]) -> None:
        domain, asker = nodes[0]._domains.own, peers[1].addresses[0]

        def ready() -> bool:
            return asker in domain.responder.hot(clock.now())

        domain.left_alone(Peer("idle", ("127.9.9.9",)))
        domain.responder.admit(client_at(asker, frozenset(), tcp=False))
        assert ready()
        domain.left_alone(Peer("idle", ("127.9.9.9",)))
        assert ready()
        domain.left_alone(Peer("another", ("127.9.9.8",)))
        assert not ready()

    run(work)


def test_what_a_policy_of_the_node_forbids_is_not_taken_from_its_mirror() -> None:
    async def main() -> None:
        peers = fleet(2)
        node = await Node.open(network_of(peers[0], peers), APEX, timeout=0.3, policy=Policy(remote=False))
        other = await opened(peers[1], peers)
        other.advertise(make(81, "web", address="192.0.2.1"))
        try:
            async with asyncio.timeout(PATIENCE), Client(node, peers[0].addresses[0]) as client:
                client.subscribe("minidisc.", SOA)
                copy = MirrorCopy(APEX)
                await current(client, copy)
                assert ports(copy) == {80, 81}
                assert node.directory.followed(clock.now())
                assert await found(node, peers[1]) == {80}
        finally:
            await node.close()
            await other.close()

    asyncio.run(main())
