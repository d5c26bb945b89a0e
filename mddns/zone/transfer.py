"""Zone transfers, whole (AXFR, RFC 5936) and incremental (IXFR, RFC 1995), in as many messages as they need.

They carry a list that is too long for one message, and keep secondaries up to date. There is no I/O here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from ..base.errors import BadMessage
from ..base.names import Name
from ..base.policy import MAX_FROM_PEER
from ..codec.answer import Told, told_of
from ..codec.instance_records import TTL
from ..dns.message import AA, AAAA, AXFR, IN, NOERROR, OPCODE, QR, SOA, SRV, TC, TXT, A, Message, Question, Record
from ..dns.writer import RR, Packer

if TYPE_CHECKING:
    from .apex import Apex
    from .journal import Step
    from .zone import Zone

# Larger messages save nothing: a compression pointer cannot reach a name beyond 16 KiB.
_MESSAGE_SIZE: Final = 16_000
IN_ONE: Final = 8_000  # octets of steps that surely fit into one message, together with SOA records of the longest apex
MOST_MESSAGES: Final = 1_000
# One service has records at its name, at its type and at its two instance names: its labels (1,300 octets) three
# times, four SRV records, and one more SRV record for each of 16 aliases. With the longest names and an apex of 122
# octets, 1,000 services take close to 13 million octets.
MOST_OCTETS: Final = 16 << 20
MOST_RECORDS: Final = 64 * MAX_FROM_PEER  # records of instances: SRV, TXT, A and AAAA
_TELLING: Final = frozenset((SRV, TXT, A, AAAA))


def transfer_out(question: Question, ident: int, apex: Apex, zone: Zone, opt: bytes = b"") -> Iterator[bytes]:
    """The messages of a whole transfer: SOA, all other records, SOA. The first message has `opt` (RFC 5936 2.2.5)."""
    soa = apex.soa_record
    return _messages(question, ident, chain((soa,), apex.records(), zone.records(), (soa,)), opt)


def differences_out(
    question: Question, ident: int, apex: Apex, steps: Iterable[Step], opt: bytes = b""
) -> Iterator[bytes]:
    """The messages of an incremental transfer (RFC 1995 4). Without steps it is only the SOA: nothing has changed."""
    soa = apex.soa_record
    records: list[RR] = [soa]
    for step in steps:
        records += [step.before, *step.deleted, step.after, *step.added]
    if len(records) > 1:
        records.append(soa)
    return _messages(question, ident, records, opt)


def _messages(question: Question, ident: int, records: Iterable[RR], opt: bytes) -> Iterator[bytes]:
    def pack(packer: Packer, count: int) -> bytes:
        return packer.finish(ident, QR | AA, (count, 0, 0), opt)

    # Names keep their case, because some secondaries delete only a record with exactly the same octets (RFC 5936 3.4):
    # unbound would transfer the whole zone again.
    packer, count = Packer(question.qname, question.qtype, exact=True), 0
    for owner, rtype, rdata in records:
        if len(packer) > _MESSAGE_SIZE:
            yield pack(packer, count)
            packer, count, opt = Packer(question.qname, question.qtype, exact=True), 0, b""
        packer.record(owner, rtype, TTL, rdata)
        count += 1
    yield pack(packer, count)


class TransferIn:
    """A whole transfer (AXFR) while it is read."""

    def __init__(self, apex: Name) -> None:
        self._apex = apex
        self._messages = self._octets = self._kept = 0
        self._records: dict[tuple[bytes, int], list[tuple[Message, Record]]] = {}
        self._begun = False

    def feed(self, wire: bytes) -> bool:
        """Takes one message; True if it was the last. Raises BadMessage if this is no transfer of our zone."""
        message = Message(wire)
        self._messages += 1
        self._octets += len(wire)
        if self._messages > MOST_MESSAGES or self._octets > MOST_OCTETS:
            raise BadMessage("a transfer that is too large")
        if (
            message.flags & (QR | OPCODE | TC) != QR
            or message.rcode != NOERROR
            or message.question[1:] != (self._apex.key, AXFR, IN)
        ):
            raise BadMessage("this is not a transfer of our zone")
        # Records that do not describe instances are not kept.
        records, message.answer = message.answer, []
        for record in records:
            if record.rclass != IN:
                continue
            if record.rtype == SOA and record.key == self._apex.key:
                if self._begun:
                    return True
                self._begun = True
            elif not self._begun:
                raise BadMessage("a transfer that does not begin with an SOA record")
            elif record.rtype in _TELLING:
                self._kept += 1
                if self._kept > MOST_RECORDS:
                    raise BadMessage("a transfer with too many records")
                self._records.setdefault((record.key, record.rtype), []).append((message, record))
        return False

    def told(self) -> tuple[Told, ...]:
        """The instances in the transfer. Raises BadMessage if there are more than one peer may offer."""
        found = []
        for (owner, rtype), records in self._records.items():
            labels = Name(owner).relative_to(self._apex)
            if rtype != SRV or labels is None or len(labels) != 2 or labels[-1].startswith(b"_"):
                continue
            message, record = records[0]
            priority, weight, port, target = message.srv(record)
            told = (
                told_of(target, (priority, weight, port), self._apex, self._records)
                if target.lower() == owner
                else None
            )
            if told and told.port:
                found.append(told)
            if len(found) > MAX_FROM_PEER:
                raise BadMessage(f"more than {MAX_FROM_PEER} services in one transfer")
        return tuple(found)
