"""TCP and UDP on real sockets: what is answered, and what a client can hold on to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from loopback import QUERY, Client, address, echo, free_port

import mddns.server.dns_connection
import mddns.system.connection_limits
from mddns.base.errors import NetworkError, PortInUse
from mddns.responder.reaction import Messages, Reaction
from mddns.server import dns_connection
from mddns.server.binding import bind_tcp, bind_udp
from mddns.server.listeners import TcpListener, UdpListener

Work = Callable[[tuple[str, int]], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(answering: Any = echo) -> AsyncIterator[tuple[str, int]]:
    """Both listeners at an address of their own."""
    place = address(), free_port()
    datagrams, connections = bind_udp(*place), bind_tcp(*place)
    udp = UdpListener(datagrams, answering, dict, asyncio.get_running_loop(), lambda: True)
    tcp = TcpListener(connections, answering, asyncio.get_running_loop(), lambda: True)
    try:
        yield place
    finally:
        udp.close()
        tcp.close()
        datagrams.close()
        connections.close()
        await asyncio.sleep(0)  # connections end with the loop's next turn
        await asyncio.sleep(0)


def run(work: Work, answering: Any = echo) -> None:
    async def main() -> None:
        async with listening(answering) as place, asyncio.timeout(10):
            await work(place)

    asyncio.run(main())


async def datagram(place: tuple[str, int], wire: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, place)
        await loop.sock_sendall(sock, wire)
        return await loop.sock_recv(sock, 65535)


# What is answered


def test_a_datagram_is_answered_to_whoever_sent_it() -> None:
    async def work(place: tuple[str, int]) -> None:
        found = await asyncio.gather(*(datagram(place, QUERY + bytes((n,))) for n in range(200)))
        assert found == [2 * (QUERY + bytes((n,))) for n in range(200)]

    run(work)


def test_several_questions_of_one_connection_are_answered() -> None:
    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            for n in range(3):
                client.say(QUERY + bytes((n,)))
                assert await client.hear() == 2 * (QUERY + bytes((n,)))

    run(work)


def test_questions_need_not_wait_for_answers() -> None:
    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            client.say(*(QUERY + bytes((n,)) for n in range(150)))
            assert [await client.hear() for _ in range(150)] == [2 * (QUERY + bytes((n,))) for n in range(150)]

    run(work)


def test_a_question_may_come_octet_by_octet() -> None:
    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            for octet in len(QUERY).to_bytes(2, "big") + QUERY:
                client.writer.write(bytes((octet,)))
                await client.writer.drain()
                await asyncio.sleep(0)
            assert await client.hear() == 2 * QUERY

    run(work)


def test_silence_is_kept_and_the_connection_stays() -> None:
    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            client.say(QUERY, b"x" * 12)
            assert await client.hear() == b"x" * 24

    run(work, lambda wire, source, tcp: None if wire == QUERY else 2 * wire)


def test_the_answerer_is_told_who_asks_and_how() -> None:
    seen = []

    def answering(wire: bytes, source: str, tcp: bool) -> bytes:
        seen.append((source, tcp))
        return wire

    async def work(place: tuple[str, int]) -> None:
        await datagram(place, QUERY)
        async with Client.to(place, "127.0.0.9") as client:
            client.say(QUERY)
            await client.hear()

    run(work, answering)
    assert seen == [("127.0.0.1", False), ("127.0.0.9", True)]


class Gate:
    """Answers later: when it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self.most = 0

    def __call__(self, wire: bytes, source: str, tcp: bool) -> Awaitable[bytes]:
        return self._answer(wire)

    async def _answer(self, wire: bytes) -> bytes:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        return 2 * wire


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_what_is_answered_later_is_answered_over_udp_and_tcp() -> None:
    gate = Gate()

    async def work(place: tuple[str, int]) -> None:
        later = asyncio.create_task(datagram(place, QUERY))
        async with Client.to(place) as client:
            client.say(QUERY)
            await until(lambda: gate.waiting == 2)
            gate.open.set()
            assert await client.hear() == await later == 2 * QUERY

    run(work, gate)


def test_of_one_connection_64_questions_wait_at_a_time_and_all_are_answered() -> None:
    gate = Gate()

    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            client.say(*[QUERY] * 200)
            await until(lambda: gate.waiting == 64)
            gate.open.set()
            assert [await client.hear() for _ in range(200)] == [2 * QUERY] * 200

    run(work, gate)
    assert gate.most == 64


def test_who_closes_its_side_still_gets_its_answers_and_then_the_end() -> None:
    gate = Gate()

    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            client.say(*[QUERY] * 100)
            client.writer.write_eof()
            await until(lambda: gate.waiting == 64)
            gate.open.set()
            assert [await client.hear() for _ in range(100)] == [2 * QUERY] * 100
            assert await client.ended()
        async with Client.to(place) as client:
            client.say(QUERY)
            client.writer.write_eof()
            assert await client.hear() == 2 * QUERY
            assert await client.ended()

    run(work, gate)


def test_questions_of_a_client_that_broke_off_are_given_up() -> None:
    gate = Gate()

    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            client.say(QUERY)
            await until(lambda: gate.waiting == 1)
            # A reset, where an orderly end could be a half-closed connection that still reads.
            client.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        await until(lambda: gate.waiting == 0)

    run(work, gate)


def test_a_transfer_comes_in_several_messages_at_the_readers_pace() -> None:
    pieces = tuple(bytes((n,)) * 60_000 for n in range(40))

    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            client.say(QUERY)
            for piece in pieces:
                assert await client.hear() == piece

    run(work, lambda wire, source, tcp: Messages(iter(pieces)))


def test_while_a_transfer_is_being_made_others_are_answered() -> None:
    """A message is made in a turn of the loop, whoever reads how quickly."""
    made: list[int] = []
    seen: list[int] = []
    asking: list[Client] = []

    def pieces() -> Iterator[bytes]:
        for number in range(200):
            if number == 5:
                asking[0].say(QUERY)
            made.append(number)
            yield bytes(100)

    def answering(wire: bytes, source: str, tcp: bool) -> Reaction:
        if source == "127.0.0.9":
            seen.append(len(made))
            return wire
        return Messages(pieces())

    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as first, Client.to(place) as second, Client.to(place, "127.0.0.9") as other:
            asking.append(other)
            for client in (first, second):
                client.say(QUERY)
            assert await other.hear() == QUERY
            assert 5 < seen[0] < 20
            for client in (first, second):
                for _ in range(200):
                    assert await client.hear() == bytes(100)

    run(work, answering)


# What is not


@pytest.mark.parametrize("opening", [b"\x40", b"GET / HTTP/1.1\r\n", b"\xff\xff", b"\x00\x0b" + bytes(11), b"\0\0"])
def test_what_is_no_dns_ends_the_connection(opening: bytes) -> None:
    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            client.writer.write(opening.ljust(2, b"x"))
            assert await client.ended()

    run(work)


def test_a_source_has_8_connections_and_others_have_theirs() -> None:
    async def work(place: tuple[str, int]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(8):
                client = await stack.enter_async_context(Client.to(place, "127.0.0.8"))
                client.say(QUERY)
                await client.hear()
            ninth = await stack.enter_async_context(Client.to(place, "127.0.0.8"))
            assert await ninth.ended()
            other = await stack.enter_async_context(Client.to(place, "127.0.0.9"))
            other.say(QUERY)
            assert await other.hear() == 2 * QUERY
        async with Client.to(place, "127.0.0.8") as again:
            again.say(QUERY)
            assert await again.hear() == 2 * QUERY

    run(work)


def test_when_all_places_are_taken_the_longest_idle_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mddns.system.connection_limits, "MOST_CONNECTIONS", 4)

    async def work(place: tuple[str, int]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for n in range(5):
                client = await stack.enter_async_context(Client.to(place, f"127.0.0.{10 + n}"))
                client.say(QUERY)
                await client.hear()
                clients.append(client)
            assert await clients[0].ended()
            for client in clients[1:]:
                client.say(QUERY)
                assert await client.hear() == 2 * QUERY

    run(work)


def test_a_source_that_has_all_it_may_have_pushes_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mddns.system.connection_limits, "MOST_CONNECTIONS", 4)
    monkeypatch.setattr(mddns.system.connection_limits, "MOST_PER_SOURCE", 3)

    async def work(place: tuple[str, int]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            honest = await stack.enter_async_context(Client.to(place, "127.0.0.10"))
            honest.say(QUERY)
            await honest.hear()
            for _ in range(3):
                client = await stack.enter_async_context(Client.to(place, "127.0.0.11"))
                client.say(QUERY)
                await client.hear()
            for _ in range(5):
                greedy = await stack.enter_async_context(Client.to(place, "127.0.0.11"))
                assert await greedy.ended()
            honest.say(QUERY)
            assert await honest.hear() == 2 * QUERY

    run(work)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("FIRST_OCTET", b""),
        ("WHOLE_MESSAGE", b"\0"),
        ("WHOLE_MESSAGE", b"\0\x20half"),
        ("IDLE", len(QUERY).to_bytes(2, "big") + QUERY),
        ("WHOLE_MESSAGE", len(QUERY).to_bytes(2, "big") + QUERY + b"\0"),
    ],
)
def test_who_keeps_us_waiting_is_ended(monkeypatch: pytest.MonkeyPatch, limit: str, said: bytes) -> None:
    """Each limit by itself, far below the others."""
    for each in ("FIRST_OCTET", "WHOLE_MESSAGE", "IDLE"):
        monkeypatch.setattr(mddns.server.dns_connection, each, 0.05 if each == limit else 60.0)

    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            client.writer.write(said)
            if len(said) > 12:
                await client.hear()
            assert await client.ended()

    run(work)


def test_dribbling_buys_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a message is counted from its first octet, not from its last."""
    monkeypatch.setattr(mddns.server.dns_connection, "WHOLE_MESSAGE", 0.2)

    async def work(place: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        async with Client.to(place) as client:
            begun = loop.time()
            with contextlib.suppress(OSError):
                for octet in b"\x3f\xff" + bytes(1000):
                    client.writer.write(bytes((octet,)))
                    await client.writer.drain()
                    if client.reader.at_eof():
                        break
                    await asyncio.sleep(0.01)
            assert await client.ended()
            assert loop.time() - begun < 2.0

    run(work)


def test_who_asks_and_never_reads_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_connection, "IDLE", 0.2)

    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            with pytest.raises(ConnectionError):
                await ask_for_ever(client)

    async def ask_for_ever(client: Client) -> None:
        while True:
            client.say(QUERY)
            await client.writer.drain()
            await asyncio.sleep(0.001)

    run(work, lambda wire, source, tcp: bytes(60_000))


def test_who_asks_much_and_reads_slowly_gets_everything() -> None:
    async def work(place: tuple[str, int]) -> None:
        async with Client.to(place) as client:
            for _ in range(100):
                client.say(QUERY)
            await client.writer.drain()
            assert [len(await client.hear()) for _ in range(100)] == [60_000] * 100

    run(work, lambda wire, source, tcp: bytes(60_000))


# Binding


def test_a_port_that_somebody_has_is_an_error_that_says_what_to_do() -> None:
    place = address(), free_port()
    for bind in (bind_udp, bind_tcp):
        with bind(*place), pytest.raises(PortInUse, match=r"in use by another program.*--port") as caught:
            bind(*place)
        assert caught.value.errno == errno.EADDRINUSE
        assert f"{place[0]}:{place[1]}" in str(caught.value)


def test_an_address_of_another_machine_is_an_error_that_names_it() -> None:
    for bind in (bind_udp, bind_tcp):
        with pytest.raises(NetworkError, match=r"203\.0\.113\.1 is no address of this machine"):
            bind("203.0.113.1", free_port())


def test_udp_is_bound_without_any_reuse() -> None:
    """With SO_REUSEADDR a second process would steal every packet."""
    with bind_udp(address(), free_port()) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
        assert not sock.getblocking()
