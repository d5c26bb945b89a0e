"""Watching on real sockets: the iterators, their ends, mirrors, and hosts that behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import pytest
from conftest import Measured
from loopback import Fixed, fleet, hostile, network_of, open_sockets

import mddns
from mddns import aio
from mddns.base.model import Endpoint, Peer, Service, Snapshot
from mddns.base.names import Name
from mddns.codec.answer import Answer
from mddns.directory.keeping_up import Pulse
from mddns.directory.peer_memory import Standing
from mddns.dns.dso import is_dso, refusal
from mddns.lookup.asked_peer import Ask, Outcome
from mddns.lookup.fanout import Lookup
from mddns.networks.settings import Settings
from mddns.sync_watch import Watch
from mddns.system import clock
from mddns.watching.host_state import HostState
from mddns.watching.hosts import UNHURRIED
from mddns.watching.mirror_zone import State
from mddns.watching.polling import MOST_AT_ONCE, Polling
from mddns.watching.watcher import View, Watcher

PATIENCE = 10.0


def registry(peer: Peer, peers: tuple[Peer, ...]) -> mddns.Registry:
    return mddns.start_registry(network_of(peer, peers), port=peer.port)


@contextlib.contextmanager
def watching(network: Fixed, name: str | None = None, **labels: str) -> Iterator[Watch]:
    with mddns.Resolver(network) as resolver, resolver.watch(name, labels) as watch:
        yield watch


def until(watch: Watch, kind: str) -> list[tuple[str, str]]:
    """What is told until the first event of that kind: kind and name."""
    told = []
    while event := watch.next(PATIENCE):
        told.append((event.kind, event.service.name if event.service else ""))
        if event.kind == kind:
            return told
    raise AssertionError(f"no {kind} within {PATIENCE} s, but {told}")


def watcher_of(watch: Watch) -> Watcher:
    assert watch._thread
    assert watch._thread.watcher
    return watch._thread.watcher


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts are asked four times as often as usual, for tests that wait until one is asked."""
    monkeypatch.setattr("mddns.watching.polling.EVERY", 0.5)


def test_what_is_there_is_told_first_then_what_changes() -> None:
    peers = fleet(2)
    with registry(peers[0], peers) as first, registry(peers[1], peers) as second:
        first.advertise_service(80, "web")
        with watching(network_of(None, peers)) as watch:
            assert until(watch, "current") == [("up", "web"), ("leader", "web"), ("current", "")]
            db = second.advertise_service(81, "db")
            assert until(watch, "leader") == [("up", "db"), ("leader", "db")]
            db.update({"v": "2"})
            assert until(watch, "update") == [("update", "db")]
            db.withdraw()
            assert until(watch, "down") == [("down", "db")]


def test_name_and_labels_choose_what_is_told() -> None:
    peers = fleet(1)
    with registry(peers[0], peers) as first:
        first.advertise_service(80, "web", {"env": "prod"})
        first.advertise_service(81, "web", {"env": "dev"})
        first.advertise_service(82, "db", {"env": "prod"})
        with watching(network_of(None, peers), "WEB", env="prod") as watch:
            assert until(watch, "current") == [("up", "web"), ("leader", "web"), ("current", "")]


def test_a_network_of_nobody_is_current() -> None:
    with watching(network_of(None, fleet(3))) as watch:
        assert until(watch, "current") == [("current", "")]


def test_current_waits_no_longer_for_the_silent_than_a_lookup_does() -> None:
    peers = fleet(2)
    with registry(peers[0], peers) as first, hostile(peers[1], lambda wire, reply: None):
        first.advertise_service(80, "web")
        begun = time.monotonic()
        with watching(network_of(None, peers)) as watch:
            until(watch, "current")
        assert time.monotonic() - begun < 2


def test_what_a_registry_offers_is_down_when_it_closes_and_up_when_it_is_back() -> None:
    peers = fleet(1)
    with watching(network_of(None, peers)) as watch:
        for _ in range(2):
            with registry(peers[0], peers) as first:
                first.advertise_service(80, "web")
                until(watch, "up")
            until(watch, "down")


def test_who_refused_for_long_is_heard_of_when_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for its serial meanwhile, and looked up as soon as it says one."""
    monkeypatch.setattr("mddns.watching.polling.REFUSED_FIRST", 60.0)
    monkeypatch.setattr("mddns.watching.polling.REFUSED_AT_MOST", 60.0)
    monkeypatch.setattr("mddns.watching.polling.EVERY", 0.2)
    peers = fleet(1)
    with watching(network_of(None, peers)) as watch:
        assert until(watch, "current") == [("current", "")]
        with registry(peers[0], peers) as first:
            first.advertise_service(80, "web")
            until(watch, "up")


def test_peers_that_leave_the_network_are_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.networks.follower.STATUS_EVERY", 0.1)
    peers = fleet(2)
    network = network_of(None, peers)
    with registry(peers[0], peers) as first, registry(peers[1], peers) as second, watching(network) as watch:
        first.advertise_service(80, "web")
        until(watch, "leader")
        network.peers = peers[1:]
        assert until(watch, "down")[-1] == ("down", "web")
        second.advertise_service(80, "db")
        assert until(watch, "up") == [("up", "db")]


def test_a_host_has_one_session_however_many_watch_through_a_resolver() -> None:
    peers = fleet(2)
    with registry(peers[0], peers), registry(peers[1], peers), mddns.Resolver(network_of(None, peers)) as resolver:
        with resolver.watch() as first, resolver.watch("web") as second:
            assert first._thread is second._thread
            assert eventually(lambda: watcher_of(first).sessions() == 2)
        assert resolver._watching
        assert resolver._watching.view is None


@pytest.mark.usefixtures("asks_often")
def test_who_was_stopped_asks_until_it_has_heard_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.directory.keeping_up.CAUGHT_UP", 0.5)
    peers = fleet(1)
    with registry(peers[0], peers), mddns.Resolver(network_of(None, peers)) as resolver, resolver.watch() as watch:
        watcher = watcher_of(watch)
        assert eventually(lambda: watcher.view is not None)
        watcher._polling.pulse = Pulse(clock.now() - 10.0)
        assert watcher.view is None
        assert eventually(lambda: watcher.view is not None)


def test_while_it_may_have_missed_something_who_watches_is_not_told_what_was_so_before() -> None:
    peers = fleet(1)
    with registry(peers[0], peers) as there, mddns.Resolver(network_of(None, peers)) as resolver:
        assert not resolver.resolve("web")
        there.advertise_service(80, "web")
        with resolver.watch() as watch:
            watcher_of(watch)._polling.pulse.doubt(clock.now() + 100)
            assert len(resolver.resolve("web")) == 1
            there.advertise_service(81, "web")
            assert len(resolver.resolve("web")) == 2
        there.advertise_service(82, "web")
        assert len(resolver.resolve("web")) == 2


@pytest.mark.usefixtures("asks_often")
def test_who_slept_asks_until_it_has_heard_of_all_that_it_knows_something_of(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = fleet(1)
    with registry(peers[0], peers) as there, mddns.Resolver(network_of(None, peers)) as resolver:
        there.advertise_service(80, "web")
        with resolver.watch() as watch:
            watcher = watcher_of(watch)
            assert eventually(lambda: watcher.view is not None)
            with monkeypatch.context() as lost:
                lost.setattr(watcher._polling._prober, "ask", lambda *_: None)
                assert watch._thread
                watch._thread._background.soon(watcher._polling.slept)
                watch._thread._background.soon(watcher.publish)
                assert eventually(lambda: watcher.view is None)
            assert eventually(lambda: watcher.view is not None)


def test_while_its_holder_misses_a_question_it_asks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.watching.polling.CAUGHT_UP", 0.2)  # besides a second between two questions to it
    peers = fleet(1)
    with registry(peers[0], peers), mddns.Resolver(network_of(peers[0], peers)) as resolver, resolver.watch() as watch:
        watcher = watcher_of(watch)
        assert eventually(lambda: watcher._own_holder.complete and watcher.view is not None)
        (host,) = watcher._hosts.by_id.values()
        assert watch._thread
        watch._thread._background.soon(watcher._polling._missed, host)
        assert eventually(lambda: watcher.view is None)
        assert eventually(lambda: watcher.view is not None)


def test_who_watches_finds_without_network(measured: Measured) -> None:
    """A lookup takes as long with ten peers as with one."""
    took = {}
    for count in (1, 10):
        peers = fleet(count)
        with contextlib.ExitStack() as stack:
            for peer in peers:
                stack.enter_context(registry(peer, peers)).advertise_service(80, "web")
            network = network_of(None, peers)
            resolver = stack.enter_context(mddns.Resolver(network))
            watch = stack.enter_context(resolver.watch("nothing"))
            until(watch, "current")
            reads, begun = network.reads, time.perf_counter()
            for _ in range(100):
                assert resolver.resolve("nothing") == []
            took[count] = (time.perf_counter() - begun) / 100
            assert len(resolver.resolve("WEB")) == count
            assert resolver.find_service("web")
            assert network.reads == reads
    told = ", ".join(f"{count} peers {1e6 * seconds:.1f} µs" for count, seconds in took.items())
    measured(f"a lookup by who watches: {told}")


class Untouched(tuple[Service, ...]):
    """Services that nobody may look at."""

    def __iter__(self) -> Iterator[Service]:
        raise AssertionError("a lookup looks at services of other names")


@pytest.mark.parametrize("count", [10, 1000])
def test_a_lookup_from_the_mirror_looks_at_the_services_of_its_name_alone(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And asks nobody: the network is not even read."""

    def service(name: str, number: int) -> Service:
        return Service(name, {"n": str(number)}, Endpoint.of(f"100.64.{number // 250}.{number % 250 + 1}", 80))

    by_name = {f"other-{number}": Untouched([service(f"other-{number}", number)]) for number in range(count)}
    by_name |= {"web": (service("web", 1), service("web", 2))}
    everything = Untouched(each for each in itertools.chain.from_iterable(map(tuple.__iter__, by_name.values())))
    view = View(everything, by_name, (), count, None)
    looked: list[Service] = []
    matches = Service.matches
    monkeypatch.setattr(Service, "matches", lambda self, *args: looked.append(self) or matches(self, *args))
    network = network_of(None, ())
    with mddns.Resolver(network) as resolver:
        resolver._watching = Mirror(view)  # type: ignore[assignment]
        assert len(resolver.resolve("WEB")) == 2
        assert [each.labels for each in resolver.resolve("web", {"n": "2"})] == [{"n": "2"}]
        assert resolver.find_service("nothing") is None
    assert len(looked) == 2
    assert network.reads == 0


class Mirror:
    def __init__(self, view: View) -> None:
        self.view = view

    def close(self) -> None: ...


def test_a_mirror_knows_what_has_gone() -> None:
    peers = fleet(1)
    with registry(peers[0], peers) as first, mddns.Resolver(network_of(None, peers)) as resolver:
        first.advertise_service(80, "web")
        with resolver.watch() as watch:
            until(watch, "current")
            first.close()
            until(watch, "down")
            assert resolver.resolve("web") == []


def test_a_loop_that_is_left_ends_the_watch() -> None:
    peers = fleet(1)
    before = open_sockets(), threading.active_count()
    with registry(peers[0], peers) as first, mddns.Resolver(network_of(None, peers)) as resolver:
        first.advertise_service(80, "web")
        for event in resolver.watch():
            assert event.kind == "up"
            break
        assert eventually(lambda: threading.active_count() == before[1] + 1)
    assert eventually(lambda: open_sockets() == before[0])


def test_close_ends_whoever_waits_in_another_thread() -> None:
    with mddns.Resolver(network_of(None, fleet(1))) as resolver:
        watch = resolver.watch()
        with watch:
            until(watch, "current")
            ended: list[object] = []
            thread = threading.Thread(target=lambda: ended.extend(watch))
            thread.start()
        thread.join(PATIENCE)
        assert (thread.is_alive(), ended) == (False, [])
        with pytest.raises(mddns.Error, match="closed"):
            watch.open()


def test_closing_the_resolver_ends_its_watches() -> None:
    resolver = mddns.Resolver(network_of(None, fleet(1)))
    watch = resolver.watch()
    until(watch, "current")
    resolver.close()
    assert list(watch) == []
    watch.close()
    with pytest.raises(mddns.Error, match="closed"):
        resolver.watch()


class Lost(Fixed):
    async def aread(self, timeout: float) -> mddns.base.model.Snapshot:  # type: ignore[name-defined]
        raise mddns.NetworkError("no network")


def test_without_a_network_it_does_not_begin() -> None:
    before = threading.active_count()
    with (
        mddns.Resolver(Lost(None, ())) as resolver,
        pytest.raises(mddns.NetworkError, match="no network"),
        resolver.watch(),
    ):
        pass
    assert threading.active_count() == before


def test_a_name_that_no_service_can_have_is_refused() -> None:
    with mddns.Resolver(network_of(None, ())) as resolver, pytest.raises(mddns.InvalidService):
        resolver.watch("_web")


def test_a_forked_child_has_no_part_in_the_watch_and_may_begin_its_own() -> None:
    peers = fleet(1)
    with registry(peers[0], peers) as first, mddns.Resolver(network_of(None, peers)) as resolver:
        first.advertise_service(80, "web")
        with resolver.watch() as watch:
            until(watch, "current")
            assert eventually(lambda: len(watcher_of(watch).descriptors()) == 1)
            numbers = watcher_of(watch).descriptors()
            child = os.fork()
            if not child:
                code = 1
                try:
                    gone = all(os.readlink(f"/proc/self/fd/{number}") == os.devnull for number in numbers)
                    try:
                        watch.next(0)
                    except mddns.Error:
                        with resolver.watch() as own:
                            told = own.next(PATIENCE)
                            code = 0 if gone and told and told.kind == "up" else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            first.advertise_service(81, "db")
            assert until(watch, "up") == [("up", "db")]


def test_in_an_event_loop() -> None:
    peers = fleet(1)

    async def main() -> list[str]:
        kinds = []
        async with (
            asyncio.timeout(PATIENCE),
            await aio.start_registry(network_of(peers[0], peers), port=peers[0].port) as first,
            aio.Resolver(network_of(None, peers)) as resolver,
        ):
            threads = threading.active_count()
            handle = first.advertise_service(80, "web")
            async with resolver.watch("web") as events:
                async for event in events:
                    kinds.append(event.kind)
                    if event.kind == "current":
                        assert len(await resolver.resolve("web")) == 1
                        handle.withdraw()
                    elif event.kind == "down":
                        break
            async for event in aio.watch("web", network=network_of(None, peers)):
                kinds.append(event.kind)
                await events.close()
                break
            assert threading.active_count() == threads
        await asyncio.sleep(0)
        return kinds

    before = open_sockets()
    assert asyncio.run(main()) == ["up", "leader", "current", "down", "current"]
    assert eventually(lambda: open_sockets() == before)


def test_in_an_event_loop_too_who_watches_is_not_told_what_was_so_before() -> None:
    peers = fleet(1)

    async def main() -> list[int]:
        found = []
        async with aio.Resolver(network_of(None, peers)) as resolver:
            async with resolver.watch():
                watcher = resolver._watching._watcher
                assert watcher
                watcher._polling.pulse.doubt(clock.now() + 100)
                for port in (80, 81):
                    there.advertise_service(port, "web")
                    found.append(len(await resolver.resolve("web")))
            there.advertise_service(82, "web")
            found.append(len(await resolver.resolve("web")))
        return found

    with registry(peers[0], peers) as there:
        assert asyncio.run(main()) == [1, 2, 2]


def played(
    peer: Peer, answers: Callable[[dns.message.Message], None]
) -> Callable[[bytes, Callable[[bytes], None]], None]:
    """A responder of few words: NOERROR without records, changed by `answers`."""

    def udp(wire: bytes, reply: Callable[[bytes], None]) -> None:
        response = dns.message.make_response(dns.message.from_wire(wire))
        response.flags |= dns.flags.AA
        response.set_rcode(dns.rcode.NXDOMAIN)
        answers(response)
        reply(response.to_wire())

    return udp


@pytest.mark.usefixtures("asks_often")
def test_who_has_no_session_for_us_is_left_alone_for_as_long_as_it_says() -> None:
    """It asks for a minute; what it offers is looked up meanwhile."""
    (peer,) = fleet(1)
    sessions, questions = [], []

    def tcp(connection: object) -> None:
        size = int.from_bytes(connection.recv(2), "big")  # type: ignore[attr-defined]
        wire = connection.recv(size)  # type: ignore[attr-defined]
        assert is_dso(wire)
        sessions.append(wire)
        answer = refusal(wire, 60.0)
        connection.sendall(len(answer).to_bytes(2, "big") + answer)  # type: ignore[attr-defined]

    def said(response: dns.message.Message) -> None:
        questions.append(response)

    with hostile(peer, played(peer, said), tcp), watching(network_of(None, (peer,))) as watch:
        until(watch, "current")
        assert eventually(lambda: len(questions) >= 3)
        assert len(sessions) == 1


@pytest.mark.parametrize("nonsense", [b"\0\x02ab", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\x0c" + bytes(12), b""])
def test_nonsense_on_a_session_ends_it_and_harms_nobody(nonsense: bytes) -> None:
    peers = fleet(2)

    def tcp(connection: object) -> None:
        connection.recv(4096)  # type: ignore[attr-defined]
        connection.sendall(nonsense)  # type: ignore[attr-defined]

    with registry(peers[0], peers) as first, hostile(peers[1], played(peers[1], lambda _: None), tcp):
        web = first.advertise_service(80, "web")
        with watching(network_of(None, peers)) as watch:
            until(watch, "current")
            for number in range(5):
                web.update({"n": str(number)})
                until(watch, "update")


@pytest.mark.usefixtures("asks_often")
def test_who_has_no_session_because_there_are_too_many_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mddns.watching.session_schedule.MOST_SESSIONS", 1)
    peers = fleet(3)
    with contextlib.ExitStack() as stack:
        registries = [stack.enter_context(registry(peer, peers)) for peer in peers]
        watch = stack.enter_context(watching(network_of(None, peers)))
        until(watch, "current")
        assert eventually(lambda: watcher_of(watch).sessions() == 1)
        for number, each in enumerate(registries):
            each.advertise_service(80, f"s{number}")
        seen = {until(watch, "up")[-1] for _ in registries}
        assert seen == {("up", f"s{number}") for number in range(3)}
        assert watcher_of(watch).sessions() == 1


def test_thousands_of_hosts_are_looked_up_a_few_hundred_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits for what has to be done behind such a lookup."""
    sizes: list[int] = []

    async def run(lookup: Lookup, clock: Callable[[], float]) -> None:
        sizes.append(len(lookup.asks))
        await asyncio.sleep(0.05)

    monkeypatch.setattr("mddns.watching.polling.asyncio_sockets.run", run)
    many = tuple(Peer(f"n{n}", (f"127.1.{n // 250}.{n % 250 + 1}",), 9) for n in range(1000))

    async def work() -> None:
        watcher = Watcher(Settings(Fixed(None, many), "fixed", Name.parse("minidisc."), 9, 1.0))
        await watcher.start()
        while sum(sizes) < len(many):
            await asyncio.sleep(0.01)
        await watcher.close()

    asyncio.run(work())
    assert max(sizes) <= MOST_AT_ONCE


def test_an_answer_counts_no_more_when_the_host_has_said_something_newer_while_others_were_waited_for() -> None:
    """A lookup ends with the last of its hosts, and our own holder's mirror may tell of one meanwhile."""
    peer = Peer("alpha", ("100.64.0.1",))
    refused = SimpleNamespace(peer=peer, outcome=Outcome.REFUSED, answer=None, listed=None, over_web=False)
    newer = Service("web", {}, Endpoint("100.64.0.1:80"))

    async def work() -> None:
        watcher = Watcher(Settings(Fixed(None, (peer,)), "fixed", Name.parse("minidisc."), 28004, 1.0))
        await watcher._seen(Snapshot(None, (peer,), "fixed"), 0.0)
        (host,) = watcher._hosts.by_id.values()
        watcher._own_holder._relay(host, State.REGISTRY, (newer,), 10.0)
        watcher._polling._polled(host, cast("Ask", refused), 9.9)
        assert list(watcher._directory.said_by(peer).values()) == [newer]
        watcher._polling._polled(host, cast("Ask", refused), 10.1)
        assert not watcher._directory.said_by(peer)

    asyncio.run(work())


def test_a_lookup_that_was_overtaken_by_another_one_counts_no_more() -> None:
    """Who asks us something is asked at once, also where a lookup is under way."""
    peer = Peer("alpha", ("100.64.0.1",))
    refused = SimpleNamespace(peer=peer, outcome=Outcome.REFUSED, answer=None, listed=None, over_web=False)
    told = Answer((), False, False, False, ())
    answered = SimpleNamespace(
        **{**vars(refused), "outcome": Outcome.ANSWERED, "answer": told, "message": None, "rtt": None}
    )

    async def work() -> None:
        watcher = Watcher(Settings(Fixed(None, (peer,)), "fixed", Name.parse("minidisc."), 28004, 1.0))
        await watcher._seen(Snapshot(None, (peer,), "fixed"), 0.0)
        (host,) = watcher._hosts.by_id.values()
        watcher._polling._polled(host, cast("Ask", answered), 10.1)
        watcher._polling._polled(host, cast("Ask", refused), 10.0)
        assert watcher._directory.memory.standing(peer.id, 11.0) is Standing.REGISTRY

    asyncio.run(work())


def test_a_lookup_that_ends_when_there_is_a_session_begins_no_other() -> None:
    """What one that nobody knows of tells would be taken for what the other does."""
    peers = fleet(1)
    with registry(peers[0], peers) as there, watching(network_of(None, peers)) as watch:
        there.advertise_service(80, "web")
        until(watch, "up")
        (host,) = watcher_of(watch)._hosts.by_id.values()
        assert eventually(lambda: host.session is not None and host.session.connected)
        session, late = host.session, SimpleNamespace(peer=peers[0], outcome=Outcome.ANSWERED)
        assert watch._thread
        watch._thread._background.call(polled(watcher_of(watch), host, late))
        assert host.session is session


async def polled(watcher: Watcher, host: HostState, ask: object) -> None:
    watcher._polling._polled(host, cast("Ask", ask), clock.now())


@pytest.mark.parametrize(("hosts", "pace"), [(10, 1.0), (UNHURRIED, 1.0), (3 * UNHURRIED, 3.0)])
def test_with_thousands_of_hosts_lookups_take_their_time(hosts: int, pace: float) -> None:
    many = tuple(Peer(f"n{n}", (f"127.1.{n // 250}.{n % 250 + 1}",), 9) for n in range(hosts))

    async def work() -> float:
        watcher = Watcher(Settings(Fixed(None, ()), "fixed", Name.parse("minidisc."), 9, 1.0))
        await watcher._seen(Snapshot(None, many, "fixed"), 0.0)
        return watcher._hosts.pace

    assert asyncio.run(work()) == pace


def _broken(*_: object) -> None:
    raise ZeroDivisionError


@pytest.mark.usefixtures("asks_often")
def test_a_fault_of_ours_ends_the_watch_with_an_error_and_not_in_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Polling, "_probe", _broken)
    peers = fleet(1)
    with registry(peers[0], peers), mddns.Resolver(network_of(None, peers)) as resolver:
        for _ in range(2):  # the second one finds it broken
            with resolver.watch() as watch, pytest.raises(mddns.Error, match="new Resolver"):
                list(watch)
        assert resolver.list_services().complete
    assert [record.exc_info for record in caplog.records if "internal error" in record.message]


@pytest.mark.usefixtures("asks_often")
def test_a_fault_of_ours_ends_a_watch_in_a_loop_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Polling, "_probe", _broken)

    async def main(network: Fixed) -> None:
        async with aio.Resolver(network) as resolver, resolver.watch() as watch, asyncio.timeout(PATIENCE):
            async for _ in watch:
                pass

    peers = fleet(1)
    with registry(peers[0], peers), pytest.raises(mddns.Error, match="new Resolver"):
        asyncio.run(main(network_of(None, peers)))
