"""A copy of a host's zone, kept up to date: whole the first time, then by differences (RFC 1995, RFC 5936).

A watcher has one for each host. It does no I/O: it builds the query, and is given the messages of the response.
A response takes effect when it is complete. Until then, or if it is malformed, the copy does not change.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from ..base.errors import BadMessage
from ..base.names import Name
from ..base.policy import MAX_FROM_PEER
from ..codec.answer import Told, told_in
from ..dns.message import (
    AAAA,
    AXFR,
    IN,
    IXFR,
    NOERROR,
    NS,
    OPCODE,
    PTR,
    QR,
    SOA,
    SRV,
    TC,
    TXT,
    A,
    Message,
    Record,
    rdata_of,
    soa_serial,
)
from ..dns.writer import Packer
from .transfer import MOST_MESSAGES, MOST_OCTETS, MOST_RECORDS

_SRV: Final = Struct("!3H")
_SOA_HEAD: Final = b"\0\0"  # MNAME and RNAME of the SOA in an IXFR query: servers read only its serial
_TELLING: Final = frozenset((SRV, TXT, A, AAAA))

Key = tuple[bytes, int]  # owner in lower case, type
Wanted = Callable[[Key], bool]
_RRs = dict[bytes, bytes] | None
_Parts = tuple[_RRs, _RRs, _RRs, _RRs]  # SRV, TXT, A and AAAA of an instance


class Progress(enum.Enum):
    """The result of one message of a response."""

    MORE = "more messages of the response follow"
    CURRENT = "the copy is current"
    CHANGED = "the copy has changed"
    ASK_WHOLE = "a full transfer (AXFR) over TCP is needed"


def instances_of(apex: Name) -> Wanted:
    """A filter for the records that describe instances: all that a directory needs."""

    def wanted(key: Key) -> bool:
        owner, rtype = key
        if rtype not in _TELLING:
            return False
        labels = Name(owner).relative_to(apex)
        return labels is not None and len(labels) == 2 and not labels[1].startswith(b"_")

    return wanted


class Secondary:
    """A copy of the zone at `apex`, or of its records that are `wanted`. Its limits are multiplied by `hosts`."""

    def __init__(self, apex: Name, wanted: Wanted | None = None, hosts: int = 1) -> None:
        self._apex = apex
        self._wanted = wanted or instances_of(apex)
        self._hosts = hosts
        self.serial: int | None = None
        # RDATA as received, by the same RDATA with its names in lower case.
        self.records: dict[Key, dict[bytes, bytes]] = {}
        self._count = 0
        self._answer: _Reading | None = None
        self._whole = True
        self._read: dict[bytes, tuple[_Parts, Told | None]] = {}  # by owner: RRsets, and the instance in them

    def ask(self, ident: int) -> bytes:
        """The next query in wire format: IXFR since our serial, or AXFR."""
        self._answer = None
        whole = self._whole or self.serial is None
        self._qtype = AXFR if whole else IXFR
        packer = Packer(self._apex.wire, self._qtype)
        if not whole:
            serial = (self.serial or 0).to_bytes(4, "big")
            packer.record(None, SOA, 0, (_SOA_HEAD + serial + bytes(16), None))
        return packer.finish(ident, 0, (0, int(not whole), 0))

    def feed(self, wire: bytes) -> Progress:
        """Takes one message of the response. Raises BadMessage if it is malformed; the next query is then AXFR."""
        try:
            return self._feed(wire)
        except BadMessage:
            self._answer, self._whole = None, True
            raise

    def _feed(self, wire: bytes) -> Progress:
        message = Message(wire)
        if (
            message.flags & (QR | OPCODE | TC) != QR
            or message.rcode != NOERROR
            or message.question[1:] != (self._apex.key, self._qtype, IN)
        ):
            raise BadMessage("this is not a transfer of our zone")
        if self._answer is None:
            self._answer = _Reading(self._apex, self._wanted, None if self._qtype == AXFR else self.serial, self._hosts)
        answer = self._answer
        if not answer.feed(message):
            return Progress.MORE
        self._answer = None
        return self._take(answer)

    def _take(self, answer: _Reading) -> Progress:
        if answer.alone:
            self._whole = answer.serial != self.serial
            return Progress.ASK_WHOLE if self._whole else Progress.CURRENT
        self._apply(answer)
        self._whole, self.serial = False, answer.serial
        return Progress.CHANGED

    def _apply(self, answer: _Reading) -> None:
        records, count = ({}, 0) if answer.whole else (dict(self.records), self._count)
        copied: set[Key] = set()
        for adding, key, folded, rdata in answer.changes:
            if key not in copied:
                copied.add(key)
                records[key] = dict(records.get(key, ()))
            standing = records[key]
            if adding:
                count += folded not in standing
                standing[folded] = rdata
            elif standing.pop(folded, None) is None:
                raise BadMessage("a transfer that deletes a record that the copy does not have")
            else:
                count -= 1
        if count > MOST_RECORDS * self._hosts:
            raise BadMessage("a zone with too many records")
        self.records = {key: rdatas for key, rdatas in records.items() if rdatas}
        self._count = count

    def told(self) -> Iterator[Told]:
        """Yields every instance in the copy; an unchanged one is the same object as last time. Raises BadMessage if
        there are more than the hosts may offer."""
        before, self._read = self._read, {}
        count, records = 0, self.records
        for (owner, rtype), rdatas in records.items():
            if rtype != SRV:
                continue
            texts, four, six = records.get((owner, TXT)), records.get((owner, A)), records.get((owner, AAAA))
            known = before.get(owner)
            # An RRset that no transfer has changed is the same object.
            if not (
                known and known[0][0] is rdatas and known[0][1] is texts and known[0][2] is four and known[0][3] is six
            ):
                known = (rdatas, texts, four, six), self._told(owner, next(iter(rdatas.values())))
            self._read[owner] = known
            told = known[1]
            if told and told.port:
                count += 1
                if count > MAX_FROM_PEER * self._hosts:
                    raise BadMessage(f"more than {MAX_FROM_PEER * self._hosts} services in one zone")
                yield told

    def _told(self, owner: bytes, srv: bytes) -> Told | None:
        target = srv[_SRV.size :]
        labels = Name(owner).relative_to(self._apex)
        if target.lower() != owner or labels is None or len(labels) != 2 or labels[1].startswith(b"_"):
            return None
        texts = self.records.get((owner, TXT), {}).values()
        addresses = [rdata for rtype in (A, AAAA) for rdata in self.records.get((owner, rtype), {}).values()]
        return told_in(target, _SRV.unpack_from(srv), self._apex, texts, addresses)


class _Reading:
    """A response to AXFR, or to IXFR from the serial `known`, while it arrives: the records added and deleted."""

    def __init__(self, apex: Name, wanted: Wanted, known: int | None, hosts: int) -> None:
        self._apex = apex
        self._wanted = wanted
        self._hosts = hosts
        self._at = known  # the serial that the steps read so far lead to
        self._messages = self._octets = 0
        self._soas = 0
        self.whole = known is None
        self.adding = True
        self.serial = 0
        self.alone = False
        self.changes: list[tuple[bool, Key, bytes, bytes]] = []

    def feed(self, message: Message) -> bool:
        """Takes one message; True if it was the last."""
        self._messages += 1
        self._octets += len(message.wire)
        if self._messages > MOST_MESSAGES * self._hosts or self._octets > MOST_OCTETS * self._hosts:
            raise BadMessage("a transfer that is too large")
        done = False
        for record in message.answer:
            if done:
                raise BadMessage("records after the end of a transfer")
            if record.rclass != IN:
                continue
            if record.rtype == SOA and record.key == self._apex.key:
                done = self._soa(soa_serial(message.wire, message.names, record))
            elif not self._soas:
                raise BadMessage("a transfer that does not begin with an SOA record")
            else:
                self._record(message, record)
        if self._soas == 1 and self._at is not None and not self.whole and not self.changes:
            # Only the SOA: it gives the server's serial, but no steps towards it.
            self.alone = done = True
        return done

    def _soa(self, serial: int) -> bool:
        """Takes an SOA record; True if it ends the transfer."""
        self._soas += 1
        if self._soas == 1:
            self.serial = serial
            return False
        if self._soas == 2 and not self.whole and serial != self._at:
            self.whole = True  # a whole zone that contains only its SOA
        if self.whole:
            if serial != self.serial:
                raise BadMessage("a transfer whose last SOA has another serial than its first")
            return True
        if self._soas % 2:
            # The additions that lead to this serial follow.
            self._at, self.adding = serial, True
            return False
        if serial != self._at:
            raise BadMessage("an incremental transfer whose steps are not consecutive")
        self.adding = False
        return self._soas > 2 and serial == self.serial

    def _record(self, message: Message, record: Record) -> None:
        if self._soas == 1:
            self.whole = True  # an AXFR-style response, also allowed to IXFR
        key = record.key, record.rtype
        if not self._wanted(key):
            return
        if len(self.changes) >= 2 * MOST_RECORDS * self._hosts:
            raise BadMessage("a transfer with too many records")
        rdata, folded = _rdata(message, record)
        self.changes.append((self.adding, key, folded, rdata))


def _rdata(message: Message, record: Record) -> tuple[bytes, bytes]:
    """RDATA without compression: as received, and with its names in lower case."""
    rdata = rdata_of(message.wire, message.names, record)
    fixed = {SRV: _SRV.size, PTR: 0, NS: 0}.get(record.rtype, len(rdata))
    return rdata, rdata[:fixed] + rdata[fixed:].lower()
