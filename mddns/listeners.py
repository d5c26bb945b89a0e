"""The sockets that a node answers on: UDP read in bursts, TCP with limits (RFC 7766).

Everything is bound to given addresses, never to a wildcard, and UDP without any reuse: who has the
port is the host's one responder.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, Protocol

from .errors import NetworkError, PortInUse
from .model import join_address
from .portholder import who_has
from .web import Serving

# What a message is answered with: octets, several messages (TCP alone), octets later, or nothing.
Reaction = bytes | tuple[bytes, ...] | Awaitable[bytes] | None
Answering = Callable[[bytes, str, bool], Reaction]

_BURST: Final = 64  # datagrams read before the loop's other work gets a turn
_LARGEST: Final = 65_535
_BACKLOG: Final = 128
_ACCEPTED_AT_ONCE: Final = 8

MOST_CONNECTIONS: Final = 100
MOST_PER_SOURCE: Final = 8
MOST_QUESTIONS: Final = 64  # of one connection that wait for their answers
LARGEST_QUERY: Final = 16_383  # a connection's first octet of 0x40 and above is not DNS, but HTTP
FIRST_OCTET: Final = 3.0  # seconds for the first octet of a connection
WHOLE_MESSAGE: Final = 3.0  # seconds from a message's first octet to its last
IDLE: Final = 10.0  # seconds between messages
TRANSFER: Final = 30.0  # seconds for a whole transfer
MOST_UNSENT: Final = 256 << 10  # octets of answers that a client has not taken


def _bind_error(error: OSError, kind: str, address: str, port: int) -> Exception:
    where = join_address(address, port)
    if error.errno == errno.EADDRINUSE:
        told = f"{kind} {where} is in use by another program{who_has(kind, address, port)}"
        return PortInUse(error.errno, f"{told}: end it, or choose another port with --port (MDDNS_PORT)")
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkError(error.errno, f"{address} is no address of this machine: is the network up?")
    if error.errno == errno.EACCES:
        return NetworkError(error.errno, f"{kind} {where} may not be bound by this user: ports below 1024 want root")
    return NetworkError(error.errno, f"{kind} {where} cannot be bound: {error.strerror}")


def bind_udp(address: str, port: int) -> socket.socket:
    """A UDP socket at an address, without any reuse: who has it is alone. PortInUse or NetworkError."""
    return _bind(socket.SOCK_DGRAM, "UDP", address, port)


def bind_tcp(address: str, port: int) -> socket.socket:
    """A listening TCP socket at an address. PortInUse or NetworkError."""
    return _bind(socket.SOCK_STREAM, "TCP", address, port)


def _bind(kind: socket.SocketKind, shown: str, address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        if kind is socket.SOCK_STREAM:
            # Connections of a responder that has just ended linger, and are in nobody's way.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind is socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _bind_error(error, shown, address, port) from error
    return sock


class UdpListener:
    """Reads one UDP socket, which stays its owner's. `answering(wire, address, tcp)` gives the Reaction to a message.

    `ours` is asked before each burst whether the socket is still ours to read.
    """

    def __init__(
        self,
        sock: socket.socket,
        answering: Answering,
        loop: asyncio.AbstractEventLoop,
        ours: Callable[[], bool],
    ) -> None:
        self.socket = sock
        self._answering = answering
        self._loop = loop
        self._ours = ours
        self._waiting: set[asyncio.Task[None]] = set()
        loop.add_reader(sock.fileno(), self._read)

    def close(self) -> None:
        """Stops answering; questions that wait for the network are dropped."""
        self._loop.remove_reader(self.socket.fileno())
        for task in self._waiting:
            task.cancel()

    def _read(self) -> None:
        if not self._ours():
            return
        receive, send, answering = self.socket.recvfrom, self.socket.sendto, self._answering
        for _ in range(_BURST):
            try:
                wire, source = receive(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error for some earlier answer
            answer = answering(wire, source[0], False)
            if isinstance(answer, bytes):
                try:
                    send(answer, source)
                except OSError:
                    continue  # the network is down, or the buffer full: the client asks again
            elif answer is not None and not isinstance(answer, tuple):
                self._wait(answer, source)

    def _wait(self, answer: Awaitable[bytes], source: tuple[str, int]) -> None:
        task = self._loop.create_task(self._answer(answer, source))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _answer(self, answer: Awaitable[bytes], source: tuple[str, int]) -> None:
        wire = await answer
        try:
            self.socket.sendto(wire, source)
        except OSError:
            return  # as above


class TcpListener:
    """Accepts at one listening socket, which stays its owner's; several queries a connection, limits on all else."""

    def __init__(self, sock: socket.socket, server: asyncio.Server, connections: Connections) -> None:
        self.socket = sock
        self._server = server
        self._connections = connections

    @classmethod
    async def open(cls, sock: socket.socket, answering: Answering, serving: Serving | None = None) -> TcpListener:
        """Begins to accept. `serving` answers HTTP."""
        connections = Connections()
        loop = asyncio.get_running_loop()
        # The server closes what it is given; the socket may be wanted again.
        # Accepting a few at a time, it leaves datagrams their turn when hundreds want to connect.
        server = await loop.create_server(
            lambda: _Connection(answering, connections, serving), sock=sock.dup(), backlog=_ACCEPTED_AT_ONCE
        )
        sock.listen(_BACKLOG)  # what asyncio accepts at once is no measure for who may wait
        return cls(sock, server, connections)

    def descriptors(self) -> list[int]:
        """Those of its own: the listening one and those of its connections."""
        return [sock.fileno() for sock in self._server.sockets] + self._connections.descriptors()

    def close(self) -> None:
        """Accepts no more, and ends every connection."""
        self._server.close()
        self._connections.close()


class Connected(Protocol):
    """One connection, whatever it speaks."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way on it."""

    def fileno(self) -> int:
        """Its socket's descriptor; -1 when it is closed."""

    def end(self) -> None:
        """Ends it at once."""


class Connections:
    """The open connections of a listener, counted by source."""

    def __init__(self) -> None:
        self._open: dict[Connected, str] = {}
        self._by_source: dict[str, int] = {}

    def admit(self, connection: Connected, source: str) -> bool:
        """Takes one in; False where all places, or this source's, are taken."""
        if self._by_source.get(source, 0) >= MOST_PER_SOURCE:
            return False
        if len(self._open) >= MOST_CONNECTIONS and not self._end_idle_one():
            return False
        self._open[connection] = source
        self._by_source[source] = self._by_source.get(source, 0) + 1
        return True

    def instead(self, connection: Connected, of: Connected) -> None:
        """One goes on as another."""
        self._open[connection] = self._open.pop(of)

    def leave(self, connection: Connected) -> None:
        """One has ended."""
        source = self._open.pop(connection, None)
        if source is not None:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]

    def descriptors(self) -> list[int]:
        """Those of all connections."""
        return [number for connection in self._open if (number := connection.fileno()) >= 0]

    def close(self) -> None:
        """Ends all."""
        for connection in list(self._open):
            connection.end()

    def _end_idle_one(self) -> bool:
        idle = next((connection for connection in self._open if connection.idle), None)
        if idle is None:
            return False
        idle.end()
        self.leave(idle)
        return True


class _Connection(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, answering: Answering, connections: Connections, serving: Serving | None) -> None:
        self._answering = answering
        self._serving = serving
        self._first = True
        self._connections = connections
        self._received = bytearray()
        self._waiting: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._source = ""
        self._reading = True
        self._writable = asyncio.Event()
        self._writable.set()
        self._sending = False  # a transfer is under way
        self._ended = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way on it."""
        return not self._received and not self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server gives
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._source = str(peer[0]) if peer else ""
        if not peer or not self._connections.admit(self, self._source):
            transport.abort()
            return
        transport.set_write_buffer_limits(high=MOST_UNSENT)
        self._give(FIRST_OCTET)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        self._stop_timer()
        for task in self._waiting:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._first and self._serving and data[0] > LARGEST_QUERY >> 8:
            self._speak_http(data, self._serving)
            return
        self._first = False
        if not self._received and not self._waiting:
            self._give(WHOLE_MESSAGE)
        self._received += data
        self._serve()

    def eof_received(self) -> bool:
        # Half closed: what was asked is still answered (RFC 7766 6.2.4), then the connection ends.
        self._ended = True
        return bool(self._waiting)

    def pause_writing(self) -> None:
        # Whoever asks more than it reads waits for its own reading; not for ever.
        self._writable.clear()
        self._read_on(False)
        self._give(IDLE)

    def resume_writing(self) -> None:
        self._writable.set()
        self._give(IDLE)
        self._serve()

    def fileno(self) -> int:
        """Its socket's descriptor; -1 when it is closed."""
        return int(self._transport.get_extra_info("socket").fileno()) if self._transport else -1

    def end(self) -> None:
        """Ends the connection at once."""
        if self._transport:
            self._transport.abort()

    def _speak_http(self, data: bytes, serving: Serving) -> None:
        from .http_connection import HttpConnection  # which most programs never need

        if self._transport is None or self._transport.is_closing():
            return
        self._stop_timer()
        successor = HttpConnection(serving, self._connections, self._transport)
        self._connections.instead(successor, self)
        self._transport.set_protocol(successor)
        successor.begin(data)

    def _serve(self) -> None:
        received = self._received
        while len(received) >= 2 and self._may_serve():
            size = received[0] << 8 | received[1]
            if size > LARGEST_QUERY or size < 12:
                self.end()
                return
            if len(received) < 2 + size:
                break
            wire = bytes(received[2 : 2 + size])
            del received[: 2 + size]
            self._give(WHOLE_MESSAGE if received else IDLE)
            answer = self._answering(wire, self._source, True)
            if isinstance(answer, bytes):
                self._write(answer)
            elif isinstance(answer, tuple):
                self._sending = True
                self._spawn(self._send_all(answer))
            elif answer is not None:
                self._spawn(self._answer(answer))
        self._read_on(self._may_serve())

    def _may_serve(self) -> bool:
        """Whether another question may be taken: a transfer, which is large, goes out alone."""
        return len(self._waiting) < MOST_QUESTIONS and not self._sending and self._writable.is_set()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._answered)

    async def _answer(self, answer: Awaitable[bytes]) -> None:
        self._write(await answer)

    async def _send_all(self, messages: tuple[bytes, ...]) -> None:
        """A transfer, at the pace at which it is read."""
        try:
            async with asyncio.timeout(TRANSFER):
                for message in messages:
                    await self._writable.wait()
                    self._write(message)
        except TimeoutError:
            self.end()
        finally:
            self._sending = False

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if task.cancelled() or not self._transport or self._transport.is_closing():
            return
        if self._ended and not self._waiting:
            self._transport.close()
        else:
            self._serve()

    def _write(self, answer: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(len(answer).to_bytes(2, "big") + answer)

    def _read_on(self, wanted: bool) -> None:
        if self._transport and wanted is not self._reading and not self._transport.is_closing():
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _give(self, seconds: float) -> None:
        """This long until the connection is ended, unless something whole arrives."""
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self._waiting:
            self._give(IDLE)
        else:
            self.end()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
