"""A session of DNS Stateful Operations (RFC 8490) as the client keeps it: octets in, events out.

Times are seconds of the caller's clock. What the operations mean is decided elsewhere
(:mod:`mddns.responder.push_subscriptions`). Where a BadMessage is raised, the connection must be aborted.
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
ANSWER_WITHIN: Final = 30.0  # seconds until a server that answers a request with nothing is left (5.1.1)


class Answered(NamedTuple):
    """A request of ours was answered, or what it had begun is ended by the server (RFC 8490 5.6).

    `retry` is how many seconds not to ask it again, where it says so.
    """

    id: int
    rcode: int
    retry: float | None = None


class Asked(NamedTuple):
    """The server has asked for something that we do not know: our answer, framed."""

    answer: bytes


class Told(NamedTuple):
    """A message that wants no answer."""

    tlv: Tlv
    wire: bytes


class Ordinary(NamedTuple):
    """A DNS message that is none of DSO."""

    wire: bytes


class GoAway(NamedTuple):
    """The server asks us to end the connection, and to stay away for so many seconds."""

    seconds: float
    rcode: int


Event = Answered | Asked | Told | Ordinary | GoAway


class Frames:
    """Messages behind their lengths, as TCP carries them (RFC 1035 4.2.2)."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, octets: bytes) -> list[bytes]:
        """The messages that are whole by now. BadMessage for one of less than a header."""
        received = self._received
        received += octets
        found = []
        while len(received) >= 2:
            size = received[0] << 8 | received[1]
            if size < HEADER.size:
                raise BadMessage("a message of less than a header")
            if len(received) < 2 + size:
                break
            found.append(bytes(received[2 : 2 + size]))
            del received[: 2 + size]
        return found


class ClientSession:
    """One session. Requests are framed, ready to be sent.

    `new_id()` draws message ids. `known` are the TLV types of the operations, which no server asks for and no answer
    has, but for that of its request.
    """

    def __init__(self, new_id: Callable[[], int], now: float, known: frozenset[int] = frozenset()) -> None:
        self._new_id = new_id
        self._known = known
        self._frames = Frames()
        self._waiting: dict[int, tuple[int, float]] = {}  # requests without an answer: their types, and since when
        self._granted: set[int] = set()  # ids of those that may go on for as long as the session does
        self._lent: set[int] = set()  # ids of messages that are none of DSO
        self._established = False
        self._every = KEEPALIVE_EVERY
        self._sent = self._heard = now

    def lend_id(self) -> int:
        """An id for a message that is none of DSO; nothing else on the connection has it until :meth:`free`."""
        self._lent.add(ident := self._fresh_id())
        return ident

    def free(self, ident: int) -> None:
        """What was asked under a lent id is answered."""
        self._lent.discard(ident)

    def _fresh_id(self) -> int:
        while not (ident := self._new_id() & 0xFFFF) or self._uses(ident):
            pass
        return ident

    def _uses(self, ident: int) -> bool:
        return ident in self._waiting or ident in self._granted or ident in self._lent

    def request(self, kind: int, data: bytes, now: float) -> tuple[int, bytes]:
        """A request with one TLV: its id, and its octets."""
        ident = self._fresh_id()
        self._waiting[ident] = kind, now
        self._sent = now
        return ident, framed(write(ident, ((kind, data),)))

    def sent(self, now: float) -> None:
        """Something that is not of DSO was sent on the connection."""
        self._sent = now

    def feed(self, octets: bytes, now: float) -> list[Event]:
        """What has come. BadMessage where the connection must be aborted."""
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
            raise Fatal("a server that speaks first")
        message = read_request(wire)
        if isinstance(message, bytes):
            return Asked(framed(message))
        primary = message.tlvs[0]
        if message.id:
            if primary.kind in (KEEPALIVE, RETRY_DELAY) or primary.kind in self._known:
                raise Fatal("a server that asks for what only a client does")
            return Asked(framed(reply(message.id, DSOTYPENI, asked=message.tlvs)))
        if primary.kind == RETRY_DELAY:
            return GoAway(message.retry_delay or 0.0, message.rcode)
        if primary.kind == KEEPALIVE:
            self._keepalive(primary)
            return None
        return Told(primary, wire)

    def _answered(self, message: Stateful) -> Event | None:
        if message.id in self._granted and message.rcode != NOERROR:
            self._granted.discard(message.id)  # the server ends what it had granted (RFC 8490 5.6)
            return Answered(message.id, message.rcode, message.retry_delay)
        if message.id not in self._waiting:
            raise Fatal("an answer that nobody has asked for")
        asked, _ = self._waiting.pop(message.id)
        granted = message.rcode == NOERROR
        # Nothing else establishes it, not even to know no such type (5.1.1).
        self._established |= granted
        kinds = [tlv.kind for tlv in message.tlvs]
        if self._known.difference((asked,)).intersection(kinds):
            raise Fatal("a message that is no answer, as one")
        if asked == KEEPALIVE and granted:
            if kinds[:1] != [KEEPALIVE] or kinds.count(KEEPALIVE) > 1:
                raise Fatal("a Keepalive that is not answered with one")
            self._keepalive(message.tlvs[0])
            return None
        if asked != KEEPALIVE:
            if KEEPALIVE in kinds:
                raise Fatal("a Keepalive that nobody has asked for")
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
        """When :meth:`silent` and :meth:`due` are to be called."""
        moments = [self._heard + 2 * self._every, *(since + ANSWER_WITHIN for _, since in self._waiting.values())]
        if self._established:
            moments.append(self._sent + self._every)
        return min(moments)

    def due(self, now: float) -> bytes | None:
        """A keepalive, where it is time for one."""
        if not self._established or now < self._sent + self._every:
            return None
        kind, data = keepalive(INACTIVITY, KEEPALIVE_EVERY)
        return self.request(kind, data, now)[1]

    def silent(self, now: float) -> bool:
        """Whether a keepalive, or another request, should have been answered by now."""
        late = any(now > since + ANSWER_WITHIN for _, since in self._waiting.values())
        return late or now > self._heard + 2 * self._every
