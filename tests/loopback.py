"""Real sockets on 127.x.y.z: registries, plain DNS clients, and misbehaving peers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import dns.message
import dns.query
import pytest

from mddns.base.model import Peer, Snapshot
from mddns.responder.reaction import Reaction

_numbers = itertools.count(os.getpid() * 97 % 50_000)


def address() -> str:
    """An address of 127.0.0.0/8 that no other test of this run uses."""
    number = next(_numbers)
    return f"127.{64 + number // 62_500 % 128}.{number // 250 % 250 + 1}.{number % 250 + 1}"


def free_port() -> int:
    """A UDP port that is free at all of these addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


@dataclass
class Fixed:
    """A network with the nodes that a test gives it."""

    me: Peer | None
    peers: tuple[Peer, ...]
    reads: int = 0

    def read(self, timeout: float) -> Snapshot:
        self.reads += 1
        return Snapshot(self.me, self.peers, "fixed")

    async def aread(self, timeout: float) -> Snapshot:
        return self.read(timeout)


def fleet(count: int, port: int | None = None) -> tuple[Peer, ...]:
    """`count` peers with an address each, at one port."""
    port = port or free_port()
    return tuple(Peer(f"host{n}", (address(),), port) for n in range(1, count + 1))


def network_of(me: Peer | None, everybody: tuple[Peer, ...]) -> Fixed:
    return Fixed(me, tuple(each for each in everybody if each != me))


def ask(peer: Peer, text: str, *, tcp: bool = False, rd: bool = False, timeout: float = 5.0) -> dns.message.Message:
    """Sends a plain DNS query by dnspython and returns the response."""
    from played import question

    query = dns.message.from_wire(question(text, rd=rd, use_edns=0))
    query.id = dns.message.make_query("x.", "A").id
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, peer.addresses[0], timeout=timeout, port=peer.port)


def answers(peer: Peer, text: str, **how: bool) -> set[str]:
    """The records of the answer section as zone text."""
    return {line for rrset in ask(peer, text, **how).answer for line in rrset.to_text().splitlines()}


def open_sockets() -> int:
    """The number of open sockets of this process."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return count


@contextlib.contextmanager
def in_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Runs `work(stop)` in a thread; sets `stop` when the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def nobody_is_paused() -> Iterator[None]:
    """Switches off the pause before a peer that refused is queried again.

    On loopback, queries between nodes come from 127.0.0.1, so a node cannot learn from their source which peer started.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mddns.directory.peer_memory.FIRST_PAUSE", 0.0)
        yield


UdpTrick = Callable[[bytes, Callable[[bytes], None]], None]
TcpTrick = Callable[[socket.socket], None]


@contextlib.contextmanager
def hostile(peer: Peer, udp: UdpTrick, tcp: TcpTrick | None = None) -> Iterator[None]:
    """A peer that handles each datagram by `udp(wire, reply)`, and each connection by `tcp(connection)`."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with receiver, listener:
        receiver.bind((peer.addresses[0], peer.port))
        receiver.settimeout(0.02)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((peer.addresses[0], peer.port))
        listener.listen(16)
        listener.settimeout(0.02)

        def datagrams(stop: threading.Event) -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    wire, source = receiver.recvfrom(65535)
                    udp(wire, functools.partial(_send, receiver, source))

        def connections(stop: threading.Event) -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(2)
                        if tcp:
                            tcp(connection)

        with in_thread(datagrams), in_thread(connections):
            yield


def _send(sock: socket.socket, destination: tuple[str, int], wire: bytes) -> None:
    sock.sendto(wire, destination)


def read_query(connection: socket.socket) -> bytes:
    """Reads the first query of a TCP connection."""
    head = connection.recv(2, socket.MSG_WAITALL)
    return connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)


QUERY = bytes(range(1, 13)) + b"what"


def echo(wire: bytes, source: str, tcp: bool) -> Reaction:
    """Responds with the query, twice."""
    return wire + wire


class Client:
    """A TCP connection that sends and receives DNS messages with their length prefix."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, place: tuple[str, int], source: str | None = None) -> AsyncIterator[Client]:
        local = (source, 0) if source else None
        client = cls(*await asyncio.open_connection(*place, local_addr=local))
        try:
            yield client
        finally:
            client.writer.close()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()

    def say(self, *messages: bytes) -> None:
        self.writer.write(b"".join(len(message).to_bytes(2, "big") + message for message in messages))

    async def hear(self) -> bytes:
        size = await self.reader.readexactly(2)
        return await self.reader.readexactly(int.from_bytes(size, "big"))

    async def ended(self) -> bool:
        """Waits for the next octet; whether the server has closed the connection instead."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True
