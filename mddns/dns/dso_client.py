"""The client's part of a session of DNS Stateful Operations (RFC 8490): octets in, events out.

Times are seconds of the caller's clock. The operations themselves are in
:mod:`mddns.responder.push_subscriptions`. After a BadMessage, the caller must abort the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ..base.errors import BadMessage
from .dso import (
    DSOTYPENI,
    INACTIVITY,
    KEEPALIVE,
    KEEPALIVE_EVERY,
    NEVER,
    RETRY_DELAY,
    TIMES,
    Fatal,
    Stateful,
    Tlv,
    framed,
    is_dso,
    is_response,
    keepalive,
    keeps_tcp_alive,
    read,
    read_request,
    reply,
    write,
)
from .message import HEADER, NOERROR

LEAST_KEEPALIVE: Final = 10.0  # seconds; less is an error of the server (RFC 8490 6.5.2)
ANSWER_WITHIN: Final = 30.0  # seconds until the client gives up a server that does not answer a request (5.1.1)


class Answered(NamedTuple):
    """The server answered our request, or ended the operation that it started (RFC 8490 5.6).

    `retry` is the Retry Delay in seconds, None if the response has none.
    """

    id: int
    rcode: int
    retry: float | None = None


class Asked(NamedTuple):
    """The server sent a request that we do not support: `answer` is our response, framed."""

    answer: bytes


class Told(NamedTuple):
    """The server sent a unidirectional message, which wants no response."""

    tlv: Tlv
    wire: bytes


class Ordinary(NamedTuple):
    """The server sent a DNS message that is not a DSO message."""

    wire: bytes


class GoAway(NamedTuple):
    """The server asks us to end the connection, and not to reconnect for `seconds`."""

    seconds: float
    rcode: int


Event = Answered | Asked | Told | Ordinary | GoAway


class Frames:
    """Splits a TCP stream into messages, each with its length before it (RFC 1035 4.2.2)."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, octets: bytes) -> list[bytes]:
        """Returns the messages that are complete now. Raises BadMessage for one that is shorter than a header."""
        received = self._received
        received += octets
        found = []
        while len(received) >= 2:
            size = received[0] << 8 | received[1]
            if size < HEADER.size:
                raise BadMessage("a message that is shorter than its header")
            if len(received) < 2 + size:
                break
            found.append(bytes(received[2 : 2 + size]))
            del received[: 2 + size]
        return found


class ClientSession:
    """The client's state of one session. Its requests are framed, ready to send.

    `new_id()` returns a random message id. `known` are the TLV types of the client's operations: a server sends no
    requests of these types, and a response has none of them except the type of its request.
    """

    def __init__(self, new_id: Callable[[], int], now: float, known: frozenset[int] = frozenset()) -> None:
        self._new_id = new_id
        self._known = known
        self._frames = Frames()
        self._waiting: dict[int, tuple[int, float]] = {}  # unanswered requests by id: TLV type, and when sent
        self._granted: set[int] = set()  # ids of accepted requests, whose operations last as long as the session
        self._lent: set[int] = set()  # ids of ordinary DNS queries
        self._established = False
        self._every = KEEPALIVE_EVERY
        self._sent = self._heard = now

    def lend_id(self) -> int:
        """Returns an id for an ordinary DNS query; no other message on the connection uses it until :meth:`free`."""
        self._lent.add(ident := self._fresh_id())
        return ident

    def free(self, ident: int) -> None:
        """Frees a lent id, when its query is answered."""
        self._lent.discard(ident)

    def _fresh_id(self) -> int:
        while not (ident := self._new_id() & 0xFFFF) or self._uses(ident):
            pass
        return ident

    def _uses(self, ident: int) -> bool:
        return ident in self._waiting or ident in self._granted or ident in self._lent

    def request(self, kind: int, data: bytes, now: float) -> tuple[int, bytes]:
        """Makes a request with one TLV; returns its id and its octets."""
        ident = self._fresh_id()
        self._waiting[ident] = kind, now
        self._sent = now
        return ident, framed(write(ident, ((kind, data),)))

    def sent(self, now: float) -> None:
        """Notes that the client sent an ordinary DNS message."""
        self._sent = now

    def feed(self, octets: bytes, now: float) -> list[Event]:
        """Returns the events in received octets. Raises BadMessage if the connection must be aborted."""
        self._heard = now
        return [event for wire in self._frames.feed(octets) if (event := self._event(wire)) is not None]

    def _event(self, wire: bytes) -> Event | None:
        if not is_dso(wire):
            if self._established and keeps_tcp_alive(wire):
                raise Fatal("edns-tcp-keepalive within a session")
            return Ordinary(wire)
        if is_response(wire):
            return self._answered(read(wire))
        if not self._established:
            raise Fatal("a DSO message from the server before the session was established")
        message = read_request(wire)
        if isinstance(message, bytes):
            return Asked(framed(message))
        primary = message.tlvs[0]
        if message.id:
            if primary.kind in (KEEPALIVE, RETRY_DELAY) or primary.kind in self._known:
                raise Fatal("a request from the server that only clients may send")
            return Asked(framed(reply(message.id, DSOTYPENI, asked=message.tlvs)))
        if primary.kind == RETRY_DELAY:
            return GoAway(message.retry_delay or 0.0, message.rcode)
        if primary.kind == KEEPALIVE:
            self._keepalive(primary)
            return None
        return Told(primary, wire)

    def _answered(self, message: Stateful) -> Event | None:
        if message.id in self._granted and message.rcode != NOERROR:
            self._granted.discard(message.id)  # the server ends an operation that it had accepted (RFC 8490 5.6)
            return Answered(message.id, message.rcode, message.retry_delay)
        if message.id not in self._waiting:
            raise Fatal("a response to no request")
        asked, _ = self._waiting.pop(message.id)
        granted = message.rcode == NOERROR
        # Only NOERROR establishes the session; DSOTYPENI does not (5.1.1).
        self._established |= granted
        kinds = [tlv.kind for tlv in message.tlvs]
        if self._known.difference((asked,)).intersection(kinds):
            raise Fatal("a response with a TLV of another operation")
        if asked == KEEPALIVE and granted:
            if kinds[:1] != [KEEPALIVE] or kinds.count(KEEPALIVE) > 1:
                raise Fatal("a response to a Keepalive without exactly one Keepalive")
            self._keepalive(message.tlvs[0])
            return None
        if asked != KEEPALIVE:
            if KEEPALIVE in kinds:
                raise Fatal("a Keepalive in the response to another request")
            if granted:
                self._granted.add(message.id)
        return Answered(message.id, message.rcode, message.retry_delay)

    def _keepalive(self, tlv: Tlv) -> None:
        if len(tlv.data) != TIMES.size:
            raise Fatal("a Keepalive of the wrong length")
        _, every = TIMES.unpack(tlv.data)
        if every < LEAST_KEEPALIVE * 1000:
            raise Fatal("a keepalive interval of less than ten seconds")
        self._every = float("inf") if every == NEVER else every / 1000

    def timer(self) -> float:
        """The time when the caller should call :meth:`silent` and :meth:`due`."""
        moments = [self._heard + 2 * self._every, *(since + ANSWER_WITHIN for _, since in self._waiting.values())]
        if self._established:
            moments.append(self._sent + self._every)
        return min(moments)

    def due(self, now: float) -> bytes | None:
        """Returns a Keepalive request if one is due, else None."""
        if not self._established or now < self._sent + self._every:
            return None
        kind, data = keepalive(INACTIVITY, KEEPALIVE_EVERY)
        return self.request(kind, data, now)[1]

    def silent(self, now: float) -> bool:
        """Whether the server is too late: with the response to a request, or with any message at all."""
        late = any(now > since + ANSWER_WITHIN for _, since in self._waiting.values())
        return late or now > self._heard + 2 * self._every
