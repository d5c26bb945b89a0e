"""Registries of blocking programs, on real sockets, queried by dnspython."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from bed.process import wait_until
from loopback import Fixed, address, answers, ask, fleet, free_port, network_of, nobody_is_paused, open_sockets

import mddns
from mddns import Error, InvalidService, NetworkError, PortInUse, start_registry
from mddns.base.model import Peer
from mddns.sync import Registry


@pytest.fixture
def peers() -> tuple[Peer, ...]:
    return fleet(3)


@pytest.fixture
def registry(peers: tuple[Peer, ...]) -> Iterator[Registry]:
    with start_registry(network_of(peers[0], peers), port=peers[0].port) as started:
        yield started


def test_queries_are_answered_over_udp_and_tcp_when_start_registry_returns(peers: tuple[Peer, ...]) -> None:
    for _ in range(5):
        with start_registry(network_of(peers[0], peers), port=peers[0].port):
            for tcp in (False, True):
                assert answers(peers[0], "_mddns TXT", tcp=tcp) == {'_mddns.minidisc. 5 IN TXT "md.v=1"'}


@pytest.mark.usefixtures("registry")
def test_a_node_leaves_the_port_of_other_addresses_to_others(peers: tuple[Peer, ...]) -> None:
    """A socket that is bound to a wildcard address would take the port at every address."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(type=kind) as other:
            other.bind((peers[1].addresses[0], peers[1].port))


def test_what_is_advertised_is_answered_when_the_call_returns(registry: Registry, peers: tuple[Peer, ...]) -> None:
    for port in range(1, 30):
        registry.advertise_service(port, "web", {"n": f"{port}"}, priority=port)
        assert f"web.minidisc. 5 IN SRV {port} 10 {port} host1-{port}.web.minidisc." in answers(
            peers[0], "web SRV", tcp=True
        )


def test_a_handle_changes_and_withdraws(registry: Registry, peers: tuple[Peer, ...]) -> None:
    web = registry.advertise_service(80, "web", {"v": "1"})
    since = web.service.since
    web.update({"v": "2"})
    assert answers(peers[0], "web TXT") == {'web.minidisc. 5 IN TXT "v=2"'}
    assert (web.service.labels, web.service.since) == ({"v": "2"}, since)
    web.withdraw()
    web.withdraw()
    assert answers(peers[0], "web TXT") == set()
    with pytest.raises(KeyError):
        web.update({})


def test_remote_services_and_unlist(registry: Registry, peers: tuple[Peer, ...]) -> None:
    registry.advertise_remote_service("100.64.0.9:5432", "db")
    registry.advertise_service(5432, "proxy")
    registry.unlist_service(5432)
    assert [each.name for each in registry.services()] == ["db"]
    assert answers(peers[0], "db A") == {"db.minidisc. 5 IN A 100.64.0.9"}
    with pytest.raises(KeyError, match="5432"):
        registry.unlist_service(5432)


@pytest.mark.parametrize(
    ("port", "name", "labels", "says"),
    [
        (0, "web", {}, "port 0"),
        (65536, "web", {}, "port 65536"),
        (80, "*", {}, "service name"),
        (80, "x" * 63, {}, "63 octets"),
        (80, "web", {"md.x": "1"}, "md."),
        (80, "web", {"a=b": "1"}, "="),
        (80, "web", {"k": "v" * 254}, "256 octets"),
    ],
)
def test_what_cannot_be_offered_is_refused_and_nothing_is_offered(
    registry: Registry, port: int, name: str, labels: dict[str, str], says: str
) -> None:
    with pytest.raises(InvalidService, match=says):
        registry.advertise_service(port, name, labels)
    assert registry.services() == []


@pytest.mark.parametrize("text", ["8080", ":8080", "web:80", "100.64.0.1", "0.0.0.0:80"])
def test_a_remote_service_needs_an_address(registry: Registry, text: str) -> None:
    with pytest.raises(InvalidService, match="address"):
        registry.advertise_remote_service(text, "web")


def test_another_programs_port_is_an_error_at_once(peers: tuple[Peer, ...]) -> None:
    me = peers[0]
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind((me.addresses[0], me.port))
            if kind is socket.SOCK_STREAM:
                other.listen()
            else:
                with pytest.raises(PortInUse, match=f"in use by another program.*pid {os.getpid()}"):
                    start_registry(network_of(me, peers), port=me.port)
    with start_registry(network_of(me, peers), port=me.port):
        pass  # afterwards the port is free


def test_a_network_that_this_machine_is_not_part_of_is_an_error() -> None:
    with pytest.raises(NetworkError, match="--address"):
        start_registry(network_of(None, fleet(2)))
    with pytest.raises(NetworkError, match=r"203\.0\.113\.7 is no address of this machine"):
        start_registry(network_of(Peer("elsewhere", ("203.0.113.7",), free_port()), ()))


def test_close_frees_port_sockets_and_thread(peers: tuple[Peer, ...]) -> None:
    gc.collect()
    sockets, threads = open_sockets(), threading.active_count()
    registry = start_registry(network_of(peers[0], peers), port=peers[0].port)
    registry.advertise_service(80, "web")
    ask(peers[0], "web SRV", rd=True)
    with socket.create_connection((peers[0].addresses[0], peers[0].port)) as idle:
        idle.settimeout(5)
        registry.close()
        assert idle.recv(1) == b"" or True
    registry.close()
    assert wait_until(lambda: open_sockets() == sockets)
    assert threading.active_count() == threads
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind is socket.SOCK_STREAM))
            again.bind((peers[0].addresses[0], peers[0].port))


def test_a_closed_registry_says_so(peers: tuple[Peer, ...]) -> None:
    registry = start_registry(network_of(peers[0], peers), port=peers[0].port)
    registry.close()
    with pytest.raises(Error, match="closed"):
        registry.advertise_service(80, "web")


def test_a_registry_that_could_not_start_leaves_nothing() -> None:
    gc.collect()
    sockets, threads = open_sockets(), threading.active_count()
    with pytest.raises(NetworkError):
        start_registry(network_of(Peer("elsewhere", ("203.0.113.7",), free_port()), ()))
    assert threading.active_count() == threads
    assert open_sockets() == sockets


def test_many_threads_may_advertise_at_once(registry: Registry) -> None:
    def advertise(first: int) -> None:
        for port in range(first, first + 20):
            registry.advertise_service(port, "web", {"n": f"{port}"})

    threads = [threading.Thread(target=advertise, args=(1 + 20 * n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.endpoint.port for each in registry.services()) == list(range(1, 101))


def test_rd_1_asks_the_peers_and_rd_0_does_not(peers: tuple[Peer, ...]) -> None:
    with (
        nobody_is_paused(),
        start_registry(network_of(peers[0], peers), port=peers[0].port) as first,
        start_registry(network_of(peers[1], peers), port=peers[1].port) as second,
    ):
        first.advertise_service(1, "web")
        second.advertise_service(2, "web")
        one = "web.minidisc. 5 IN SRV 10 10 1 host1-1.web.minidisc."
        other = "web.minidisc. 5 IN SRV 10 10 2 host2-2.web.minidisc."
        assert answers(peers[0], "web SRV") == {one}
        both = without_ttl({one, other})
        for each in peers[:2]:
            # Its data about the other node, from before that had a service, stays fresh for one TTL.
            assert wait_until(lambda at=each: without_ttl(answers(at, "web SRV", rd=True)) == both, 10)


def without_ttl(lines: set[str]) -> set[tuple[str, str]]:
    return {(line.split(" ", 2)[0], line.split(" ", 2)[2]) for line in lines}


def test_many_questions_of_one_moment_share_one_fan_out(peers: tuple[Peer, ...]) -> None:
    from loopback import hostile

    asked: list[bytes] = []
    peer = peers[1]
    with start_registry(network_of(peers[0], (peers[0], peer)), port=peers[0].port, timeout=0.4):
        wait_until(lambda: False, 0.05)  # no program is at the other address, so the kernel refuses its first query
        with hostile(peer, lambda wire, reply: asked.append(wire)):
            threads = [
                threading.Thread(target=ask, args=(peers[0], f"n{n} SRV"), kwargs={"rd": True}) for n in range(30)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(asked) <= 4  # one fan-out, retransmissions counted


def test_all_of_the_packages_names_are_there() -> None:
    for name in mddns.__all__:
        assert getattr(mddns, name) is not None


def test_static_loopback_works_without_anything_else() -> None:
    place, port = address(), free_port()
    with start_registry(f"static:{place}:{port}") as registry:
        registry.advertise_service(80, "web")
        assert registry.addresses == (place,)
        assert answers(Peer("", (place,), port), "web A") == {f"web.minidisc. 5 IN A {place}"}


def test_another_domain_and_address(peers: tuple[Peer, ...]) -> None:
    place, port = address(), free_port()
    with start_registry(f"static:{place}", address=place, port=port, domain="example.internal") as registry:
        registry.advertise_service(80, "web")
        peer = Peer("", (place,), port)
        assert answers(peer, "web.example.internal. A") == {f"web.example.internal. 5 IN A {place}"}
        assert ask(peer, "web.minidisc. A").rcode() == 5


def test_a_network_that_fails_for_a_while_is_waited_for_if_asked(peers: tuple[Peer, ...]) -> None:
    class Late(Fixed):
        async def aread(self, timeout: float):  # type: ignore[no-untyped-def]
            if self.reads < 1:
                self.reads += 1
                raise NetworkError("not yet")
            return self.read(timeout)

    with pytest.raises(NetworkError, match="not yet"):
        start_registry(Late(peers[0], peers[1:]), port=peers[0].port)
    with start_registry(Late(peers[0], peers[1:]), port=peers[0].port, wait=5.0) as registry:
        assert registry.addresses == peers[0].addresses
