"""DNS Push Notifications (RFC 8765): the subscriptions of a session, and the changes that it gets.

They go over DSO sessions (:mod:`mddns.dns.dso`), here without TLS: the network encrypts already.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from ..base.errors import BadMessage
from ..codec.instance_records import TTL
from ..dns.dso import DSOTYPENI, Fatal, Tlv, is_response, read, refusal, write
from ..dns.message import (
    ANY,
    FORMERR,
    IN,
    NOERROR,
    NOTAUTH,
    REFUSED,
    Names,
    Record,
    rdata_of,
    read_question,
    read_record,
)

# TLV types (RFC 8765 6).
SUBSCRIBE, PUSH, UNSUBSCRIBE, RECONFIRM = 0x40, 0x41, 0x42, 0x43
KINDS: Final = frozenset((SUBSCRIBE, PUSH, UNSUBSCRIBE, RECONFIRM))

REMOVED: Final = 0xFFFFFFFF  # in place of a TTL: this record was removed
REMOVED_ALL: Final = 0xFFFFFFFE  # all records of the name, type and class were; of all types if the class is ANY
MOST_TTL: Final = 0x7FFFFFFF
MOST_OCTETS: Final = 16_382  # of a PUSH message, with the header
MOST_SUBSCRIPTIONS: Final = 64  # of one session

_RR: Final = Struct("!2HIH")
_ID: Final = Struct("!H")
_HEADERS: Final = 12 + 4  # of the message and of its TLV

Key = tuple[bytes, int, int]  # name in lower case, type, class
Held = tuple[int, bytes]  # a record at a name: type and RDATA
Look = Callable[[bytes, int], frozenset[Held] | None]
"""Returns the records at a name (in lower case) of a type, or of ANY; None if the name is not in our zone."""


class Kind(enum.Enum):
    """The kinds of changes."""

    ADD = "a record is added"
    REMOVE = "a record is removed"
    REMOVE_ALL = "all records of a name, of a type (or ANY) and class (or ANY) are removed"


class Change(NamedTuple):
    """One change notification. `owner` is uncompressed wire format as given; RDATA have no compressed names."""

    owner: bytes
    rtype: int
    rclass: int
    ttl: int
    rdata: bytes

    @property
    def kind(self) -> Kind:
        """The kind of this change (RFC 8765 6.3.1)."""
        if self.ttl == REMOVED:
            return Kind.REMOVE
        return Kind.REMOVE_ALL if self.ttl == REMOVED_ALL else Kind.ADD


def subscription(name: bytes, qtype: int, qclass: int = IN) -> bytes:
    """Returns the data of a SUBSCRIBE TLV."""
    return name + qtype.to_bytes(2, "big") + qclass.to_bytes(2, "big")


def without_place(wire: bytes, seconds: float, rcode: int) -> bytes | None:
    """Writes the answer to a DSO message when there is no place for a session. None for an UNSUBSCRIBE: the client may
    have sent it before its SUBSCRIBE was refused (RFC 8765 6.4.1). Raises Fatal for any other unidirectional message.
    """
    if not (wire[0] or wire[1] or is_response(wire)):
        message = read(wire)
        if message.tlvs and message.tlvs[0].kind == UNSUBSCRIBE:
            return None
    return refusal(wire, seconds, rcode)


def write_pushes(changes: Iterable[Change]) -> Iterator[bytes]:
    """Yields as many PUSH messages as the changes need, in the same order.

    A repeated owner is written as a pointer. No other name is compressed.
    """
    body = bytearray()
    owners: dict[bytes, int] = {}
    for change in changes:
        at = owners.get(change.owner)
        owner = change.owner if at is None else (0xC000 | at).to_bytes(2, "big")
        record = _RR.pack(change.rtype, change.rclass, change.ttl, len(change.rdata)) + change.rdata
        if body and _HEADERS + len(body) + len(owner) + len(record) > MOST_OCTETS:
            yield write(0, ((PUSH, bytes(body)),))
            body.clear()
            owners.clear()
            owner = change.owner
        owners.setdefault(change.owner, _HEADERS + len(body))
        body += owner + record
    if body:
        yield write(0, ((PUSH, bytes(body)),))


def read_push(tlv: Tlv, wire: bytes) -> list[Change]:
    """Returns the changes in a PUSH. Raises Fatal if it is malformed."""
    end = tlv.at + len(tlv.data)
    at, names, found = tlv.at, Names(wire), []
    if at == end:
        raise Fatal("a PUSH without records")
    if len(wire) > MOST_OCTETS:
        raise Fatal("a PUSH that is too large")
    try:
        while at < end:
            owner, _ = names.read(at)
            record, at = read_record(wire, names, at)
            if at > end:
                raise BadMessage("a record that is longer than its TLV")
            change = _change(owner, record, wire, names)
            if change:
                found.append(change)
    except BadMessage as error:
        raise Fatal(str(error)) from error
    return found


def _change(owner: bytes, record: Record, wire: bytes, names: Names) -> Change | None:
    """Returns the change that a record means; None if its TTL has no meaning, so that the record is ignored."""
    rtype, rclass, ttl = record.rtype, record.rclass, record.ttl
    if ttl == REMOVED_ALL:
        if record.start != record.end:
            raise BadMessage("a removal of all records that has RDATA")
        return Change(owner, 0 if rclass == ANY else rtype, rclass, ttl, b"")
    if MOST_TTL < ttl < REMOVED_ALL:
        return None
    if ANY in (rtype, rclass):
        raise BadMessage("a change of a single record with type or class ANY")
    return Change(owner, rtype, rclass, ttl, rdata_of(wire, names, record))


def _removed(name: bytes, qtype: int, before: frozenset[Held], now: frozenset[Held]) -> Iterator[Change]:
    """Yields the fewest notifications for the removed records of a subscription (RFC 8765 6.3.1)."""
    if qtype == ANY and not now:
        yield Change(name, ANY, IN, REMOVED_ALL, b"")
        return
    standing, told = {rtype for rtype, _ in now}, set()
    for rtype, rdata in before - now:
        if rtype in standing:
            yield Change(name, rtype, IN, REMOVED, rdata)
        elif rtype not in told:
            told.add(rtype)
            yield Change(name, rtype, IN, REMOVED_ALL, b"")


class Subscriptions:
    """The subscriptions of one session, and the records that were sent for each."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._standing: dict[int, tuple[bytes, Key]] = {}  # by message ID: the name as given, and the question
        self._told: dict[int, frozenset[Held]] = {}

    @property
    def active(self) -> bool:
        """Whether the session has any subscription."""
        return bool(self._standing)

    def request(self, ident: int, tlv: Tlv, wire: bytes) -> int:
        """Handles a DSO request, which must be a SUBSCRIBE; returns its rcode. Raises Fatal if the session must end."""
        if tlv.kind == PUSH:
            raise Fatal("a PUSH from a client")
        if tlv.kind in (UNSUBSCRIBE, RECONFIRM):
            raise Fatal("an UNSUBSCRIBE or RECONFIRM whose message ID is not 0")
        if tlv.kind != SUBSCRIBE:
            return DSOTYPENI
        try:
            question, end = read_question(tlv.data, 0)
        except BadMessage:
            return FORMERR
        if end != len(tlv.data):
            return FORMERR
        key = question.key, question.qtype, question.qclass
        if ident in self._standing or any(key == standing for _, standing in self._standing.values()):
            raise Fatal("a second SUBSCRIBE with the same question or message ID")
        if question.qclass not in (IN, ANY) or self._look(question.key, question.qtype) is None:
            return NOTAUTH
        if len(self._standing) >= MOST_SUBSCRIPTIONS:
            return REFUSED
        self._standing[ident] = question.qname, key
        self._told[ident] = frozenset()
        return NOERROR

    def told(self, tlv: Tlv, wire: bytes) -> bool:
        """Handles an UNSUBSCRIBE or RECONFIRM; returns False for any other TLV. Raises Fatal if it is malformed."""
        if tlv.kind == UNSUBSCRIBE:
            if len(tlv.data) != _ID.size:
                raise Fatal("an UNSUBSCRIBE of the wrong length")
            (ident,) = _ID.unpack(tlv.data)
            # The subscription may be unknown: the client may send this before it receives our refusal.
            self._standing.pop(ident, None)
            self._told.pop(ident, None)
            return True
        if tlv.kind != RECONFIRM:
            return False
        try:
            read_question(tlv.data, 0)
        except BadMessage as error:
            raise Fatal(str(error)) from error
        return True  # there is nothing to confirm: the records are our own (6.5)

    def changes(self, look: Look | None = None) -> list[Change]:
        """Returns the changes since the last call. `look` replaces the one of the session, for example by a cache."""
        look = look or self._look
        gone: dict[Change, None] = {}
        new: dict[Change, None] = {}
        for ident, (name, (key, qtype, _)) in self._standing.items():
            before, now = self._told[ident], look(key, qtype) or frozenset()
            if before == now:
                continue
            self._told[ident] = now
            gone.update((change, None) for change in _removed(name, qtype, before, now))
            new.update((Change(name, rtype, IN, TTL, rdata), None) for rtype, rdata in now - before)
        return [*gone, *new]
