"""A network is followed: by its door-bell where it has one, by looking where it has none or that is broken."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from bed.tailnet import Node, Tailnet
from bed.tailscaled import PlayedTailscaled
from conftest import Measured

from mddns.base.errors import NetworkError
from mddns.base.model import Peer, Snapshot
from mddns.networks import follower
from mddns.networks.follower import Follower
from mddns.networks.tailscale import Tailscale

ME = Peer("alpha", ("100.64.0.1",))
NEVER = 3600.0


class Told:
    """What a Follower told, and a Follower to tell it."""

    def __init__(self, network: object) -> None:
        self.snapshots: list[Snapshot] = []
        self.lost_for: list[float] = []
        self.ticks = 0
        self.away = False
        self.broken: Exception | None = None
        self.follower = Follower(network, self._seen, self._tick)  # type: ignore[arg-type]

    async def _seen(self, snapshot: Snapshot, lost_for: float) -> None:
        if self.broken:
            raise self.broken
        self.snapshots.append(snapshot)
        self.lost_for.append(lost_for)

    def _tick(self) -> bool:
        self.ticks += 1
        away, self.away = self.away, False
        return away


class Quiet:
    """A network without a door-bell, and how often it was read."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: str | None = None

    def read(self, timeout: float) -> Snapshot:
        raise AssertionError("the event loop was blocked")

    async def aread(self, timeout: float) -> Snapshot:
        self.reads += 1
        if self.error:
            raise NetworkError(self.error)
        return Snapshot(ME, ())


class Bell(Quiet):
    """One that rings when it is told to, and is broken when that is "break"."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.listened = 0

    async def changes(self) -> AsyncIterator[None]:
        self.listened += 1
        while (word := await self.queue.get()) == "ring":
            yield
        if word == "fail":
            raise NetworkError("the bell is broken")


def follow(network: Quiet, work: Callable[[Told], Awaitable[None]]) -> None:
    async def main() -> None:
        told = Told(network)
        task = asyncio.create_task(told.follower.run())
        try:
            async with asyncio.timeout(20):
                await work(told)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1, "a task was left"

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens by looking alone, unless a test wants it."""
    for name in ("STATUS_EVERY", "STATUS_EVERY_WITH_BELL", "STATUS_EVERY_WHILE_LOST"):
        monkeypatch.setattr(follower, name, NEVER)
    monkeypatch.setattr(follower, "TICK", 0.01)
    monkeypatch.setattr(follower, "DEBOUNCE", 0.02)
    monkeypatch.setattr(follower, "SHARE", 0)
    monkeypatch.setattr(follower, "BELL_AGAIN", 0.01)


def test_without_a_door_bell_it_is_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "STATUS_EVERY", 0.01)

    async def work(told: Told) -> None:
        await until(lambda: len(told.snapshots) > 3)

    follow(Quiet(), work)


def test_a_ring_is_a_look() -> None:
    async def work(told: Told) -> None:
        network.queue.put_nowait("ring")
        await until(lambda: network.reads == 1)
        network.queue.put_nowait("ring")
        await until(lambda: network.reads == 2)

    network = Bell()
    follow(network, work)


def test_many_rings_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "DEBOUNCE", 0.2)

    async def work(told: Told) -> None:
        for _ in range(1000):
            network.queue.put_nowait("ring")
        await until(lambda: network.reads == 1)
        await until(network.queue.empty)
        await asyncio.sleep(0.4)
        assert network.reads == 1

    network = Bell()
    follow(network, work)


def test_a_bell_that_never_rests_takes_its_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes 20 ms, and a share of a tenth: at most five looks a second."""
    monkeypatch.setattr(follower, "SHARE", 10)
    monkeypatch.setattr(follower, "STATUS_EVERY", 1.0)

    class Slow(Bell):
        async def aread(self, timeout: float) -> Snapshot:
            await asyncio.sleep(0.02)
            return await super().aread(timeout)

    async def work(told: Told) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() < begun + 1.0:
            network.queue.put_nowait("ring")
            await asyncio.sleep(0.001)
        assert 1 <= network.reads <= 7

    network = Slow()
    follow(network, work)


@pytest.mark.parametrize("end", ["end", "fail"])
def test_a_bell_that_breaks_is_listened_to_again_and_makes_one_look(end: str) -> None:
    async def work(told: Told) -> None:
        for number in range(1, 4):
            await until(lambda: network.listened == number)  # noqa: B023 - called at once
            network.queue.put_nowait("ring")
            await until(lambda: told.follower._hears)
            network.queue.put_nowait(end)
            await until(lambda: not told.follower._hears)
        await until(lambda: network.listened == 4)
        assert told.snapshots

    network = Bell()
    follow(network, work)


def test_while_the_bell_is_broken_it_is_looked_at_as_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "STATUS_EVERY", 0.01)
    monkeypatch.setattr(follower, "BELL_AGAIN", NEVER)

    async def work(told: Told) -> None:
        network.queue.put_nowait("fail")
        await until(lambda: network.reads > 5)

    network = Bell()
    follow(network, work)


def test_a_broken_bell_is_not_listened_to_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it lets us in each time, rings, and breaks: 10, 20, 40 … ms."""

    class Broken(Bell):
        async def changes(self) -> AsyncIterator[None]:
            self.listened += 1
            yield

    async def work(told: Told) -> None:
        await asyncio.sleep(0.7)
        assert 2 <= network.listened <= 8

    network = Broken()
    follow(network, work)


def test_a_loss_is_told_once_and_so_is_the_return(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(follower, "STATUS_EVERY", 0.005)
    monkeypatch.setattr(follower, "STATUS_EVERY_WHILE_LOST", 0.005)

    async def work(told: Told) -> None:
        for error in ("it is stopped", "it is starting", "it is stopped"):
            network.error = error
            reads = network.reads
            await until(lambda: network.reads > reads + 5)  # noqa: B023 - called at once
        network.error = None
        seen = len(told.snapshots)
        await until(lambda: len(told.snapshots) > seen + 2)
        assert told.lost_for[seen] > 0
        assert told.lost_for[seen + 1] == 0

    network = Quiet()
    with caplog.at_level(logging.INFO, "mddns"):
        follow(network, work)
    assert [record.message for record in caplog.records] == [
        "the network is lost: it is stopped",
        "the network is still lost: it is starting",
        "the network is back after 0 s",
    ]


def test_what_cannot_be_done_with_a_snapshot_is_a_loss_too_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A port that is taken at the new address, or no descriptor for it."""
    monkeypatch.setattr(follower, "STATUS_EVERY", 0.005)
    monkeypatch.setattr(follower, "STATUS_EVERY_WHILE_LOST", 0.005)

    async def work(told: Told) -> None:
        told.broken = broken
        await until(lambda: network.reads > 3)
        told.broken = None
        await until(lambda: bool(told.snapshots))

    broken = OSError(24, "Too many open files")
    network = Quiet()
    follow(network, work)
    assert caplog.records[0].message == f"the network is lost: {broken}"


def test_who_was_away_looks_at_once() -> None:
    async def work(told: Told) -> None:
        await until(lambda: told.ticks > 3)
        assert network.reads == 0
        told.away = True
        await until(lambda: network.reads == 1)

    network = Quiet()
    follow(network, work)


# With a played tailscaled


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[PlayedTailscaled]:
    tailnet = Tailnet([Node("alpha"), Node("bravo")])
    with PlayedTailscaled(tmp_path / "ts.sock", tailnet, tailnet.nodes[0]) as played:
        yield played


def test_a_change_that_the_bus_tells_is_seen_soon(daemon: PlayedTailscaled, measured: Measured) -> None:
    async def work(told: Told) -> None:
        loop = asyncio.get_running_loop()
        await until(lambda: daemon.watchers == 1)
        took = []
        for number in range(5):
            node = daemon.tailnet.add(Node(f"new{number}"))
            begun = loop.time()
            daemon.ring(PeersChanged=[{"ID": node.number}])
            await until(lambda: any(p.name == node.name for s in told.snapshots[-1:] for p in s.peers))  # noqa: B023
            took.append(1000 * (loop.time() - begun))
        measured(f"a change that the bus tells is known after {max(took):.0f} ms at most, 20 ms of them debouncing")

    follow(Tailscale(28004, str(daemon.path)), work)  # type: ignore[arg-type]


@pytest.mark.parametrize("bus", ["closes", "stalls", "mute", "refuses", "garbage", "huge", "absent"])
def test_whatever_the_bus_does_changes_are_seen(
    daemon: PlayedTailscaled, monkeypatch: pytest.MonkeyPatch, bus: str
) -> None:
    monkeypatch.setattr(follower, "STATUS_EVERY", 0.05)
    monkeypatch.setattr(follower, "STATUS_EVERY_WITH_BELL", 0.3)
    daemon.bus = bus

    async def work(told: Told) -> None:
        await until(lambda: len(told.snapshots) > 1)
        daemon.me = dataclasses.replace(daemon.me, name="renamed")
        daemon.ring()
        await until(lambda: told.snapshots[-1].me is not None and told.snapshots[-1].me.name == "renamed")

    follow(Tailscale(28004, str(daemon.path)), work)  # type: ignore[arg-type]


def test_a_daemon_that_restarts_is_found_again_by_its_bell(
    daemon: PlayedTailscaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "STATUS_EVERY_WHILE_LOST", 0.02)

    async def work(told: Told) -> None:
        await until(lambda: daemon.watchers == 1)
        await until(lambda: bool(told.snapshots))
        daemon.stop()
        await until(lambda: told.follower._lost_since is not None)
        daemon.start()
        seen = len(told.snapshots)
        await until(lambda: len(told.snapshots) > seen)
        await until(lambda: daemon.watchers == 1)
        daemon.ring()
        seen = len(told.snapshots)
        await until(lambda: len(told.snapshots) > seen)

    follow(Tailscale(28004, str(daemon.path)), work)  # type: ignore[arg-type]
