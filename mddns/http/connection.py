"""One HTTP/1.1 connection, read and written by h11, with limits on all that a client may do (RFC 9110, 9112).

A :class:`Serving` decides which clients get an answer, and which answer. Requests of one connection are answered
one after the other. No input from a client raises an exception or writes to the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11

from .messages import Head, Response, Serving

if TYPE_CHECKING:
    from ..system.connection_limits import Connections

_log = logging.getLogger("mddns")

LARGEST_HEAD: Final = 16 << 10  # octets
LARGEST_BODY: Final = 64 << 10
WHOLE_REQUEST: Final = 5.0  # seconds from a request's first octet to its last
IDLE: Final = 10.0  # seconds between requests
ANSWER_WITHIN: Final = 15.0  # seconds that a handler may wait for the network
SEND_WITHIN: Final = 30.0  # seconds in which a client must have read a response
MOST_UNSENT: Final = 64 << 10  # octets that the client may leave unread when its next request is read
LINGER: Final = 1.0  # seconds in which the client can read the last response, before the connection is closed

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# An empty SETTINGS, which a server sends first; GOAWAY: no stream, HTTP_1_1_REQUIRED (RFC 9113 3.4, 6.8, 7).
_GOAWAY: Final = b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x08\x07\0\0\0\0\0" + (0).to_bytes(4, "big") + (0xD).to_bytes(4, "big")


def _plain(status: int, text: str) -> Response:
    return Response(status, f"{text}\n".encode(), "text/plain; charset=utf-8")


class HttpConnection(asyncio.Protocol):
    """Takes over a transport whose first octet is not DNS: see :meth:`begin`."""

    def __init__(self, serving: Serving, connections: Connections, transport: asyncio.Transport) -> None:
        self._serving = serving
        self._connections = connections
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address, self._port = str(peer[0]), int(peer[1])
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._begun = b""  # the connection's first octets, while they may still be the preface of HTTP/2
        self._first = True
        self._head: Head | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0  # octets that came while a request was being answered
        self._closing = False
        self._half_closed = False
        self._idle = False
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def idle(self) -> bool:
        """Whether no request is being received or answered."""
        return self._idle

    @property
    def fresh(self) -> bool:
        """False: the client has sent something already, to the protocol that had the transport before."""
        return False

    def fileno(self) -> int:
        """Returns the descriptor of the socket; -1 if it is closed."""
        return int(self._transport.get_extra_info("socket").fileno())

    def begin(self, data: bytes) -> None:
        """Takes over the transport, which has received `data` already."""
        self._transport.set_write_buffer_limits(high=MOST_UNSENT)
        self._give(WHOLE_REQUEST)
        self.data_received(data)

    def end(self) -> None:
        """Ends the connection; unsent octets are dropped."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._idle:
            self._idle = False
            self._give(WHOLE_REQUEST)
        if self._first:
            data = self._begun = self._begun + data
            if _PREFACE.startswith(data[: len(_PREFACE)]):
                if len(data) >= len(_PREFACE):
                    self._transport.write(_GOAWAY)
                    self._finish()
                return
            self._first, self._begun = False, b""
        self._feed(data)
        if self._task is not None:
            # Reading continues up to a limit, because only reading shows that the client has closed the connection.
            self._ahead += len(data)
            if self._ahead > LARGEST_HEAD:
                self._transport.pause_reading()

    def eof_received(self) -> bool:
        # Half closed: a complete request is still answered.
        self._half_closed = True
        return self._task is not None

    def _feed(self, data: bytes) -> None:
        try:
            if data:
                self._http.receive_data(data)
            self._proceed()
        except h11.RemoteProtocolError as error:
            self._refuse(_plain(error.error_status_hint, f"this is not a valid HTTP request: {error}"))

    def _proceed(self) -> None:
        """Handles the received octets as far as they are complete. Raises RemoteProtocolError if they are not HTTP."""
        while self._task is None and not self._closing:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._head = self._read_head(event)
                refusal = self._serving.look(self._head)
                if refusal is None and self._announced(event) > LARGEST_BODY:
                    refusal = self._too_large()
                if refusal is not None:
                    self._refuse(refusal)
                elif self._http.they_are_waiting_for_100_continue:
                    self._transport.write(
                        self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
                    )
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > LARGEST_BODY:
                    self._refuse(self._too_large())
            elif isinstance(event, h11.EndOfMessage):
                head, body = self._head, bytes(self._body)
                self._body.clear()
                self._stop_timer()
                self._ahead = 0
                if head is not None:
                    self._task = asyncio.get_running_loop().create_task(self._answer(head, body))
                    self._task.add_done_callback(self._answered)
            else:
                return  # the request is incomplete

    def _read_head(self, request: h11.Request) -> Head:
        headers: dict[str, str] = {}
        for raw_name, raw_value in request.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            # Several fields of one name are one list (RFC 9110 5.3).
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        target, method = request.target.decode("latin-1"), request.method.decode("latin-1")
        return Head(method, target, headers, self._address, self._port)

    @staticmethod
    def _announced(request: h11.Request) -> int:
        return next((int(value) for name, value in request.headers if name == b"content-length"), 0)

    @staticmethod
    def _too_large() -> Response:
        return _plain(413, f"the body must have at most {LARGEST_BODY} octets")

    async def _answer(self, head: Head, body: bytes) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                response = self._serving.answer(head, body)
                if isinstance(response, Awaitable):
                    response = await response
        except TimeoutError:
            response = _plain(503, "the network did not answer in time")
        except Exception:  # a bug in a handler must not leave the client waiting
            _log.exception("%s %.200r cannot be answered", head.method, head.target)
            response = _plain(500, "internal error of mddns: see its log")
        self._send(response, head.method)
        self._give(SEND_WITHIN)
        await self._writable.wait()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()):
            _log.error("an HTTP response cannot be sent: %s", error, exc_info=error)
            self.end()
            return
        if task.cancelled() or self._closing or self._transport.is_closing():
            return
        if self._half_closed or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._finish()
            return
        self._http.start_next_cycle()
        self._head = None
        self._transport.resume_reading()
        waiting = bool(self._http.trailing_data[0])
        self._idle = not waiting
        self._give(WHOLE_REQUEST if waiting else IDLE)
        self._feed(b"")  # the octets after the last request may hold another one, or a part of it

    def _refuse(self, response: Response) -> None:
        """Sends the last response of this connection: later requests are not read."""
        self._send(response, self._head.method if self._head else "", last=True)
        self._finish()

    def _send(self, response: Response, method: str, *, last: bool = False) -> None:
        if self._closing or self._transport.is_closing():
            return
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        self._serving.responded(response.status)
        fields = [("Date", formatdate(usegmt=True)), ("X-Content-Type-Options", "nosniff"), *response.headers]
        if response.content_type:
            fields.append(("Content-Type", response.content_type))
        if response.status not in (204, 304):
            fields.append(("Content-Length", str(len(response.body))))
        if last:
            fields.append(("Connection", "close"))
        send, reason = self._http.send, HTTPStatus(response.status).phrase
        out = send(h11.Response(status_code=response.status, headers=fields, reason=reason.encode())) or b""
        if response.body and method != "HEAD":
            out += send(h11.Data(data=response.body)) or b""
        self._transport.write(out + (send(h11.EndOfMessage()) or b""))

    def _finish(self) -> None:
        """Closes when the client has read the last response; an earlier close could destroy it (RFC 9112 9.6)."""
        self._closing = True
        self._body.clear()
        if self._transport.is_closing():
            return
        if self._half_closed:
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # the client reset it, and the loop has not noticed that yet
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._give(LINGER)

    def _give(self, seconds: float) -> None:
        """Restarts the timer that ends the connection after `seconds`."""
        self._stop_timer()
        if not self._transport.is_closing():
            self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
