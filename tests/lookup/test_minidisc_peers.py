"""Peers without DNS are asked for Minidisc's list: whom, when, and what it costs where nobody has one."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from bed.process import wait_until
from loopback import address, fleet, free_port, hostile, in_thread, open_sockets
from played import ALPHA, BRAVO, CHARLIE, Fleet, Seeker, peer

from mddns.base.model import Peer
from mddns.base.names import Name
from mddns.directory.peer_memory import BESIDE_STANDS, FIRST_PAUSE, LONGEST_WITHOUT_WEB, Memory, Standing, Way
from mddns.dns.message import PTR, SRV
from mddns.lookup.asked_peer import Outcome
from mddns.lookup.datagrams import RETRY
from mddns.lookup.fanout import Lookup
from mddns.lookup.minidisc_peers import TCP_BEGINS, WEB_AT_ONCE
from mddns.lookup.patience import NEW_GRACE
from tests.lookup.test_sockets import Runner, answer_of, blocking, in_a_loop

APEX = Name.parse("minidisc.")
WEB = Name.parse("web.minidisc.").wire
LIST = Name.parse("_list.minidisc.").wire
P = "100.64.0.1:28004"


def listing(me: Peer, *ports: int, name: str = "web", **labels: str) -> bytes:
    entries = [{"name": name, "labels": labels, "addrPort": f"{me.addresses[0]}:{port}"} for port in ports]
    return json.dumps(entries).encode()


def look(
    *peers: Peer,
    way: Way = Way.REFUSED,
    standing: Standing = Standing.NEW,
    qtype: int = SRV,
    begun: float = 0.0,
    **more: Any,
) -> Lookup:
    chosen = [(each, standing) for each in peers]
    qname = WEB if qtype == SRV else LIST
    more = {"timeout": 1.0, **more}
    lists = [each.id for each in peers] if way is Way.AT_ONCE else ()
    return Lookup(APEX, qname, qtype, chosen, begun, way=lambda peer: way, lists=lists, **more)


def refuse(lookup: Lookup, *peers: Peer, now: float = 0.001) -> None:
    lookup.send(0.0)
    for each in peers:
        for one in each.route:
            lookup.failed(one, each.port, now, refused=True)
            lookup.send(now)


def ports(lookup: Lookup) -> dict[str, list[int]]:
    return {ask.peer.name: [told.port for told in ask.answer.told] for ask in lookup.asks if ask.answer}


# Decisions


def test_a_peer_that_refuses_dns_is_asked_for_its_list_at_its_ipv4_address() -> None:
    lookup = look(ALPHA)
    refuse(lookup, ALPHA)
    assert [ask.over_web for ask in lookup.web()] == ["100.64.0.1"]
    assert lookup.web() == []
    lookup.web_received(lookup.asks[0], listing(ALPHA, 80, 81, env="prod"), 0.02)
    assert (lookup.asks[0].outcome, ports(lookup), lookup.done) == (Outcome.ANSWERED, {"alpha": [80, 81]}, False)
    lookup.send(0.02)
    assert lookup.done


def test_of_a_list_the_name_that_was_asked_for_is_taken() -> None:
    lookup = look(CHARLIE)
    refuse(lookup, CHARLIE)
    body = json.loads(listing(CHARLIE, 80)) + json.loads(listing(CHARLIE, 81, name="db"))
    body += json.loads(listing(CHARLIE, 82, name="WEB"))
    lookup.web_received(lookup.web()[0], json.dumps(body).encode(), 0.02)
    assert ports(lookup) == {"charlie": [80, 82]}


def test_of_a_list_everything_is_taken_where_everything_was_asked_for() -> None:
    lookup = look(CHARLIE, qtype=PTR)
    refuse(lookup, CHARLIE)
    lookup.web_received(lookup.web()[0], listing(CHARLIE, 81, name="db"), 0.02)
    assert ports(lookup) == {"charlie": [81]}


@pytest.mark.parametrize("way", [Way.NEVER, Way.REFUSED, Way.AT_ONCE])
def test_a_silent_peer_is_asked_only_where_it_is_known_to_have_a_list(way: Way) -> None:
    lookup = look(CHARLIE, way=way)
    for now in (0.0, RETRY, 0.9):
        lookup.send(now)
        assert bool(lookup.web()) == (way is Way.AT_ONCE and now == 0.0)


def test_who_was_found_to_have_none_is_not_asked() -> None:
    lookup = look(CHARLIE, way=Way.NEVER)
    refuse(lookup, CHARLIE)
    assert lookup.web() == []
    assert lookup.asks[0].outcome is Outcome.REFUSED


def test_a_peer_without_ipv4_is_not_asked() -> None:
    six = peer("six", "fd7a::6")
    lookup = look(six)
    refuse(lookup, six)
    assert lookup.web() == []


def test_a_path_that_is_gone_is_no_refusal() -> None:
    lookup = look(CHARLIE)
    lookup.send(0.0)
    lookup.failed(CHARLIE.addresses[0], CHARLIE.port, 0.001, refused=False)
    assert lookup.web() == []
    assert lookup.asks[0].outcome is Outcome.SILENT


def test_other_questions_have_nothing_to_do_with_lists() -> None:
    lookup = Lookup(
        APEX, Name.parse("_web._tcp.minidisc.").wire, SRV, [(CHARLIE, Standing.NEW)], 0.0, timeout=1.0,
        way=lambda peer: Way.AT_ONCE, lists=[CHARLIE.id],
    )  # fmt: skip
    refuse(lookup, CHARLIE)
    assert lookup.web() == []


def test_nobody_there_ends_it_at_once() -> None:
    lookup = look(CHARLIE)
    refuse(lookup, CHARLIE)
    lookup.web_failed(lookup.web()[0], 0.002)
    assert lookup.asks[0].outcome is Outcome.REFUSED
    lookup.send(0.002)
    assert lookup.done


def test_what_is_no_list_is_as_good_as_nobody() -> None:
    lookup = look(CHARLIE)
    refuse(lookup, CHARLIE)
    lookup.web_received(lookup.web()[0], b"<html>", 0.002)
    assert lookup.asks[0].outcome is Outcome.REFUSED
    assert lookup.asks[0].listed is Outcome.REFUSED


def test_who_takes_the_connection_is_waited_for_who_does_not_is_not() -> None:
    for taken in (False, True):
        lookup = look(CHARLIE)
        refuse(lookup, CHARLIE)
        if taken:
            lookup.web_open(lookup.web()[0])
        lookup.send(0.001 + NEW_GRACE + 0.01)
        assert lookup.done is not taken
        lookup.send(1.0)
        assert lookup.done
        assert lookup.asks[0].outcome is Outcome.SILENT


def test_an_answer_over_dns_comes_first() -> None:
    fleet = Fleet(CHARLIE)
    fleet[CHARLIE].advertise("web", 443)
    fleet.lists[CHARLIE.addresses[0]] = listing(CHARLIE, 80)
    lookup = look(CHARLIE, way=Way.AT_ONCE)
    fleet.carry(lookup, 0.0)
    assert ports(lookup) == {"charlie": [443]}


def test_a_list_of_a_known_one_is_not_kept_waiting_by_rationed_refusals() -> None:
    lookup = look(CHARLIE, way=Way.AT_ONCE, standing=Standing.REGISTRY)
    lookup.send(0.0)
    lookup.web_received(lookup.web()[0], listing(CHARLIE, 80), 0.01)
    lookup.send(0.01)
    assert lookup.done
    assert ports(lookup) == {"charlie": [80]}


def test_a_known_one_that_is_gone_is_refused_although_its_kernel_says_nothing_over_udp() -> None:
    lookup = look(CHARLIE, way=Way.AT_ONCE, standing=Standing.REGISTRY)
    lookup.send(0.0)
    lookup.web_failed(lookup.web()[0], 0.01)
    lookup.send(0.1)
    assert lookup.done
    assert lookup.asks[0].outcome is Outcome.REFUSED


def test_so_many_connections_are_open_at_once_and_no_more() -> None:
    many = [peer(f"p{n}", f"100.64.{n // 250 + 1}.{n % 250 + 1}") for n in range(200)]
    lookup = look(*many)
    refuse(lookup, *many)
    first = lookup.web()
    assert len(first) == WEB_AT_ONCE
    assert lookup.web() == []
    for ask in first[:10]:
        lookup.web_failed(ask, 0.01)
    assert len(lookup.web()) == 10


def test_where_minidisc_has_tcp_its_list_makes_up_for_what_a_datagram_could_not_hold() -> None:
    """DNS on UDP, Minidisc on TCP: as on a host that is being moved."""
    fleet = Fleet(CHARLIE)
    for port in range(1, 60):
        fleet[CHARLIE].advertise("web", port, {"n": str(port)})
    query = look(CHARLIE)
    wire = query.send(0.0)[0][2]
    part = fleet[CHARLIE].octets(wire)
    assert isinstance(part, bytes)
    query.received(part, CHARLIE.addresses[0], CHARLIE.port, 0.01)
    (ask,) = query.tcp()
    query.send(RETRY)
    assert (query.web(), query.timer()) == ([], 0.01 + TCP_BEGINS)
    query.send(0.01 + TCP_BEGINS)
    query.web_received(query.web()[0], listing(CHARLIE, *range(1, 70)), 0.03)
    assert ask.outcome is Outcome.ANSWERED
    assert ask.answer is not None
    assert sorted(told.port for told in ask.answer.told) == list(range(1, 70))
    assert not ask.answer.partial


def test_where_it_is_known_to_have_tcp_no_dns_is_tried_there() -> None:
    """Minidisc's Python would wait for the rest of a request, and answer nobody else meanwhile."""
    fleet = Fleet(CHARLIE)
    for port in range(1, 60):
        fleet[CHARLIE].advertise("web", port)
    for listed_first in (True, False):
        lookup = look(CHARLIE, way=Way.AT_ONCE)
        part = fleet[CHARLIE].octets(lookup.send(0.0)[0][2])
        assert isinstance(part, bytes)
        ask = lookup.web()[0]
        if listed_first:
            lookup.web_failed(ask, 0.005)
        lookup.received(part, CHARLIE.addresses[0], CHARLIE.port, 0.01)
        assert lookup.tcp() == []
        if not listed_first:
            lookup.web_received(ask, listing(CHARLIE, *range(1, 60)), 0.02)
            assert len(ports(lookup)["charlie"]) == 59
        assert ask.outcome is (Outcome.SILENT if listed_first else Outcome.ANSWERED)


# Memory


def test_who_has_no_list_is_left_alone_for_twice_as_long_each_time_up_to_a_minute() -> None:
    memory, now = Memory(), 100.0
    assert memory.way(P, now) is Way.REFUSED
    pauses = []
    for _ in range(6):
        memory.refused(P, now)
        memory.without_web(P, now)
        pause = next(wait for wait in range(1, 400) if memory.way(P, now + wait) is Way.REFUSED)
        pauses.append(pause)
        now += pause
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert (FIRST_PAUSE, LONGEST_WITHOUT_WEB) == (5.0, 60.0)


def test_a_node_asks_again_when_a_list_may_be_there_for_who_starts_minidisc_greets_nobody() -> None:
    memory = Memory()
    for _ in range(8):
        memory.refused(P, 0.0)
    assert memory.paused_until(P) == 300.0
    for _ in range(8):
        memory.without_web(P, 0.0)
    assert memory.paused_until(P) == 60.0


def test_who_listed_is_asked_for_its_list_at_once_until_dns_alone_answers() -> None:
    memory = Memory()
    memory.answered(P, 0.0, 0.01, web=True, dns=False)
    assert memory.way(P, 1e6) is Way.AT_ONCE
    assert memory.standing(P, 1.0) is Standing.REGISTRY
    memory.missed(P, 10.0)
    assert memory.way(P, 11.0) is Way.AT_ONCE
    memory.answered(P, 12.0, 0.01)
    assert memory.way(P, 13.0) is Way.REFUSED


def test_that_minidisc_has_tcp_beside_dns_is_believed_for_a_minute() -> None:
    memory = Memory()
    memory.answered(P, 0.0, 0.01, web=True)
    memory.answered(P, 10.0, 0.01)  # a small answer, which needed no TCP
    assert memory.way(P, BESIDE_STANDS - 1) is Way.AT_ONCE
    assert memory.way(P, BESIDE_STANDS) is Way.REFUSED


@pytest.mark.parametrize("dns", [False, True])
def test_ways_are_remembered(dns: bool) -> None:
    memory = Memory()
    memory.answered(P, 5.0, 0.01, web=True, dns=dns)
    memory.without_web("100.64.0.2:28004", 5.0)
    stored = json.loads(json.dumps(memory.to_json(6.0, 2_000_000_000.0)))
    again = Memory.from_json(stored, 1006.0, 2_000_000_001.0)
    assert again.way(P, 1007.0) is Way.AT_ONCE
    assert again.way(P, 1100.0) is (Way.REFUSED if dns else Way.AT_ONCE)
    assert again.way("100.64.0.2:28004", 1006.0) is Way.NEVER
    assert again.way("100.64.0.2:28004", 1011.0) is Way.REFUSED


@pytest.mark.parametrize(
    "entry",
    [
        {"web": True},
        {"web": math.inf},
        {"web": "x"},
        {"webPause": 1e9, "webPausedUntil": 1e12},
        {"webPause": "5", "webPausedUntil": None},
    ],
)
def test_what_makes_no_sense_is_not_remembered(entry: dict[str, Any]) -> None:
    memory = Memory.from_json({"version": 1, "peers": {P: entry}}, 0.0, 2e9)
    assert memory.way(P, 0.0) is Way.REFUSED


def test_a_lookup_is_learnt_from() -> None:
    """One refuses both, one lists, one answers DNS: the second time the first is not asked by HTTP any more."""
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    fleet[ALPHA].advertise("web", 443)
    fleet.refusing.update((*BRAVO.addresses, *CHARLIE.addresses))
    fleet.lists[BRAVO.addresses[0]] = listing(BRAVO, 80, env="prod")
    seeker = Seeker(fleet)
    found = seeker.find("web")
    assert {str(each.endpoint): each.instance for each in found.services} == {
        "100.64.0.1:443": "alpha-443",
        "100.64.0.2:80": "bravo-80",
    }
    assert (found.answered, found.refused, found.silent) == (2, 1, ())
    assert sorted(fleet.listed) == [BRAVO.addresses[0], CHARLIE.addresses[0]]
    fleet.listed.clear()
    assert len(seeker.find("db", 2.0).services) == 0
    assert fleet.listed == [BRAVO.addresses[0]]


# Sockets


@pytest.fixture(params=[blocking, in_a_loop])
def carry(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner


def minidisc(me: Peer, reply: Callable[[socket.socket], None]) -> Any:
    """TCP alone, as Minidisc has it: UDP refuses."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((me.addresses[0], me.port))
    listener.listen(16)
    listener.settimeout(0.02)

    def serve(stop: Any) -> None:
        with listener:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(2)
                    try:
                        reply(connection)
                    except OSError:
                        continue

    return in_thread(serve)


def says(octets: bytes, heard: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    def reply(connection: socket.socket) -> None:
        request = connection.recv(4096)
        if heard is not None:
            heard.append(request)
        connection.sendall(octets)

    return reply


def http(body: bytes, *fields: str) -> bytes:
    head = "\r\n".join(("HTTP/1.0 200 OK", "Content-Type: application/json", *fields))
    return head.encode() + b"\r\n\r\n" + body


def real(*peers: Peer, timeout: float = 5.0, **more: Any) -> Lookup:
    return look(*peers, timeout=timeout, begun=time.monotonic(), **more)


def test_a_peer_that_has_a_list_and_no_dns_is_found(carry: Runner) -> None:
    me, nobody = fleet(2)
    heard: list[bytes] = []
    before = open_sockets()
    with minidisc(me, says(http(listing(me, 80, env="prod")), heard)):
        sockets = open_sockets()
        lookup = real(me, nobody)
        carry(lookup)
        assert open_sockets() <= sockets
    assert wait_until(lambda: open_sockets() <= before)
    assert ports(lookup) == {"host1": [80]}
    assert [ask.outcome for ask in lookup.asks] == [Outcome.ANSWERED, Outcome.REFUSED]
    assert heard[0].splitlines()[:2] == [b"GET /services HTTP/1.0", f"Host: {me.id}".encode()]


def test_a_list_whose_length_is_told_is_not_waited_for_longer(carry: Runner) -> None:
    (me,) = fleet(1)
    body = listing(me, 80)

    def reply(connection: socket.socket) -> None:
        says(http(body, f"Content-Length: {len(body)}"))(connection)
        connection.settimeout(4)
        connection.recv(1)

    with minidisc(me, reply):
        lookup = real(me)
        begun = time.monotonic()
        carry(lookup)
        assert time.monotonic() - begun < 2.0
    assert ports(lookup) == {"host1": [80]}


def dribble(connection: socket.socket) -> None:
    connection.recv(4096)
    for octet in http(b"[" + b" " * 5000):
        connection.sendall(bytes((octet,)))
        time.sleep(0.01)


def flood(connection: socket.socket) -> None:
    connection.recv(4096)
    for _ in range(200):
        connection.sendall(http(b"[" + b" " * (1 << 16)))


TRICKS: dict[str, Callable[[socket.socket], None]] = {
    "closes": lambda connection: None,
    "not http": says(b"SSH-2.0-OpenSSH\r\n"),
    "not found": says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    "elsewhere": says(b"HTTP/1.1 302 Found\r\nLocation: http://100.64.0.9/\r\n\r\n"),
    "page": says(http(b"<html>")),
    "broken off": says(http(b'[{"name": "web"')),
    "deep": says(http(b"[" * 50_000)),
    "nothing": lambda connection: time.sleep(1.2),
    "dribble": dribble,
    "flood": flood,
    "dns": says(b"\0\x0c" + bytes(12)),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_one_bad_list_costs_its_own_answer_alone(carry: Runner, trick: str) -> None:
    good, bad = fleet(2)
    with minidisc(good, says(http(listing(good, 80)))), minidisc(bad, TRICKS[trick]):
        lookup = real(good, bad, timeout=1.0)
        begun = time.monotonic()
        carry(lookup)
        assert time.monotonic() - begun < 1.5
    assert ports(lookup) == {"host1": [80]}
    assert lookup.asks[1].outcome in (Outcome.REFUSED, Outcome.SILENT)


def test_minidisc_on_tcp_beside_dns_on_udp(carry: Runner) -> None:
    """The fallback over real sockets, in the same lookup."""
    from played import Host

    (me,) = fleet(1)
    host = Host(me)
    for port in range(1, 60):
        host.advertise("web", port)

    def udp(wire: bytes, reply: Callable[[bytes], None]) -> None:
        reply(answer_of(host, wire, tcp=False))

    def tcp(connection: socket.socket) -> None:
        said = connection.recv(4096)
        if said.startswith(b"GET "):
            connection.sendall(http(listing(me, *range(1, 60))))
        else:
            assert connection.recv(1) == b""  # as Minidisc's Python: until the line ends, and nobody else meanwhile

    with hostile(me, udp, tcp):
        lookup = real(me)
        carry(lookup)
    assert lookup.asks[0].listed is Outcome.ANSWERED
    assert sorted(ports(lookup)["host1"]) == list(range(1, 60))


@pytest.fixture
def hundred() -> tuple[Peer, ...]:
    port = free_port()
    return tuple(Peer(f"p{n}", (address(),), port) for n in range(100))


def test_a_network_without_lists_is_asked_for_them_once(
    hundred: tuple[Peer, ...], measured: Callable[..., None]
) -> None:
    """What it costs is told at the end of the run: 100 peers that refuse, before, the first time, and after."""
    took: dict[Way, list[float]] = {Way.NEVER: [], Way.REFUSED: []}
    for _ in range(5):
        for way, times in took.items():
            lookup = real(*hundred, way=way)
            begun = time.monotonic()
            blocking(lookup)
            times.append(1000 * (time.monotonic() - begun))
            assert {ask.outcome for ask in lookup.asks} == {Outcome.REFUSED}
    never, tried = (sorted(times)[2] for times in took.values())
    measured(f"fan-out to 100 refusing peers: {never:.1f} ms; {tried:.1f} ms where each is tried by HTTP as well")


def test_a_cancelled_lookup_closes_its_connections() -> None:
    (me,) = fleet(1)

    async def cancelled() -> None:
        from mddns.lookup import asyncio_sockets

        task = asyncio.create_task(asyncio_sockets.run(real(me), time.monotonic))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with minidisc(me, TRICKS["nothing"]):
        before = open_sockets()
        asyncio.run(cancelled())
        assert wait_until(lambda: open_sockets() <= before)
