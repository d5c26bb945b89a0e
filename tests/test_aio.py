"""Tests of the asyncio API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from loopback import answers, fleet, hostile, network_of, open_sockets

from mddns import Error, InvalidService, NetworkError, aio
from mddns.base.model import Peer


def run(work: Callable[[tuple[Peer, ...]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await work(fleet(3))

    asyncio.run(main())


def test_a_registry_answers_when_start_registry_returns_and_starts_no_thread() -> None:
    async def work(peers: tuple[Peer, ...]) -> None:
        threads = threading.active_count()
        async with await aio.start_registry(network_of(peers[0], peers), port=peers[0].port) as registry:
            assert threading.active_count() == threads
            web = registry.advertise_service(80, "web", {"v": "1"})
            registry.advertise_remote_service("100.64.0.9:5432", "db")
            for tcp in (False, True):
                said = await asyncio.to_thread(answers, peers[0], "web TXT", tcp=tcp)
                assert said == {'web.minidisc. 5 IN TXT "v=1"'}
            web.update({"v": "2"})
            assert web.service.labels == {"v": "2"}
            assert [each.name for each in registry.services()] == ["web", "db"]
            registry.unlist_service(80)
            with pytest.raises(KeyError):
                web.update({})
            with pytest.raises(KeyError):
                registry.unlist_service(80)
            with pytest.raises(InvalidService):
                registry.advertise_service(0, "web")
            with pytest.raises(InvalidService):
                registry.advertise_remote_service(":80", "web")
            web.withdraw()

    run(work)


def test_services_are_found() -> None:
    async def work(peers: tuple[Peer, ...]) -> None:
        async with (
            await aio.start_registry(network_of(peers[0], peers), port=peers[0].port) as first,
            await aio.start_registry(network_of(peers[1], peers), port=peers[1].port) as second,
        ):
            first.advertise_service(80, "web", {"env": "prod"})
            second.advertise_service(81, "web", priority=1)
            for port in range(100, 160):
                second.advertise_service(port, "many", {"n": f"{port}"})
            for me in (None, peers[0]):
                async with aio.Resolver(network_of(me, peers), port=peers[0].port) as resolver:
                    assert [each.host for each in await resolver.resolve("web")] == ["host2", "host1"]
                    assert await resolver.find_service("web", {"env": "prod"}) == f"{peers[0].addresses[0]}:80"
                    assert await resolver.find_service("nope") is None
                    assert len(await resolver.list_services()) == 62
                    assert len(await resolver.resolve("many")) == 60

    run(work)


def test_close_leaves_no_socket_and_frees_the_port() -> None:
    async def work(peers: tuple[Peer, ...]) -> None:
        before = open_sockets()
        for _ in range(3):
            registry = await aio.start_registry(network_of(peers[0], peers), port=peers[0].port)
            await registry.close()
            await registry.close()
            await asyncio.sleep(0)
            assert open_sockets() == before

    run(work)


def test_a_registry_without_a_network_is_an_error() -> None:
    async def work(peers: tuple[Peer, ...]) -> None:
        with pytest.raises(NetworkError):
            await aio.start_registry(network_of(None, peers))

    run(work)


def test_equal_questions_of_one_moment_are_one_lookup() -> None:
    asked: list[bytes] = []

    async def work(peers: tuple[Peer, ...]) -> None:
        with hostile(peers[2], lambda wire, reply: asked.append(wire)):
            async with aio.Resolver(network_of(None, (peers[2],)), timeout=0.2) as resolver:
                found = await asyncio.gather(*(resolver.resolve("web") for _ in range(20)))
        assert found == [[]] * 20

    run(work)
    assert len(asked) <= 2


def test_who_is_cancelled_takes_nobody_along() -> None:
    async def work(peers: tuple[Peer, ...]) -> None:
        async with await aio.start_registry(network_of(peers[0], peers), port=peers[0].port) as registry:
            registry.advertise_service(80, "web")
            async with aio.Resolver(network_of(None, peers)) as resolver:
                before = open_sockets()
                first = asyncio.create_task(resolver.resolve("web"))
                second = asyncio.create_task(resolver.resolve("web"))
                await asyncio.sleep(0)
                first.cancel()
                assert len(await second) == 1
                with pytest.raises(asyncio.CancelledError):
                    await first
                await asyncio.sleep(0)
                assert open_sockets() == before

    run(work)


def test_a_closed_resolver_says_so() -> None:
    async def work(peers: tuple[Peer, ...]) -> None:
        resolver = aio.Resolver(network_of(None, peers))
        await resolver.close()
        with pytest.raises(Error, match="closed"):
            await resolver.resolve("web")

    run(work)
