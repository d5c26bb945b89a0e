"""The sockets that a node answers on: UDP read in bursts, TCP with limits (RFC 7766)."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from .acceptor import Acceptor
from .connections import Connections, most_connections, most_sessions
from .dso import is_dso, refusal
from .hot import COOKIE_OCTETS, Kept
from .model import join_address
from .sessions import Session, Sessions
from .web import Serving
from .wire import REFUSED, SERVFAIL

if TYPE_CHECKING:
    from .batch import Batch

Source = tuple[Any, ...]  # as recvfrom gives it

_log = logging.getLogger("mddns")


class Later:
    """A transfer that can only begin later (TCP alone)."""

    __slots__ = ("answer",)

    def __init__(self, answer: Awaitable[bytes | tuple[bytes, ...]]) -> None:
        self.answer = answer


# What a message is answered with: octets, several messages (TCP alone), octets later, or nothing.
Reaction = bytes | tuple[bytes, ...] | Awaitable[bytes] | None
Answering = Callable[[bytes, str, bool], Reaction | Later]

_BURST: Final = 64  # datagrams read before the loop's other work gets a turn
_BUSY: Final = 2048  # datagrams beyond _FEW in each of the last bursts, after which they are read many at a time
_FEW: Final = 8  # in a burst; for so many, one after the other is quicker
_LARGEST: Final = 65_535

STAY_AWAY: Final = 30.0  # seconds that whoever got no session is asked to stay without one
MOST_QUESTIONS: Final = 64  # of one connection that wait for their answers
LARGEST_QUERY: Final = 16_383  # a connection's first octet of 0x40 and above is not DNS, but HTTP
FIRST_OCTET: Final = 3.0  # seconds for the first octet of a connection
WHOLE_MESSAGE: Final = 3.0  # seconds from a message's first octet to its last
IDLE: Final = 10.0  # seconds between messages
TRANSFER: Final = 30.0  # seconds for a whole transfer
MOST_UNSENT: Final = 256 << 10  # octets of answers that a client has not taken


class UdpListener:
    """Reads one UDP socket, which stays its owner's. `answering(wire, address, tcp)` gives the Reaction to a message.

    `hot` gives the answers that need no such call, for the length of a burst (:mod:`mddns.hot`). `ours` is asked
    before each burst whether the socket is still ours to read.
    """

    def __init__(
        self,
        sock: socket.socket,
        answering: Answering,
        hot: Callable[[], Mapping[str, Kept]],
        loop: asyncio.AbstractEventLoop,
        ours: Callable[[], bool],
    ) -> None:
        self.socket = sock
        self._answering = answering
        self._hot = hot
        self._loop = loop
        self._ours = ours
        self._waiting: set[asyncio.Task[None]] = set()
        self._batch: Batch | None = None
        self._busy = 0
        self._busy_from: float = _BUSY
        loop.add_reader(sock.fileno(), self._read)

    def pause(self) -> None:
        """Takes no more questions."""
        self._loop.remove_reader(self.socket.fileno())

    @property
    def busy(self) -> bool:
        """Whether answers are still to go out."""
        return bool(self._waiting)

    def close(self) -> None:
        """Stops answering; questions that wait for the network are dropped."""
        self._loop.remove_reader(self.socket.fileno())
        for task in self._waiting:
            task.cancel()

    def _read(self) -> None:
        if not self._ours():
            return
        hot = self._hot()
        if self._batch is not None:
            self._batch.serve(hot)
            return
        receive, send = self.socket.recvfrom, self.socket.sendto
        for number in range(_BURST):
            try:
                wire, source = receive(_LARGEST)
                if (kept := hot.get(source[0])) is not None:
                    plain, cookies = kept
                    ready = plain.get(wire[2:]) or cookies.get(wire[2:-COOKIE_OCTETS])
                    if ready is not None:
                        rest, tally = ready
                        tally["udp"] += 1
                        send(wire[:2] + rest, source)
                        continue
            except BlockingIOError:
                self._busy = max(0, self._busy + number - _FEW)
                break
            except OSError:
                continue  # an ICMP error for some earlier answer; or as below
            self._react(wire, source)
        else:
            self._busy += _BURST - _FEW
        if self._busy > self._busy_from:
            self._batch = _batch(self.socket, self._react)
            self._busy_from = math.inf  # once is enough, where there is none

    def _react(self, wire: bytes, source: Source) -> None:
        """Answers what is not ready, at once or later."""
        answer = self._answering(wire, source[0], False)
        if isinstance(answer, bytes):
            try:
                self.socket.sendto(answer, source)
            except OSError:
                return  # the network is down, or the buffer full: the client asks again
        elif answer is not None and not isinstance(answer, (tuple, Later)):
            self._wait(answer, source)

    def _wait(self, answer: Awaitable[bytes], source: Source) -> None:
        task = self._loop.create_task(self._answer(answer, source))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _answer(self, answer: Awaitable[bytes], source: Source) -> None:
        wire = await answer
        try:
            self.socket.sendto(wire, source)
        except OSError:
            return  # as above


def _batch(sock: socket.socket, react: Callable[[bytes, Source], None]) -> Batch | None:
    """The quick way to read a socket, where there is one."""
    try:
        from .batch import Batch  # ctypes, which nobody needs who is asked now and then

        return Batch(sock, react)
    except (ImportError, OSError):
        return None


class TcpListener:
    """Accepts at one listening socket, which stays its owner's; several queries a connection, limits on all else."""

    def __init__(
        self,
        sock: socket.socket,
        answering: Answering,
        loop: asyncio.AbstractEventLoop,
        ours: Callable[[], bool],
        serving: Serving | None = None,
        connections: Connections | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """`ours` is asked each time whether the socket is still ours to accept at; `serving` answers HTTP,
        `sessions` are for DNS Push. `connections` is how many there may be, where that is not as usual.
        """
        self.socket = sock
        self._answering = answering
        self._serving = serving
        self._loop = loop
        self._sessions = sessions
        self._connections = connections or Connections(most_connections(), sessions=most_sessions())
        self._beginning: set[asyncio.Task[Any]] = set()
        where = join_address(*sock.getsockname()[:2])
        self._acceptor = Acceptor(sock, loop, ours, self._begin, f"connections to {where} wait")

    def descriptors(self) -> list[int]:
        """Those of its connections."""
        return self._connections.descriptors()

    def pause(self) -> None:
        """Accepts no more."""
        self._acceptor.close()

    @property
    def busy(self) -> bool:
        """Whether answers are still to go out, or somebody who was taken in has yet to ask."""
        return bool(self._beginning) or self._connections.busy

    def close(self) -> None:
        """Accepts no more, and ends every connection."""
        self._acceptor.close()
        for task in self._beginning:
            task.cancel()
        self._connections.close()

    def _begin(self, accepted: socket.socket) -> None:
        connection = _Connection(self._answering, self._connections, self._serving, self._sessions)
        task = self._loop.create_task(self._loop.connect_accepted_socket(lambda: connection, accepted))
        self._beginning.add(task)
        task.add_done_callback(lambda _: self._begun(task, accepted))

    def _begun(self, task: asyncio.Task[Any], accepted: socket.socket) -> None:
        self._beginning.discard(task)
        if task.cancelled():
            accepted.close()
        elif error := task.exception():
            _log.debug("a connection that ended as it began: %s", error)


class _Connection(asyncio.Protocol):
    """One TCP connection."""

    def __init__(
        self, answering: Answering, connections: Connections, serving: Serving | None, sessions: Sessions | None
    ) -> None:
        self._answering = answering
        self._sessions = sessions
        self._session: Session | None = None
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
    def fresh(self) -> bool:
        """Whether nothing came on it yet."""
        return self._first

    @property
    def idle(self) -> bool:
        """Whether nothing is under way on it."""
        return not self._received and not self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what an accepted socket gets
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
        if self._session:
            self._session.lost()
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
        self._rest()
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
            if received:
                self._give(WHOLE_MESSAGE)
            else:
                self._rest()
            if self._sessions is not None and is_dso(wire):
                self._converse(wire, self._sessions)
                continue
            if self._session:
                self._session.heard()
            answer = self._answering(wire, self._source, True)
            if isinstance(answer, bytes):
                self._write(answer)
            elif isinstance(answer, tuple):
                self._sending = True
                self._spawn(self._send_all(answer))
            elif isinstance(answer, Later):
                self._sending = True
                self._spawn(self._send_later(answer))
            elif answer is not None:
                self._spawn(self._answer(answer))
        self._read_on(self._may_serve())

    def _converse(self, wire: bytes, sessions: Sessions) -> None:
        """A DSO message; with the first the connection becomes a session, or is told that it cannot."""
        if self._session is None:
            session = sessions.begin(self, self._source)
            if session is None or not self._connections.converse(self):
                if session:
                    session.lost()
                self._write(refusal(wire, STAY_AWAY, SERVFAIL if session else REFUSED))
                return
            self._session = session
            self._rest()
        self._session.receive(wire)

    def send(self, wire: bytes) -> bool:
        """Sends a message of a session; False, and the connection is ended, where too much is unsent already."""
        if self._transport is None or self._transport.get_write_buffer_size() > MOST_UNSENT:
            self.end()
            return False
        self._write(wire)
        return True

    def _may_serve(self) -> bool:
        """Whether another question may be taken: a transfer, which is large, goes out alone."""
        return len(self._waiting) < MOST_QUESTIONS and not self._sending and self._writable.is_set()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._answered)

    async def _answer(self, answer: Awaitable[bytes]) -> None:
        self._write(await answer)

    async def _send_later(self, later: Later) -> None:
        try:
            answer = await later.answer
        finally:
            self._sending = False
        if isinstance(answer, bytes):
            self._write(answer)
        else:
            self._sending = True
            await self._send_all(answer)

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

    def _rest(self) -> None:
        """Nothing is under way: a session says itself how long it may last so, anything else has its time."""
        if self._session:
            self._stop_timer()
        else:
            self._give(IDLE)

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
