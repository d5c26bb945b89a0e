"""DNS Stateful Operations (RFC 8490): messages made of TLVs, and the server's part of a session.

Takes and returns whole messages; times are seconds of the caller's clock. The operations themselves are in
:mod:`mddns.responder.push_subscriptions`. :class:`Fatal` means that the RFC requires to abort the connection.
The client's part is :mod:`mddns.dns.dso_client`.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple, Protocol

from ..base.errors import BadMessage
from .message import FORMERR, HEADER, NOERROR, NOTAUTH, NOTIMP, OPCODE, OPT, QR, REFUSED, SERVFAIL, Message

DSO: Final = 6 << 11  # the opcode, at its place in the flags
DSOTYPENI: Final = 11  # the rcode: TLV type not implemented

# TLV types (RFC 8490 10.3).
KEEPALIVE, RETRY_DELAY, PADDING = 1, 2, 3

INACTIVITY: Final = 15.0  # seconds, like the next: the defaults of RFC 8490 6.2
KEEPALIVE_EVERY: Final = 15.0
LEAST_PATIENCE: Final = 5.0  # seconds that a server waits at least for a client to end an inactive session (6.4)
NEVER: Final = 0xFFFFFFFF  # a time in milliseconds that means "no limit"

# Seconds until a client retries after this rcode, if the response has no Retry Delay (RFC 8765 6.2.2).
_RETRY_AFTER: Final = {FORMERR: 300, SERVFAIL: 60, NOTIMP: 3600, REFUSED: 60, NOTAUTH: 60, DSOTYPENI: 3600}
_RETRY_AFTER_OTHERS: Final = 300

_TCP_KEEPALIVE: Final = 11  # EDNS option code (RFC 7828)
_OPT_AT_ROOT: Final = b"\0" + OPT.to_bytes(2, "big")

_TLV: Final = Struct("!2H")
TIMES: Final = Struct("!2I")  # inactivity timeout and keepalive interval of a Keepalive
_ONE: Final = Struct("!I")


class Fatal(BadMessage):
    """The peer violated the protocol: the connection must be aborted."""


class Tlv(NamedTuple):
    """One TLV: its type, the offset of its data in the message, and the data."""

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
        """The seconds of its Retry Delay TLV, None if it has none. Raises Fatal for a TLV of the wrong length."""
        for tlv in self.tlvs:
            if tlv.kind == RETRY_DELAY:
                if len(tlv.data) != _ONE.size:
                    raise Fatal("a Retry Delay of the wrong length")
                return float(_ONE.unpack(tlv.data)[0]) / 1000
        return None


def is_dso(wire: bytes) -> bool:
    """Whether a message is a DSO message. `wire` has at least a header."""
    return (wire[2] << 8 & OPCODE) == DSO


def is_response(wire: bytes) -> bool:
    """Whether a message is a response. `wire` has at least a header."""
    return bool(wire[2] & QR >> 8)


def keeps_tcp_alive(wire: bytes) -> bool:
    """Whether an ordinary message has the option edns-tcp-keepalive, forbidden in a session (RFC 8490 7.1.2)."""
    if _OPT_AT_ROOT not in wire:
        return False
    try:
        return any(code == _TCP_KEEPALIVE for code, _ in Message(wire).options())
    except BadMessage:
        return False  # the code that reads the message reports it


def read(wire: bytes) -> Stateful:
    """Reads a DSO message. Raises BadMessage if counts are not zero or TLVs do not fit (RFC 8490 5.4)."""
    ident, flags, *counts = HEADER.unpack_from(wire)
    if any(counts):
        raise BadMessage("a DSO message that contains records")
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
    """Returns a DSO message; its id is 0 if it wants no response."""
    body = b"".join(_TLV.pack(kind, len(data)) + data for kind, data in tlvs)
    return HEADER.pack(ident, (QR if response else 0) | DSO | rcode, 0, 0, 0, 0) + body


def retry_delay(seconds: float) -> tuple[int, bytes]:
    """The TLV that asks a client not to reconnect or retry for `seconds` (RFC 8490 7.2)."""
    return RETRY_DELAY, _ONE.pack(round(seconds * 1000))


def keepalive(inactivity: float, every: float) -> tuple[int, bytes]:
    """The Keepalive TLV (RFC 8490 7.1)."""
    return KEEPALIVE, TIMES.pack(round(inactivity * 1000), round(every * 1000))


def retry_after(rcode: int) -> float:
    """Seconds until a client retries a request that got `rcode` without a Retry Delay."""
    return _RETRY_AFTER.get(rcode, _RETRY_AFTER_OTHERS)


def reply(
    ident: int,
    rcode: int = NOERROR,
    tlvs: Iterable[tuple[int, bytes]] = (),
    *,
    asked: Iterable[Tlv] = (),
    retry: float | None = None,
) -> bytes:
    """Returns the response to a request with the TLVs `asked`. An error has a Retry Delay: `retry`, or the default."""
    out = list(tlvs)
    if rcode != NOERROR:
        out.append(retry_delay(retry_after(rcode) if retry is None else retry))
    if any(tlv.kind == PADDING for tlv in asked):
        out.append((PADDING, b""))  # a padded request gets a padded response, here of length 0 (RFC 8490 7.3)
    return write(ident, out, response=True, rcode=rcode)


def read_request(wire: bytes) -> Stateful | bytes:
    """Reads a request or a unidirectional message, with at least one TLV.

    For a malformed request, returns the octets of an error response. Raises Fatal if a malformed message wants none.
    """
    ident = wire[0] << 8 | wire[1]
    try:
        message = read(wire)
        if not message.tlvs:
            raise BadMessage("a DSO message without a TLV")
    except BadMessage as error:
        if not ident:
            raise Fatal(str(error)) from error
        return reply(ident, FORMERR)
    if ident and message.tlvs[0].kind == PADDING:
        return reply(ident, FORMERR, asked=message.tlvs)  # Padding is never the primary TLV
    return message


def refusal(wire: bytes, seconds: float, rcode: int = SERVFAIL) -> bytes:
    """The response when there is no room for a session (RFC 8490 6.6.1). Raises Fatal if the message wants none."""
    if not wire[0] << 8 | wire[1] or is_response(wire):
        raise Fatal("a message that needs no response, without a session")
    message = read_request(wire)
    if isinstance(message, bytes):
        return message
    if message.tlvs[0].kind == RETRY_DELAY:
        raise Fatal("a Retry Delay that the client sent; only servers send it")
    return reply(message.id, rcode, asked=message.tlvs, retry=seconds)


class Operations(Protocol):
    """The operations of a session, as its server supports them."""

    @property
    def active(self) -> bool:
        """Whether an operation is active, such as a subscription, so that the session is not inactive."""

    def request(self, ident: int, tlv: Tlv, wire: bytes) -> int:
        """Handles a request and returns its rcode; DSOTYPENI for unknown types."""

    def told(self, tlv: Tlv, wire: bytes) -> bool:
        """Handles a unidirectional message, which wants no response; returns False for unknown types."""


class ServerSession:
    """The server's state of one session."""

    def __init__(self, operations: Operations, now: float) -> None:
        self._operations = operations
        self._established = False
        self._asked = False
        self._alive = self._acted = now

    def heard(self, wire: bytes, now: float) -> None:
        """Notes an ordinary DNS message from the client. Raises Fatal if the connection must be aborted."""
        self._alive = self._acted = now
        if self._established and keeps_tcp_alive(wire):
            raise Fatal("edns-tcp-keepalive within a session")

    def sent(self, now: float) -> None:
        """Notes that the server sent a message of its own, or an ordinary DNS response."""
        self._alive = self._acted = now

    def farewell(self) -> bytes | None:
        """The message that ends an established session and lets the client reconnect immediately; else None."""
        return write(0, (retry_delay(0),)) if self._established else None

    def receive(self, wire: bytes, now: float) -> bytes | None:
        """Returns the response to a message, None if it wants none. Raises Fatal if the connection must be aborted."""
        self._alive = now
        if is_response(wire):
            raise Fatal("a response to no request")
        message = read_request(wire)
        if isinstance(message, bytes):
            self._acted = now
            return message
        primary = message.tlvs[0]
        if primary.kind == RETRY_DELAY:
            raise Fatal("a Retry Delay that the client sent; only servers send it")
        if primary.kind != KEEPALIVE:
            self._acted = now
        if message.id:
            self._asked = True
            return self._answer(message, primary)
        # A client that sent a request may not know yet that it was refused (RFC 8765 6.4.1).
        if not self._asked or primary.kind == KEEPALIVE or not self._operations.told(primary, wire):
            raise Fatal("a unidirectional message that is unknown, or not allowed here")
        return None

    def _answer(self, message: Stateful, primary: Tlv) -> bytes:
        tlvs: tuple[tuple[int, bytes], ...] = ()
        if primary.kind == KEEPALIVE:
            rcode = NOERROR if len(primary.data) == TIMES.size else FORMERR
            if rcode == NOERROR:
                tlvs = (keepalive(INACTIVITY, KEEPALIVE_EVERY),)
        else:
            rcode = self._operations.request(message.id, primary, message.wire)
        # Only NOERROR establishes the session; DSOTYPENI does not (RFC 8490 5.1.1).
        self._established |= rcode == NOERROR
        return reply(message.id, rcode, tlvs, asked=message.tlvs)

    def timer(self) -> float:
        """The time when the session ends, unless a message comes before (RFC 8490 6.4, 6.5)."""
        alive = self._alive + 2 * KEEPALIVE_EVERY
        if self._operations.active:
            return alive
        return min(alive, self._acted + max(2 * INACTIVITY, LEAST_PATIENCE))


def framed(wire: bytes) -> bytes:
    """A message with its length before it, as TCP carries it (RFC 1035 4.2.2)."""
    return len(wire).to_bytes(2, "big") + wire
