"""Tests of the blocking Resolver, on real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from bed.process import wait_until
from loopback import Fixed, fleet, hostile, network_of, nobody_is_paused, open_sockets

from mddns import Endpoint, Error, Incomplete, InvalidService, NetworkError, Resolver, start_registry
from mddns.base.model import Peer, Snapshot
from mddns.sync import Registry
from mddns.system import clock


@pytest.fixture(scope="module")
def peers() -> tuple[Peer, ...]:
    return fleet(4)


@pytest.fixture(scope="module")
def registries(peers: tuple[Peer, ...]) -> Iterator[list[Registry]]:
    """Three of four peers are registries; the address of the fourth is for tests."""
    with nobody_is_paused():
        yield from started_at(peers)


def started_at(peers: tuple[Peer, ...]) -> Iterator[list[Registry]]:
    started = [start_registry(network_of(each, peers), port=each.port) for each in peers[:3]]
    started[0].advertise_service(80, "web", {"env": "prod"})
    started[1].advertise_service(81, "web", {"env": "test"}, priority=5)
    started[2].advertise_service(82, "db", protocol="udp")
    for port in range(1000, 1060):
        started[2].advertise_service(port, "many", {"n": f"{port}"})
    yield started
    for registry in started:
        registry.close()


@pytest.fixture(params=["around", "holder"])
def resolver(request: pytest.FixtureRequest, peers: tuple[Peer, ...], registries: object) -> Iterator[Resolver]:
    me = peers[0] if request.param == "holder" else None
    with Resolver(network_of(me, peers), port=peers[0].port) as made:
        yield made


def test_resolve_gives_services_best_first(resolver: Resolver, peers: tuple[Peer, ...]) -> None:
    found = resolver.resolve("web")
    assert [(each.host, each.endpoint.port, dict(each.labels)) for each in found] == [
        ("host2", 81, {"env": "test"}),
        ("host1", 80, {"env": "prod"}),
    ]
    assert (found.complete, found.silent) == (True, ())
    assert found[0].endpoint == f"{peers[1].addresses[0]}:81"


def test_labels_choose(resolver: Resolver) -> None:
    assert [each.host for each in resolver.resolve("WEB", {"env": "prod"})] == ["host1"]
    assert resolver.resolve("web", {"env": "prod", "more": "x"}) == []


def test_find_service_gives_one_endpoint_or_none(resolver: Resolver, peers: tuple[Peer, ...]) -> None:
    found = resolver.find_service("web", {"env": "prod"})
    assert isinstance(found, Endpoint)
    assert (found, found.address, found.port) == (f"{peers[0].addresses[0]}:80", peers[0].addresses[0], 80)
    assert resolver.find_service("nope") is None


def test_list_services_gives_everything_in_order(resolver: Resolver) -> None:
    found = resolver.list_services()
    assert len(found) == 63
    assert [each.name for each in found] == ["db", *["many"] * 60, "web", "web"]
    assert [each.protocol for each in found[:2]] == ["udp", "tcp"]


def test_many_services_come_over_tcp(resolver: Resolver) -> None:
    assert len(resolver.resolve("many")) == 60


def test_nobody_has_it(resolver: Resolver) -> None:
    found = resolver.resolve("nope")
    assert (found, found.complete) == ([], True)


def test_a_bad_name_is_an_error_before_anybody_is_asked(resolver: Resolver) -> None:
    with pytest.raises(InvalidService):
        resolver.resolve("_tcp")


def test_a_closed_resolver_says_so(peers: tuple[Peer, ...]) -> None:
    resolver = Resolver(network_of(None, peers))
    resolver.close()
    with pytest.raises(Error, match="closed"):
        resolver.resolve("web")


def test_nothing_stays_open_between_lookups(peers: tuple[Peer, ...], registries: object) -> None:
    with Resolver(network_of(None, peers)) as resolver:
        resolver.resolve("nope")
        before, threads = open_sockets(), threading.active_count()
        resolver.list_services()
        # The registries of this process have sockets for their own lookups, too, for a moment.
        assert wait_until(lambda: open_sockets() == before)
        assert threading.active_count() == threads


def test_equal_questions_of_one_moment_are_one_lookup(peers: tuple[Peer, ...], registries: object) -> None:
    """Also if a registry is silent: no caller waits for it again."""
    asked = []
    network = network_of(None, peers)
    with Resolver(network, timeout=0.5) as resolver:
        from mddns.directory.peer_memory import Memory

        memory = resolver._inquirer.directory.memory
        assert isinstance(memory, Memory)
        with hostile(peers[3], lambda wire, reply: asked.append(wire)):
            resolver.resolve("warm up")
            memory.answered(peers[3].id, clock.now(), 0.001)
            asked.clear()
            found = []
            threads = [threading.Thread(target=lambda: found.append(resolver.resolve("web"))) for _ in range(12)]
            begun = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert time.monotonic() - begun < 1.5
    assert len(asked) <= 2  # one query, retransmitted once
    assert {(len(each), each.silent) for each in found} == {(2, ("host4",))}


def test_a_silent_registry_is_named_and_strict_makes_it_an_error(peers: tuple[Peer, ...], registries: object) -> None:
    for strict in (False, True):
        with Resolver(network_of(None, peers), timeout=0.2, strict=strict) as resolver:
            resolver.resolve("web")
            resolver._inquirer.directory.memory.answered(peers[3].id, clock.now(), 0.001)
            with hostile(peers[3], lambda wire, reply: None):
                if strict:
                    with pytest.raises(Incomplete, match="1 of 4 peers was silent: host4") as caught:
                        resolver.resolve("db")
                    assert caught.value.silent == ("host4",)
                else:
                    found = resolver.resolve("db")
                    assert (len(found), found.complete, found.silent) == (1, False, ("host4",))


def test_the_network_is_read_every_5_seconds_and_not_for_each_question(
    peers: tuple[Peer, ...], registries: object
) -> None:
    network = network_of(None, peers)
    with Resolver(network) as resolver:
        for name in ("a", "b", "c", "d"):
            resolver.resolve(name)
        assert network.reads == 1
        resolver._seen -= 5.0
        resolver.resolve("e")
        assert network.reads == 2


def test_a_network_that_cannot_be_read_is_an_error_for_everybody_and_then_forgotten(peers: tuple[Peer, ...]) -> None:
    class Broken(Fixed):
        def read(self, timeout: float) -> Snapshot:
            self.reads += 1
            raise NetworkError("no network")

    with Resolver(Broken(None, peers)) as resolver:
        for name in ("a", "b", "a"):
            with pytest.raises(NetworkError, match="no network"):
                resolver.resolve(name)
        assert resolver._flights == {}


def test_module_functions_use_one_resolver_that_is_made_at_first_use(
    peers: tuple[Peer, ...], registries: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mddns
    from mddns import default

    spec = "static:" + ",".join(f"host{n}={each.addresses[0]}:{each.port}" for n, each in enumerate(peers, 1))
    monkeypatch.setenv("MDDNS_NETWORK", spec)
    mddns.close()
    assert default._resolver is None
    try:
        assert mddns.find_service("web", {"env": "prod"}) == f"{peers[0].addresses[0]}:80"
        made = default._resolver
        assert len(mddns.resolve("web")) == 2
        assert len(mddns.list_services()) == 63
        assert default._resolver is made
    finally:
        mddns.close()
    assert default._resolver is None
    mddns.close()


# While the machine sleeps


class Sleepy:
    """The clock of a machine that sleeps when the test says so; it replaces the module `mddns.system.clock`."""

    AWAY = clock.AWAY

    def __init__(self) -> None:
        self.slept = self.told = 0.0

    def now(self) -> float:
        return clock.now() + self.slept

    def Naps(self) -> Sleepy:  # noqa: N802 - the name of the class that it replaces
        return self

    def taken(self) -> float:
        nap, self.told = self.slept - self.told, self.slept
        return nap


@pytest.fixture
def sleepy(monkeypatch: pytest.MonkeyPatch) -> Sleepy:
    made = Sleepy()
    monkeypatch.setattr("mddns.resolver.clock", made)
    return made


def test_a_registry_that_was_silent_before_we_slept_is_not_gone_when_we_wake(
    peers: tuple[Peer, ...], registries: object, sleepy: Sleepy
) -> None:
    network = network_of(None, peers)
    with hostile(peers[3], lambda wire, reply: None), Resolver(network, timeout=0.2) as resolver:
        resolver._inquirer.directory.memory.answered(peers[3].id, sleepy.now(), 0.001)
        assert resolver.resolve("web").silent == ("host4",)
        reads = network.reads
        sleepy.slept += 600.0
        found = resolver.resolve("web")
        assert (len(found), found.silent) == (2, ("host4",))
        assert network.reads == reads + 1


def test_a_lookup_in_which_we_fell_asleep_begins_anew_when_we_wake(
    peers: tuple[Peer, ...], registries: object, sleepy: Sleepy
) -> None:
    """No answer could arrive during the sleep, so no peer counts as silent."""
    asked: list[bytes] = []

    def sleep_at_first(wire: bytes, reply: object) -> None:
        asked.append(wire)
        sleepy.slept += 600.0 if len(asked) == 1 else 0.0

    with hostile(peers[3], sleep_at_first), Resolver(network_of(None, peers), timeout=1.0) as resolver:
        memory = resolver._inquirer.directory.memory
        memory.answered(peers[3].id, sleepy.now(), 0.001)
        assert len(resolver.resolve("web")) == 2
    assert len({wire[:2] for wire in asked}) == 2  # a second lookup has other message ids
