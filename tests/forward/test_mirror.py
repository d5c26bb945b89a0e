"""The forwarder's mirror on real sockets: it follows by push, and a network that comes late is followed then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import dns.rcode
import pytest
from loopback import Fixed, fleet, hostile, network_of
from played import ALPHA, LOOKER_ON, Host

from mddns.base.errors import NetworkError
from mddns.base.model import Snapshot
from mddns.base.offer import make
from mddns.forward.forwarder import Forwarder
from mddns.system import clock
from tests.forward.test_forwarder import ask, forwarding, node, run, texts


async def whole(forwarder: Forwarder) -> None:
    """Returns when it has seen the network."""
    await until(lambda: forwarder._mirror._directory.followed(clock.now()))


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_a_change_replaces_an_answer_whose_ttl_has_not_run_out() -> None:
    """Asked the same all the time: the answer is a kept one, until it is another."""

    async def work() -> None:
        everybody = fleet(1)
        async with (
            node(network_of(everybody[0], everybody), ("web", 80)) as alpha,
            forwarding(network=network_of(None, everybody)) as (forwarder, place),
        ):
            await whole(forwarder)
            assert forwarder._mirror._watcher
            await until(forwarder._mirror._watcher.sessions)
            loop = asyncio.get_running_loop()
            for number in range(10):
                before = texts(await ask(place, "web.minidisc", "SRV"))
                assert texts(await ask(place, "web.minidisc", "SRV")) == before
                begun = loop.time()
                alpha.advertise(make(81 + number, "web", {}))
                while len(texts(await ask(place, "web.minidisc", "SRV"))) != len(before) + 1:
                    await asyncio.sleep(0.001)
                assert loop.time() - begun < 2.0  # and not when a TTL of 5 s has run out

    run(work)


def test_a_network_that_comes_later_is_followed_then() -> None:
    class Later(Fixed):
        there = False

        def read(self, timeout: float) -> Snapshot:
            if not self.there:
                raise NetworkError("not yet")
            return super().read(timeout)

    async def work() -> None:
        everybody = fleet(1)
        network = Later(None, everybody)
        async with node(network_of(everybody[0], everybody), ("web", 80)), forwarding(network=network) as (it, place):
            assert (await ask(place, "web.minidisc", "SRV")).rcode() == dns.rcode.SERVFAIL
            network.there = True
            it.reload()
            await whole(it)
            assert texts(await ask(place, "web.minidisc", "SRV"))

    run(work)


def test_a_peer_without_push_is_asked_again_and_again() -> None:
    async def work() -> None:
        (peer,) = everybody = fleet(1)
        registry = Host(ALPHA)
        registry.advertise("web", 80)

        def answer(wire: bytes, reply: Callable[[bytes], None]) -> None:
            octets = registry.octets(wire, source=LOOKER_ON)
            if isinstance(octets, bytes):
                reply(octets)

        with hostile(peer, answer):
            async with forwarding(network=network_of(None, everybody)) as (forwarder, place):
                await whole(forwarder)
                assert len(texts(await ask(place, "web.minidisc", "SRV"))) == 1
                registry.advertise("web", 81)
                while len(texts(await ask(place, "web.minidisc", "SRV"))) != 2:
                    await asyncio.sleep(0.05)

    run(work)


def test_a_registry_that_falls_silent_is_named_and_after_its_time_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 30 s as 3, and what is asked every 2 s asked every 0.2."""
    monkeypatch.setattr("mddns.directory.peer_memory.GONE_AFTER", 3.0)
    monkeypatch.setattr("mddns.directory.peer_memory._MISS_STANDS", 0.5)
    monkeypatch.setattr("mddns.watching.polling.EVERY", 0.2)

    async def work() -> None:
        (peer,) = everybody = fleet(1)
        registry, silent = Host(ALPHA), threading.Event()
        registry.advertise("web", 80)

        def answer(wire: bytes, reply: Callable[[bytes], None]) -> None:
            octets = registry.octets(wire, source=LOOKER_ON)
            if isinstance(octets, bytes) and not silent.is_set():
                reply(octets)

        with hostile(peer, answer):
            async with forwarding(network=network_of(None, everybody), timeout=0.2) as (forwarder, place):
                await whole(forwarder)
                silent.set()
                begun = clock.now()
                while (await ask(place, "nothing.minidisc", "SRV")).rcode() != dns.rcode.SERVFAIL:
                    await asyncio.sleep(0.02)
                while True:
                    found = await ask(place, "web.minidisc", "SRV")
                    if found.rcode() == dns.rcode.NXDOMAIN:
                        break
                    assert texts(found)
                    await asyncio.sleep(0.02)
                assert clock.now() - begun > 2.5
                assert (await ask(place, "nothing.minidisc", "SRV")).rcode() == dns.rcode.NXDOMAIN

    run(work)
