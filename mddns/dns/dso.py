"""DNS Stateful Operations (RFC 8490): messages made of TLVs, and the session as the server keeps it.

Whole messages in, whole messages out; times in seconds of the caller's clock. What the operations mean is
decided elsewhere (:mod:`mddns.responder.push_subscriptions`). A :class:`Fatal` is what the RFC answers by aborting the
connection. The client's side is :mod:`mddns.dns.dso_client`.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple, Protocol

from ..base.errors import BadMessage
from .message import FORMERR, HEADER, NOERROR, NOTAUTH, NOTIMP, OPCODE, OPT, QR, REFUSED, SERVFAIL, Message

DSO: Final = 6 << 11  # the opcode, where flags have it
DSOTYPENI: Final = 11  # the rcode: TLV type not implemented

# TLV types (RFC 8490 10.3).
KEEPALIVE, RETRY_DELAY, PADDING = 1, 2, 3

INACTIVITY: Final = 15.0  # seconds, both: what holds where nobody says otherwise (RFC 8490 6.2)
KEEPALIVE_EVERY: Final = 15.0
LEAST_PATIENCE: Final = 5.0  # how long a server waits at least for a client to end an inactive session (6.4)
NEVER: Final = 0xFFFFFFFF  # in place of a time in milliseconds

# Seconds for which a client leaves alone what was answered so, where nobody says otherwise (RFC 8765 6.2.2).
_RETRY_AFTER: Final = {FORMERR: 300, SERVFAIL: 60, NOTIMP: 3600, REFUSED: 60, NOTAUTH: 60, DSOTYPENI: 3600}
_RETRY_AFTER_OTHERS: Final = 300

_TCP_KEEPALIVE: Final = 11  # EDNS option code (RFC 7828)
_OPT_AT_ROOT: Final = b"\0" + OPT.to_bytes(2, "big")

_TLV: Final = Struct("!2H")
TIMES: Final = Struct("!2I")  # of a Keepalive: inactivity timeout and keepalive interval
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


def is_response(wire: bytes) -> bool:
    """Whether a message of at least a header answers another."""
    return bool(wire[2] & QR >> 8)


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
    return RETRY_DELAY, _ONE.pack(round(seconds * 1000))


def keepalive(inactivity: float, every: float) -> tuple[int, bytes]:
    """The Keepalive TLV (RFC 8490 7.1)."""
    return KEEPALIVE, TIMES.pack(round(inactivity * 1000), round(every * 1000))


def retry_after(rcode: int) -> float:
    """Seconds for which what was answered with `rcode` is not to be asked again, where nobody says otherwise."""
    return _RETRY_AFTER.get(rcode, _RETRY_AFTER_OTHERS)


def reply(
    ident: int,
    rcode: int = NOERROR,
    tlvs: Iterable[tuple[int, bytes]] = (),
    *,
    asked: Iterable[Tlv] = (),
    retry: float | None = None,
) -> bytes:
    """The response to a request with the TLVs `asked`. An error says for how many seconds not to ask again."""
    out = list(tlvs)
    if rcode != NOERROR:
        out.append(retry_delay(retry_after(rcode) if retry is None else retry))
    if any(tlv.kind == PADDING for tlv in asked):
        out.append((PADDING, b""))  # who pads is padded, however little (RFC 8490 7.3)
    return write(ident, out, response=True, rcode=rcode)


def read_request(wire: bytes) -> Stateful | bytes:
    """A message without QR, which has a TLV; octets are what a malformed one is answered with, where it wants one."""
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
        return reply(ident, FORMERR, asked=message.tlvs)  # only ever behind another
    return message


def refusal(wire: bytes, seconds: float, rcode: int = SERVFAIL) -> bytes:
    """The answer to a message where there is no place for a session (RFC 8490 6.6.1). Fatal where it wants none."""
    if not wire[0] << 8 | wire[1] or is_response(wire):
        raise Fatal("a message that wants no answer, without a session")
    message = read_request(wire)
    if isinstance(message, bytes):
        return message
    if message.tlvs[0].kind == RETRY_DELAY:
        raise Fatal("a client that asks the server to stay away")
    return reply(message.id, rcode, asked=message.tlvs, retry=seconds)


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
        self._asked = False
        self._alive = self._acted = now

    def heard(self, wire: bytes, now: float) -> None:
        """Any other DNS message has come on the connection. Fatal where the connection must be aborted."""
        self._alive = self._acted = now
        if self._established and keeps_tcp_alive(wire):
            raise Fatal("edns-tcp-keepalive within a session")

    def sent(self, now: float) -> None:
        """We have sent something of our own, or an answer that is none of DSO."""
        self._alive = self._acted = now

    def farewell(self) -> bytes | None:
        """What tells the client that we end it, and that it may come back at once; None before it is established."""
        return write(0, (retry_delay(0),)) if self._established else None

    def receive(self, wire: bytes, now: float) -> bytes | None:
        """The answer to a message, None where it wants none. Fatal where the connection must be aborted."""
        self._alive = now
        if is_response(wire):
            raise Fatal("an answer that nobody has asked for")
        message = read_request(wire)
        if isinstance(message, bytes):
            self._acted = now
            return message
        primary = message.tlvs[0]
        if primary.kind == RETRY_DELAY:
            raise Fatal("a client that asks the server to stay away")
        if primary.kind != KEEPALIVE:
            self._acted = now
        if message.id:
            self._asked = True
            return self._answer(message, primary)
        # Who has asked may not have heard yet that it was refused (RFC 8765 6.4.1).
        if not self._asked or primary.kind == KEEPALIVE or not self._operations.told(primary, wire):
            raise Fatal("a message without id that may not come so")
        return None

    def _answer(self, message: Stateful, primary: Tlv) -> bytes:
        tlvs: tuple[tuple[int, bytes], ...] = ()
        if primary.kind == KEEPALIVE:
            rcode = NOERROR if len(primary.data) == TIMES.size else FORMERR
            if rcode == NOERROR:
                tlvs = (keepalive(INACTIVITY, KEEPALIVE_EVERY),)
        else:
            rcode = self._operations.request(message.id, primary, message.wire)
        # Nothing else establishes it, not even to know no such type (RFC 8490 5.1.1).
        self._established |= rcode == NOERROR
        return reply(message.id, rcode, tlvs, asked=message.tlvs)

    def timer(self) -> float:
        """When the session ends, unless something comes (RFC 8490 6.4, 6.5)."""
        alive = self._alive + 2 * KEEPALIVE_EVERY
        if self._operations.active:
            return alive
        return min(alive, self._acted + max(2 * INACTIVITY, LEAST_PATIENCE))


def framed(wire: bytes) -> bytes:
    """A message behind its length, as TCP carries it (RFC 1035 4.2.2)."""
    return len(wire).to_bytes(2, "big") + wire
