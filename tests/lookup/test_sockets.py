"""A lookup over real sockets, blocking and in an event loop; honest peers, silent ones, and hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bed.process import wait_until
from loopback import TcpTrick, UdpTrick, address, fleet, free_port, hostile, in_thread, open_sockets, read_query
from played import APEX, Host, question

from mddns.base.model import Peer
from mddns.base.names import Name
from mddns.directory.peer_memory import Standing
from mddns.dns.message import PTR, SRV
from mddns.lookup import asyncio_sockets, sockets
from mddns.lookup.asked_peer import Outcome
from mddns.lookup.fanout import Lookup
from mddns.responder.responder import client

WEB = Name.parse("web.minidisc.").wire
LIST = Name.parse("_list.minidisc.").wire

Runner = Callable[[Lookup], None]


def blocking(lookup: Lookup) -> None:
    sockets.run(lookup, time.monotonic)


def in_a_loop(lookup: Lookup) -> None:
    asyncio.run(asyncio_sockets.run(lookup, time.monotonic))


def at_once(lookup: Lookup) -> None:
    """As thousands are asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sockets, "MANY", 1)
        blocking(lookup)


@pytest.fixture(params=[blocking, in_a_loop, at_once])
def carry(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner


def look(*peers: Peer, standing: Standing = Standing.REGISTRY, timeout: float = 5.0, qtype: int = SRV) -> Lookup:
    chosen = [(peer, standing) for peer in peers]
    return Lookup(APEX, WEB if qtype == SRV else LIST, qtype, chosen, time.monotonic(), timeout=timeout)


def answer_of(host: Host, wire: bytes, *, tcp: bool) -> bytes:
    """What an honest host of no size limits says over loopback: as over a tailnet, so that TC is met."""
    answer = host.responder.respond(wire, client("100.64.0.99", frozenset(), tcp=tcp), 0.0)
    assert isinstance(answer, bytes)
    return answer


@contextlib.contextmanager
def honest(*peers: Peer, services: int = 1) -> Iterator[None]:
    """Honest responders at these peers, which offer `services` services each, all of them web."""
    with contextlib.ExitStack() as stack:
        for number, each in enumerate(peers):
            host = Host(each)
            for port in range(services):
                host.advertise("web", 1000 + number + 100 * port, {"on": each.name})
            stack.enter_context(hostile(each, *tricks_of(host)))
        yield


def tricks_of(host: Host) -> tuple[UdpTrick, TcpTrick]:
    def udp(wire: bytes, reply: Callable[[bytes], None]) -> None:
        reply(answer_of(host, wire, tcp=False))

    def tcp(connection: socket.socket) -> None:
        answer = answer_of(host, read_query(connection), tcp=True)
        connection.sendall(len(answer).to_bytes(2, "big") + answer)

    return udp, tcp


def found(lookup: Lookup) -> dict[str, list[int]]:
    """By peer, the ports it told of."""
    return {
        ask.peer.name: sorted(told.port for told in ask.answer.told)
        for ask in lookup.asks
        if ask.answer and ask.outcome is Outcome.ANSWERED
    }


def test_all_peers_are_asked_and_answer(carry: Runner) -> None:
    peers = fleet(10)
    with honest(*peers):
        lookup = look(*peers)
        carry(lookup)
    assert found(lookup) == {f"host{n + 1}": [1000 + n] for n in range(10)}
    assert all(ask.rtt is not None and 0 < ask.rtt < 5 for ask in lookup.asks)


def test_what_no_datagram_holds_comes_over_tcp(carry: Runner) -> None:
    peers = fleet(3)
    with honest(*peers, services=60):
        for qtype in (SRV, PTR):
            lookup = look(*peers, qtype=qtype)
            carry(lookup)
            assert {name: len(ports) for name, ports in found(lookup).items()} == {f"host{n}": 60 for n in (1, 2, 3)}


def test_nobody_there_is_a_refusal_at_once(carry: Runner) -> None:
    """Told by the kernel's error queue; without it this would take the whole timeout."""
    peers = fleet(5)
    begun = time.monotonic()
    lookup = look(*peers)
    carry(lookup)
    assert {ask.outcome for ask in lookup.asks} == {Outcome.REFUSED}
    assert time.monotonic() - begun < 2.0


def test_one_refusal_does_not_lose_anothers_answer(carry: Runner) -> None:
    port = free_port()
    absent, present = fleet(20, port), fleet(20, port)
    mixed = [each for pair in zip(absent, present, strict=True) for each in pair]
    with honest(*present):
        lookup = look(*mixed)
        carry(lookup)
    outcomes = [ask.outcome for ask in lookup.asks]
    assert outcomes == [Outcome.REFUSED, Outcome.ANSWERED] * 20


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_refusal_counts_wherever_in_a_burst_it_is_told_of(carry: Runner, place: int) -> None:
    """The kernel tells of it to whoever sends next; a silent peer keeps the lookup waiting for it."""
    peers = fleet(3)
    with contextlib.ExitStack() as stack:
        for number, each in enumerate(peers):
            if number != place:
                stack.enter_context(hostile(each, lambda wire, reply: None))
        lookup = look(*peers, timeout=0.3)
        carry(lookup)
    assert [ask.outcome for ask in lookup.asks if ask.peer is peers[place]] == [Outcome.REFUSED]


def test_the_timeout_holds_against_silence(carry: Runner) -> None:
    peers = fleet(2)
    with hostile(peers[0], lambda wire, reply: None), hostile(peers[1], lambda wire, reply: None):
        begun = time.monotonic()
        lookup = look(*peers, timeout=0.2)
        carry(lookup)
        seconds = time.monotonic() - begun
    assert {ask.outcome for ask in lookup.asks} == {Outcome.SILENT}
    assert 0.19 < seconds < 1.5


def test_an_address_that_has_no_route_is_silence(carry: Runner) -> None:
    lookup = look(
        Peer("nowhere", ("fd7a:115c:a1e0::dead",), 9), Peer("broadcast", ("255.255.255.255",), 9), timeout=1.0
    )
    carry(lookup)
    assert not lookup.outcomes(Outcome.ANSWERED)


def test_tcp_that_nobody_accepts_costs_that_peer_alone(carry: Runner) -> None:
    good, bad = fleet(2)
    with honest(good), hostile_udp_only(bad):
        lookup = look(good, bad)
        carry(lookup)
    assert found(lookup) == {"host1": [1000]}
    assert lookup.asks[1].outcome is Outcome.SILENT


@contextlib.contextmanager
def hostile_udp_only(peer: Peer) -> Iterator[None]:
    """Truncated over UDP, and no TCP at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((peer.addresses[0], peer.port))
        sock.settimeout(0.02)

        def work(stop: Any) -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    wire, source = sock.recvfrom(65535)
                    sock.sendto(truncated(wire), source)

        with in_thread(work):
            yield


# What bad peers do. Each of them is one of 21; the other 20 are as if it were not there.


def truncated(wire: bytes) -> bytes:
    return wire[:2] + bytes((0x86, 0x80)) + wire[4:]


def good_answer(wire: bytes, *, tcp: bool = False) -> bytes:
    host = Host(Peer("rogue", ("127.0.0.66",)))
    host.advertise("web", 666)
    return answer_of(host, wire, tcp=tcp)


def say(make: Callable[[bytes], bytes]) -> UdpTrick:
    return lambda wire, reply: reply(make(wire))


def flood(wire: bytes, reply: Callable[[bytes], None]) -> None:
    for number in range(300):
        reply(wire[:2] + b"\x84\0\0\1\xff\xff\0\0\0\0" + wire[12:-11] + number.to_bytes(4, "big") * 200)


def pointer_loop(wire: bytes) -> bytes:
    return wire[:2] + b"\x84\x00\0\1\0\1\0\0\0\0" + wire[12:-11] + b"\xc0" + bytes((len(wire) - 11,)) + bytes(10)


def bomb(wire: bytes) -> bytes:
    body = b"".join(b"\xc0\x0c\0\x10\0\1\0\0\0\5\0\1\0" for _ in range(4000))
    return wire[:2] + b"\x84\0\0\1" + struct.pack("!3H", 4000, 0, 0) + wire[12:-11] + body


UDP_TRICKS: dict[str, UdpTrick] = {
    "silent": lambda wire, reply: None,
    "wrong id": say(lambda wire: bytes((wire[0] ^ 1,)) + good_answer(wire)[1:]),
    "wrong question": say(lambda wire: good_answer(wire).replace(b"\3web", b"\3wex", 1)),
    "the question itself": say(lambda wire: wire),
    "garbage": say(lambda wire: os.urandom(300)),
    "id and garbage": say(lambda wire: wire[:2] + os.urandom(600)),
    "cut": say(lambda wire: good_answer(wire)[:-7]),
    "empty": say(lambda wire: b""),
    "pointer loop": say(pointer_loop),
    "bomb": say(bomb),
    "flood": flood,
    "servfail": say(lambda wire: wire[:2] + b"\x80\x02" + wire[4:]),
    "refused": say(lambda wire: wire[:2] + b"\x80\x05" + wire[4:]),
    "records of others": say(lambda wire: good_answer(wire).replace(b"rogue-666", b"host1-100")),
}


def garbage(connection: socket.socket) -> None:
    read_query(connection)
    connection.sendall(os.urandom(100_000))


def dribble(connection: socket.socket) -> None:
    answer = good_answer(read_query(connection), tcp=True)
    for octet in len(answer).to_bytes(2, "big") + answer:
        connection.sendall(bytes((octet,)))
        time.sleep(0.05)


def hang(connection: socket.socket) -> None:
    with contextlib.suppress(TimeoutError):
        read_query(connection)
        connection.recv(1)


def truncated_again(connection: socket.socket) -> None:
    answer = truncated(read_query(connection))
    connection.sendall(len(answer).to_bytes(2, "big") + answer)


def too_long(connection: socket.socket) -> None:
    read_query(connection)
    connection.sendall(b"\xff\xff" + bytes(65_000))


def another_answer(connection: socket.socket) -> None:
    answer = good_answer(question("db SRV"), tcp=True)
    connection.sendall(len(answer).to_bytes(2, "big") + answer)


TCP_TRICKS: dict[str, TcpTrick] = {
    "closes at once": lambda connection: None,
    "garbage over TCP": garbage,
    "dribbles over TCP": dribble,
    "hangs over TCP": hang,
    "truncated over TCP": truncated_again,
    "too long over TCP": too_long,
    "another answer over TCP": another_answer,
}


@pytest.fixture(scope="module")
def twenty() -> Iterator[tuple[Peer, ...]]:
    peers = fleet(20)
    with honest(*peers):
        yield peers


@pytest.mark.parametrize("trick", [*UDP_TRICKS, *TCP_TRICKS])
def test_a_hostile_peer_costs_its_own_answer_and_no_more(twenty: tuple[Peer, ...], trick: str) -> None:
    """The honest ones' answers are equal to a run without it, within the deadline."""
    lookup = look(*twenty)
    blocking(lookup)
    expected = found(lookup)
    assert len(expected) == 20
    rogue = Peer("rogue", (address(),), twenty[0].port)
    udp = UDP_TRICKS.get(trick, say(truncated))
    with hostile(rogue, udp, TCP_TRICKS.get(trick)):
        lookup = look(rogue, *twenty, timeout=0.3)
        begun = time.monotonic()
        blocking(lookup)
        assert time.monotonic() - begun < 10.0  # its answer has 0.3 s; a busy machine has its own pace
    outcome = found(lookup)
    theirs = outcome.pop("rogue", [])
    assert outcome == expected
    # What it says of itself is its own affair; of others nothing is taken.
    told = [one for ask in lookup.asks if ask.peer is rogue and ask.answer for one in ask.answer.told]
    assert theirs == [] or all(one.addresses == ("127.0.0.66",) for one in told)


def test_a_right_answer_from_another_source_is_not_believed(twenty: tuple[Peer, ...]) -> None:
    """Off the path, with id and question guessed right: the source is what is wrong."""
    rogue, other = Peer("rogue", (address(),), twenty[0].port), address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind((other, twenty[0].port))
        source_of: dict[str, tuple[str, int]] = {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.bind((rogue.addresses[0], rogue.port))
            asked.settimeout(0.02)

            def work(stop: Any) -> None:
                while not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        wire, source = asked.recvfrom(65535)
                        source_of["it"] = source
                        elsewhere.sendto(good_answer(wire), source)

            with in_thread(work):
                lookup = look(rogue, *twenty, timeout=0.3)
                blocking(lookup)
    assert source_of
    assert "rogue" not in found(lookup)
    assert len(found(lookup)) == 20


def test_after_bad_packets_the_right_one_is_still_taken(carry: Runner) -> None:
    (peer,) = fleet(1)

    def udp(wire: bytes, reply: Callable[[bytes], None]) -> None:
        for trick in ("wrong id", "wrong question", "garbage", "cut", "pointer loop", "the question itself"):
            UDP_TRICKS[trick](wire, reply)
        reply(good_answer(wire))

    with hostile(peer, udp):
        lookup = look(peer)
        carry(lookup)
    assert found(lookup) == {"host1": [666]}


# Nothing is left


def test_no_socket_is_left_open(carry: Runner) -> None:
    peers = fleet(4)
    with honest(peers[0], services=60), hostile_udp_only(peers[1]), hostile(peers[2], say(truncated), hang):
        before = open_sockets()
        lookup = look(*peers, timeout=0.3)
        carry(lookup)
        # The bad peers' ends of the connections are this process's, too, and close a moment later.
        assert wait_until(lambda: open_sockets() == before)


def test_a_lookup_that_is_cancelled_leaves_no_socket() -> None:
    peers = fleet(2)

    async def main() -> None:
        before = open_sockets()
        task = asyncio.create_task(asyncio_sockets.run(look(*peers), time.monotonic))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert wait_until(lambda: open_sockets() == before)

    with hostile(peers[0], say(truncated), hang), hostile(peers[1], lambda wire, reply: None):
        asyncio.run(main())


def test_the_loop_goes_on_while_a_lookup_waits() -> None:
    (peer,) = fleet(1)
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        task = asyncio.create_task(asyncio_sockets.run(look(peer, timeout=0.2), time.monotonic))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.005)

    with hostile(peer, lambda wire, reply: None):
        asyncio.run(main())
    assert ticks > 5


def test_without_descriptors_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from mddns.base.errors import NetworkError

    def refuse(*args: object, **more: object) -> socket.socket:
        raise OSError(errno.EMFILE, "too many open files")

    lookup = look(*fleet(1))
    monkeypatch.setattr("mddns.lookup.sockets.socket.socket", refuse)
    with pytest.raises(NetworkError, match="no file descriptor is free"):
        blocking(lookup)
