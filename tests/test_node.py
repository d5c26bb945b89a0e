"""A node follows its network, and notices peers that query it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from loopback import Fixed, address, ask, fleet, free_port, hostile, network_of
from played import question, ready_answer

from mddns.base.errors import NetworkError
from mddns.base.model import Endpoint, Peer, Service, replace
from mddns.base.names import Name
from mddns.base.offer import make
from mddns.base.policy import Policy
from mddns.directory.peer_memory import Standing
from mddns.files.serial_file import Serials
from mddns.networks import follower
from mddns.node import Node
from mddns.responder.reaction import Messages
from mddns.system import clock
from mddns.zone.apex import is_after, next_serial

APEX = Name.parse("minidisc.")

Work = Callable[[Node, Fixed, tuple[Peer, ...]], Awaitable[None]]


def run(work: Work, *, timeout: float = 0.3, peers: tuple[Peer, ...] = ()) -> None:
    async def main() -> None:
        everybody = peers or fleet(3)
        network = network_of(everybody[0], everybody)
        node = await Node.open(network, APEX, timeout=timeout, policy=Policy())
        try:
            async with asyncio.timeout(20):
                await work(node, network, everybody)
        finally:
            await node.close()

    asyncio.run(main())


def every(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Sets the interval at which the network is read."""
    monkeypatch.setattr(follower, "STATUS_EVERY", seconds)
    monkeypatch.setattr(follower, "STATUS_EVERY_WHILE_LOST", seconds)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_everybody_is_asked_once_as_it_starts() -> None:
    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        memory = node.directory.memory
        await until(lambda: all(memory.standing(each.id, 1e9) is not None for each in peers[1:]))
        await until(lambda: memory.paused_until(peers[1].id) > 0 and memory.paused_until(peers[2].id) > 0)

    run(work)


def test_who_asks_us_is_not_paused_any_more() -> None:
    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        memory, bravo = node.directory.memory, peers[1]
        await until(lambda: memory.paused_until(bravo.id) > 0)
        await asyncio.sleep(0.01)
        node._answer(question("_list PTR"), bravo.addresses[0], False)
        assert memory.paused_until(bravo.id) == 0.0
        assert memory.paused_until(peers[2].id) > 0.0

    run(work)


def test_who_asks_the_same_again_is_answered_without_a_call_and_heard_all_the_same() -> None:
    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        memory, bravo, wire = node.directory.memory, peers[1], question("ns A")
        for _ in range(3):
            node._answer(wire, bravo.addresses[0], False)
        assert ready_answer(node._hot(), wire, bravo.addresses[0])
        await until(lambda: memory.paused_until(bravo.id) > 0)
        # The peer did not answer the node's query, so its next query is news.
        assert ready_answer(node._hot(), wire, bravo.addresses[0]) is None
        node._answer(wire, bravo.addresses[0], False)
        assert memory.paused_until(bravo.id) == 0.0

    run(work)


def test_a_question_is_answered_when_the_peers_have_been_asked() -> None:
    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        other = await Node.open(network_of(peers[1], peers), APEX, timeout=0.3, policy=Policy())
        try:
            other.advertise(make(80, "web"))
            node.directory.heard(peers[1].id)
            answer = node._answer(question("web SRV", rd=True), peers[2].addresses[0], True)
            assert not isinstance(answer, bytes | tuple | None)
            import dns.message

            assert len(dns.message.from_wire(await answer).answer) == 1
        finally:
            await other.close()

    # The node that started first got a refusal, and does not query the other for a while; see `heard`.
    run(work)


def test_peers_that_come_and_go_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    every(monkeypatch, 0.01)

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        assert len(node.directory.peers) == 2
        network.peers = peers[1:2]
        await until(lambda: len(node.directory.peers) == 1)
        network.peers = peers[1:]
        await until(lambda: len(node.directory.peers) == 2)

    run(work)


def test_a_network_that_fails_is_said_once_and_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    every(monkeypatch, 0.01)

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        good = network.aread
        failures = 0

        async def fail(timeout: float):  # type: ignore[no-untyped-def]
            nonlocal failures
            failures += 1
            raise NetworkError("tailscaled is restarting")

        network.aread = fail  # type: ignore[method-assign]
        await until(lambda: failures > 5)
        network.aread = good  # type: ignore[method-assign]
        network.peers = ()
        await until(lambda: node.directory.peers == ())

    run(work)
    assert [record.message for record in caplog.records] == [
        "the network is lost: tailscaled is restarting",
        "the network is back after 0 s",
    ]


def test_when_the_machines_name_changes_so_do_the_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    every(monkeypatch, 0.01)

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        node.advertise(make(80, "web"))
        network.me = replace(peers[0], name="renamed")
        await until(lambda: node.me.name == "renamed")
        said = await asyncio.to_thread(ask, peers[0], "web SRV")
        assert str(said.answer[0][0].target) == "renamed-80.web.minidisc."

    run(work)


def test_where_another_node_has_our_name_the_address_stands_in() -> None:
    me, twin = Peer("Twin", (address(),), free_port()), Peer("twin", ("203.0.113.1",))

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        node.advertise(make(80, "web"))
        said = await asyncio.to_thread(ask, me, "web SRV")
        assert str(said.answer[0][0].target) == f"{me.addresses[0].replace('.', '-')}-80.web.minidisc."

    run(work, peers=(me, twin))


def test_merged_answers_are_for_members_and_this_machine() -> None:
    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        wire = question("_list PTR", rd=True, use_edns=0)
        for source in ("203.0.113.5", "10.0.0.1"):
            answer = node._answer(wire, source, False)
            assert isinstance(answer, bytes)
            assert answer[3] & 15 == 5
        for source in (peers[1].addresses[0], "127.0.0.1", "::1"):
            answer = node._answer(wire, source, False)
            if not isinstance(answer, bytes):
                assert answer is not None
                assert not isinstance(answer, Messages)
                answer = await answer
            assert answer[3] & 15 == 0

    run(work)


def test_clients_without_number_do_not_fill_the_memory() -> None:
    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        wire = question("nope A")
        for number in range(12_000):
            node._answer(wire, f"10.0.{number // 250}.{number % 250}", False)
        assert len(node._clients) <= 10_001

    run(work)


def test_without_descriptors_for_asking_around_an_answer_is_given_still(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No peer was queried, so no answer does not mean that the network is empty."""

    async def no_descriptors(*args: object) -> None:
        raise NetworkError("no file descriptor is free for a lookup")

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        memory = node.directory.memory
        await until(lambda: memory.paused_until(peers[1].id) > 0)
        node.directory.answered(peers[1], [], clock.now())
        node.directory.expire()
        monkeypatch.setattr("mddns.host.domain.asyncio_sockets.run", no_descriptors)
        answer = node._answer(question("web SRV", rd=True, use_edns=0), "127.0.0.1", False)
        assert not isinstance(answer, bytes | tuple | None)
        import dns.message

        said = dns.message.from_wire(await answer)
        assert said.rcode() == 2
        assert memory.standing(peers[1].id, clock.now()) is Standing.REGISTRY

    run(work)
    assert any("no file descriptor" in record.message for record in caplog.records)


def test_what_was_told_long_ago_is_not_in_an_answer_when_nobody_tells_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_descriptors(*args: object) -> None:
        raise NetworkError("no file descriptor is free for a lookup")

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        bravo = peers[1]
        await until(lambda: node.directory.memory.paused_until(bravo.id) > 0)
        monkeypatch.setattr("mddns.host.domain.asyncio_sockets.run", no_descriptors)
        for age, count in ((20, 1), (60, 0)):
            service = Service("web", {}, Endpoint.of(bravo.addresses[0], 80), bravo.addresses, via=bravo.id)
            node.directory.answered(bravo, [service], clock.now() - age)
            node.directory.expire()
            answer = node._answer(question("_list PTR", rd=True, use_edns=0), "127.0.0.1", False)
            assert not isinstance(answer, bytes | tuple | None)
            await answer
            assert len(node.directory.services(clock.now())) == count
            assert node.directory.silent(clock.now()) == (bravo.shown,)

    run(work)


# After the process was suspended


def test_after_sleep_nobody_is_gone_and_everybody_is_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        directory, bravo = node.directory, peers[1]
        await until(lambda: directory.memory.paused_until(bravo.id) > 0)
        await node._greeting  # type: ignore[misc]
        began = clock.now()
        directory.answered(bravo, [], began)
        directory.missed(bravo, began)
        monkeypatch.setattr(clock, "now", lambda: began + 600)
        assert directory.memory.gone(bravo.id, clock.now())
        assert node._tick()
        assert not directory.memory.gone(bravo.id, clock.now())
        assert directory.silent(clock.now()) == (bravo.shown,)
        assert bravo in directory.due(clock.now())
        assert not node._tick()

    with caplog.at_level("INFO", "mddns"):
        run(work)
    assert [record.message for record in caplog.records if "away" in record.message] == [
        "away for 600 s: all peers are queried again"
    ]


def test_a_node_that_began_before_its_clock_was_right_has_a_serial_by_it_after(monkeypatch: pytest.MonkeyPatch) -> None:
    right = clock.unix_ms
    monkeypatch.setattr(clock, "unix_ms", lambda: right() - 3_600_000)

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        told = next_serial(None, right() - 60_000)
        node.advertise(make(80, "web"))
        assert not is_after(node.table.serial, told)
        monkeypatch.setattr(clock, "unix_ms", right)
        node._tick()
        serial = node.table.serial
        assert is_after(serial, told)
        node._tick()
        assert node.table.serial == serial

    run(work)


def test_who_keeps_serials_keeps_those_of_a_holder_that_does_not(tmp_path: Path) -> None:
    file = str(tmp_path / "serials.json")

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        tenant = await Node.open(network, APEX, timeout=0.3, policy=Policy(), serials=Serials(APEX, file))
        try:
            node.table.follow((node.table.serial + 100_000) % 2**32)
            node.advertise(make(80, "web"))
            told = node.table.serial
            await until(lambda: is_after(Serials(APEX, file).latest() or told, told))
        finally:
            await tenant.close()

    run(work)


def test_when_the_network_is_back_those_are_asked_too_that_were_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """So they notice this node: they may have stopped querying it, for minutes."""
    every(monkeypatch, 0.01)

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        await until(lambda: node.directory.memory.paused_until(peers[1].id) > 0)
        good, asked = network.aread, list[bytes]()

        async def fail(timeout: float):  # type: ignore[no-untyped-def]
            raise NetworkError("gone")

        network.aread = fail  # type: ignore[method-assign]
        with hostile(peers[1], lambda wire, reply: asked.append(wire)):
            await asyncio.sleep(0.3)
            assert not asked
            network.aread = good  # type: ignore[method-assign]
            await until(lambda: bool(asked))

    run(work)


def test_what_others_of_this_host_offer_is_not_taken_along_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tenants register again at the new address. Until then their services are at an address that may be another's."""
    every(monkeypatch, 0.01)

    async def work(node: Node, network: Fixed, peers: tuple[Peer, ...]) -> None:
        left_behind = await Node.open(network_of(peers[0], peers), APEX, timeout=0.3, policy=Policy())
        try:
            left_behind.advertise(make(81, "old"))
            node.advertise(make(80, "web"))
            await left_behind.settled()
            moved = replace(peers[0], addresses=(address(),))
            network.me = moved
            await until(lambda: node.role.place == (moved.addresses[0], moved.port))
            names = {str(record.target) for rrset in (await asyncio.to_thread(ask, moved, "_list PTR")).answer
                     for record in rrset}  # fmt: skip
            assert names == {"host1-80.web.minidisc."}
        finally:
            await left_behind.close()

    run(work)
