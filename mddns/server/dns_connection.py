"""DNS over one TCP connection, with limits on time, questions and octets (RFC 7766).

The client may also speak HTTP, for which another class takes the connection over, or begin a DSO session (RFC 8490).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Final

from ..base.errors import BadMessage
from ..dns.dso import KEEPALIVE_EVERY, is_dso
from ..dns.message import REFUSED, SERVFAIL
from ..http.messages import Serving
from ..responder.push_subscriptions import without_place
from ..responder.reaction import Answering, Later, Messages, Reaction
from ..system.connection_limits import Connections, give_up_after, reset
from .push_sessions import Session, Sessions

STAY_AWAY: Final = 30.0  # seconds that a client without a place for its session is asked to wait
MOST_QUESTIONS: Final = 64  # the most questions of one connection that wait for their answers
LARGEST_QUERY: Final = 16_383  # octets: a connection whose first octet is 0x40 or more is HTTP, not DNS
FIRST_OCTET: Final = 3.0  # seconds for the first octet of a connection
WHOLE_MESSAGE: Final = 3.0  # seconds from a message's first octet to its last
IDLE: Final = 10.0  # seconds between messages
TRANSFER: Final = 30.0  # seconds for a whole transfer
MOST_UNSENT: Final = 256 << 10  # octets of answers that a client has not read


class DnsConnection(asyncio.Protocol):
    """One TCP connection that speaks DNS, until the client begins to speak HTTP."""

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
        """Whether the client has not sent anything yet."""
        return self._first

    @property
    def idle(self) -> bool:
        """Whether no message is incomplete and no question waits for its answer."""
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
        # Half closed: the questions that came before are still answered (RFC 7766 6.2.4), then the connection ends.
        self._ended = True
        return bool(self._waiting)

    def pause_writing(self) -> None:
        # A client that does not read its answers gets no more of them, and after a while loses its connection.
        self._writable.clear()
        self._read_on(False)
        self._give(IDLE)

    def resume_writing(self) -> None:
        self._writable.set()
        self._rest()
        self._serve()

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 if it is closed."""
        return int(self._transport.get_extra_info("socket").fileno()) if self._transport else -1

    def end(self) -> None:
        """Ends the connection; unsent answers are dropped."""
        if self._transport:
            self._transport.abort()

    def abort(self) -> None:
        """Ends the connection with RST."""
        if self._transport:
            reset(self._transport)

    def _speak_http(self, data: bytes, serving: Serving) -> None:
        from ..http.connection import HttpConnection  # imported late, because most programs never need it

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
            answer: Reaction | Later = None
            if self._session:
                if not self._session.may_carry(wire):
                    return
                answer = self._session.heard(wire)
            if answer is None:
                answer = self._answering(wire, self._source, True)
            if isinstance(answer, bytes):
                self._reply(answer)
            elif isinstance(answer, Messages) and answer.alone:
                self._reply(answer.first)
            elif isinstance(answer, Messages):
                self._sending = True
                self._spawn(self._send_all(answer))
            elif isinstance(answer, Later):
                self._sending = True
                self._spawn(self._send_later(answer))
            elif answer is not None:
                self._spawn(self._answer(answer))
        self._read_on(self._may_serve())

    def _converse(self, wire: bytes, sessions: Sessions) -> None:
        """Handles a DSO message. With the first one the connection becomes a session, or the client gets a refusal."""
        if self._session is None:
            session = sessions.begin(self, self._source)
            if session is None or not self._connections.converse(self):
                if session:
                    session.lost()
                self._refuse(wire, SERVFAIL if session else REFUSED)
                return
            self._session = session
            if self._transport:
                give_up_after(self._transport, 2 * KEEPALIVE_EVERY)
            self._rest()
        self._session.receive(wire)

    def _refuse(self, wire: bytes, rcode: int) -> None:
        try:
            answer = without_place(wire, STAY_AWAY, rcode)
        except BadMessage:
            self.abort()
            return
        if answer:
            self._write(answer)

    def send(self, wire: bytes) -> bool:
        """Sends a message of a session. If too much is unsent already, it ends the connection and returns False."""
        if self._transport is None or self._transport.get_write_buffer_size() > MOST_UNSENT:
            self.abort()
            return False
        self._write(wire)
        return True

    def _may_serve(self) -> bool:
        """Whether another question may be answered: not if too many wait, nor during a zone transfer."""
        return len(self._waiting) < MOST_QUESTIONS and not self._sending and self._writable.is_set()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._waiting.add(task)
        task.add_done_callback(self._answered)

    async def _answer(self, answer: Awaitable[bytes]) -> None:
        self._reply(await answer)

    async def _send_later(self, later: Later) -> None:
        try:
            answer = await later.answer
        finally:
            self._sending = False
        if isinstance(answer, bytes):
            self._reply(answer)
        else:
            self._sending = True
            await self._send_all(answer)

    async def _send_all(self, messages: Messages) -> None:
        """Sends a zone transfer, as fast as the client reads it."""
        try:
            async with asyncio.timeout(TRANSFER):
                left = iter(messages)
                while True:
                    await self._writable.wait()
                    # To write a large zone takes long: after each message the loop can do other work.
                    async with self._connections.one_at_a_time:
                        message = next(left, None)
                        if message is None:
                            return
                        self._reply(message)
                        await asyncio.sleep(0)
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

    def _reply(self, answer: bytes) -> None:
        """Sends an answer that is not a DSO message."""
        if self._session:
            self._session.sent()
        self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(len(answer).to_bytes(2, "big") + answer)

    def _read_on(self, wanted: bool) -> None:
        if self._transport and wanted is not self._reading and not self._transport.is_closing():
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _rest(self) -> None:
        """Starts the idle timer. A session has none here: it has its own timeouts."""
        if self._session:
            self._stop_timer()
        else:
            self._give(IDLE)

    def _give(self, seconds: float) -> None:
        """Restarts the timer that ends the connection after `seconds`, or later if a question waits for its answer."""
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
