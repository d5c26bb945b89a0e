"""DNS Stateful Operations (RFC 8490): messages made of TLVs, and the session that both sides keep.

Whole messages in, whole messages out; times in seconds of the caller's clock. What the operations mean is
decided elsewhere (:mod:`mddns.push`). A :class:`Fatal` is what the RFC answers by aborting the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Final, NamedTuple, Protocol

from .errors import BadMessage
from .wire import FORMERR, HEADER, NOERROR, OPCODE, OPT, QR, SERVFAIL, Message

DSO: Final = 6 << 11  # the opcode, where flags have it
DSOTYPENI: Final = 11  # the rcode: TLV type not implemented

# TLV types (RFC 8490 10.3).
KEEPALIVE, RETRY_DELAY, PADDING = 1, 2, 3

INACTIVITY: Final = 15.0  # seconds, both: what holds where nobody says otherwise (RFC 8490 6.2)
KEEPALIVE_EVERY: Final = 15.0
LEAST_KEEPALIVE: Final = 10.0  # less is an error of the server (RFC 8490 6.5.2)
LEAST_PATIENCE: Final = 5.0  # how long a server waits at least for a client to end an inactive session (6.4)
_NEVER: Final = 0xFFFFFFFF

_TCP_KEEPALIVE: Final = 11  # EDNS option code (RFC 7828)
_OPT_AT_ROOT: Final = b"\0" + OPT.to_bytes(2, "big")

_TLV: Final = Struct("!2H")
_TWO: Final = Struct("!2I")
_ONE: Final = Struct("!I")


class Fatal(BadMessage):
    """The other side broke the protocol: the connection must be aborted."""


class Tlv(NamedTuple):
    """One TLV: its type, where its data begin in the message, and the data."""

    kind: int
    at: int
    data: bytes


class Stateful(NamedTuple):
    """One DSO message. The first TLV of a request is the primary one."""

    wire: bytes
    id: int
    response: bool
    rcode: int
    tlvs: tuple[Tlv, ...]

    @property
    def retry_delay(self) -> float | None:
        """Seconds to stay away, where it says so."""
        for tlv in self.tlvs:
            if tlv.kind == RETRY_DELAY:
                if len(tlv.data) != _ONE.size:
                    raise Fatal("a Retry Delay of the wrong length")
                return float(_ONE.unpack(tlv.data)[0]) / 1000
        return None


def is_dso(wire: bytes) -> bool:
    """Whether a message of at least a header is one of DSO."""
    return (wire[2] << 8 & OPCODE) == DSO


def keeps_tcp_alive(wire: bytes) -> bool:
    """Whether a message that is none of DSO has the option edns-tcp-keepalive: no session may (RFC 8490 7.1.2)."""
    if _OPT_AT_ROOT not in wire:
        return False
    try:
        return any(code == _TCP_KEEPALIVE for code, _ in Message(wire).options())
    except BadMessage:
        return False  # others judge it


def read(wire: bytes) -> Stateful:
    """A DSO message. BadMessage where counts are not zero or TLVs do not fit (RFC 8490 5.4)."""
    ident, flags, *counts = HEADER.unpack_from(wire)
    if any(counts):
        raise BadMessage("a DSO message with records in it")
    tlvs, at = [], HEADER.size
    while at < len(wire):
        if at + _TLV.size > len(wire):
            raise BadMessage("a TLV that is cut off")
        kind, length = _TLV.unpack_from(wire, at)
        at += _TLV.size
        if at + length > len(wire):
            raise BadMessage("a TLV that is cut off")
        tlvs.append(Tlv(kind, at, wire[at : at + length]))
        at += length
    return Stateful(wire, ident, bool(flags & QR), flags & 0xF, tuple(tlvs))


def write(ident: int, tlvs: Iterable[tuple[int, bytes]] = (), *, response: bool = False, rcode: int = NOERROR) -> bytes:
    """A DSO message; id 0 where no answer is wanted."""
    body = b"".join(_TLV.pack(kind, len(data)) + data for kind, data in tlvs)
    return HEADER.pack(ident, (QR if response else 0) | DSO | rcode, 0, 0, 0, 0) + body


def retry_delay(seconds: float) -> tuple[int, bytes]:
    """The TLV that asks a client to stay away."""
    return RETRY_DELAY, _ONE.pack(int(seconds * 1000))


def keepalive(inactivity: float, every: float) -> tuple[int, bytes]:
    """The Keepalive TLV (RFC 8490 7.1)."""
    return KEEPALIVE, _TWO.pack(int(inactivity * 1000), int(every * 1000))


def refusal(wire: bytes, seconds: float, rcode: int = SERVFAIL) -> bytes:
    """The answer to a first message where there is no place for a session (RFC 8490 6.6.1)."""
    return write(wire[0] << 8 | wire[1], (retry_delay(seconds),), response=True, rcode=rcode)


class Operations(Protocol):
    """What a server's session is about."""

    @property
    def active(self) -> bool:
        """Whether something stands that keeps the session from being inactive."""

    def request(self, ident: int, tlv: Tlv, wire: bytes) -> int:
        """The rcode for a request; DSOTYPENI for types that it does not know."""

    def told(self, tlv: Tlv, wire: bytes) -> bool:
        """Takes a message in that wants no answer; False for types that it does not know."""


class ServerSession:
    """One session, as the server has it."""

    def __init__(self, operations: Operations, now: float) -> None:
        self._operations = operations
        self._established = False
        self._heard = self._acted = now

    def heard(self, wire: bytes, now: float) -> None:
        """Any other DNS message has come on the connection. Fatal where the connection must be aborted."""
        self._heard = self._acted = now
        if self._established and keeps_tcp_alive(wire):
            raise Fatal("edns-tcp-keepalive within a session")

    def farewell(self) -> bytes | None:
        """What tells the client that we end it, and that it may come back at once; None before it is established."""
        return write(0, (retry_delay(0),)) if self._established else None

    def receive(self, wire: bytes, now: float) -> bytes | None:
        """The answer to a message, None where it wants none. Fatal where the connection must be aborted."""
        self._heard = now
        ident = wire[0] << 8 | wire[1]
        if wire[2] & QR >> 8:
            raise Fatal("an answer that nobody has asked for")
        try:
            message = read(wire)
            if not message.tlvs:
                raise BadMessage("a DSO message without a TLV")
        except BadMessage as error:
            if not ident:
                raise Fatal(str(error)) from error
            return write(ident, response=True, rcode=FORMERR)
        primary = message.tlvs[0]
        if primary.kind != KEEPALIVE:
            self._acted = now
        if primary.kind == RETRY_DELAY:
            raise Fatal("a client that asks the server to stay away")
        if not ident:
            if not self._established or primary.kind == KEEPALIVE or not self._operations.told(primary, wire):
                raise Fatal("a message without id that may not come so")
            return None
        return self._answer(ident, primary, wire)

    def _answer(self, ident: int, primary: Tlv, wire: bytes) -> bytes:
        if primary.kind == PADDING or (primary.kind == KEEPALIVE and len(primary.data) != _TWO.size):
            return write(ident, response=True, rcode=FORMERR)
        if primary.kind == KEEPALIVE:
            self._established = True
            return write(ident, (keepalive(INACTIVITY, KEEPALIVE_EVERY),), response=True)
        rcode = self._operations.request(ident, primary, wire)
        # Also who knows no such type speaks DSO (RFC 8490 5.1).
        self._established |= rcode in (NOERROR, DSOTYPENI)
        return write(ident, response=True, rcode=rcode)

    def acted(self, now: float) -> None:
        """We have sent something of our own."""
        self._acted = now

    def timer(self) -> float:
        """When the session ends, unless something comes (RFC 8490 6.4, 6.5)."""
        alive = self._heard + 2 * KEEPALIVE_EVERY
        if self._operations.active:
            return alive
        return min(alive, self._acted + max(2 * INACTIVITY, LEAST_PATIENCE))


class Answered(NamedTuple):
    """A request of ours was answered. `retry` is how many seconds to stay away, where it was refused so."""

    id: int
    rcode: int
    retry: float | None = None


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


Event = Answered | Told | Ordinary | GoAway


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


def framed(wire: bytes) -> bytes:
    """A message behind its length."""
    return len(wire).to_bytes(2, "big") + wire


class ClientSession:
    """One session, as the client has it: octets in, events out. Requests are framed, ready to be sent.

    `new_id()` draws message ids.
    """

    def __init__(self, new_id: Callable[[], int], now: float) -> None:
        self._new_id = new_id
        self._frames = Frames()
        self._waiting: set[int] = set()
        self._established = False
        self._every = KEEPALIVE_EVERY
        self._sent = self._heard = now

    def fresh_id(self) -> int:
        """An id that no request under way has, and not 0."""
        while not (ident := self._new_id() & 0xFFFF) or ident in self._waiting:
            pass
        return ident

    def request(self, kind: int, data: bytes, now: float) -> tuple[int, bytes]:
        """A request with one TLV: its id, and its octets."""
        ident = self.fresh_id()
        self._waiting.add(ident)
        self._sent = now
        return ident, framed(write(ident, ((kind, data),)))

    def tell(self, kind: int, data: bytes, now: float) -> bytes:
        """A message that wants no answer, which only an established session may carry."""
        self._sent = now
        return framed(write(0, ((kind, data),)))

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
        message = read(wire)
        if message.response:
            return self._answered(message)
        # A server asks a client nothing in any operation that we know (RFC 8490 7, RFC 8765 6).
        if message.id or not self._established or not message.tlvs:
            raise Fatal("a request by a server, or a message before the session is established")
        primary = message.tlvs[0]
        if primary.kind == RETRY_DELAY:
            return GoAway(message.retry_delay or 0.0, message.rcode)
        if primary.kind == KEEPALIVE:
            self._keepalive(primary)
            return None
        return Told(primary, wire)

    def _answered(self, message: Stateful) -> Event | None:
        if message.id not in self._waiting:
            raise Fatal("an answer that nobody has asked for")
        self._waiting.discard(message.id)
        self._established |= message.rcode in (NOERROR, DSOTYPENI)
        for tlv in message.tlvs:
            if tlv.kind == KEEPALIVE and message.rcode == NOERROR:
                self._keepalive(tlv)
                return None
        return Answered(message.id, message.rcode, message.retry_delay)

    def _keepalive(self, tlv: Tlv) -> None:
        if len(tlv.data) != _TWO.size:
            raise Fatal("a Keepalive of the wrong length")
        _, every = _TWO.unpack(tlv.data)
        if every < LEAST_KEEPALIVE * 1000:
            raise Fatal("a keepalive interval of less than ten seconds")
        self._every = float("inf") if every == _NEVER else every / 1000

    def timer(self) -> float:
        """When :meth:`due` is to be called."""
        return self._sent + self._every

    def due(self, now: float) -> bytes | None:
        """A keepalive, where it is time for one."""
        if not self._established or now < self.timer():
            return None
        kind, data = keepalive(INACTIVITY, KEEPALIVE_EVERY)
        return self.request(kind, data, now)[1]

    def silent(self, now: float) -> bool:
        """Whether a keepalive should have been answered by now."""
        return now > self._heard + 2 * self._every
