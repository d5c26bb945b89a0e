"""DNS UPDATE (RFC 2136): a process sends its offers to another one in this form.

A message has records of instances only: SRV, TXT, A and AAAA at ``<instance>.<name>.<apex>``; the receiver derives
the rest of the zone. Records of class IN add or replace an instance; class ANY withdraws it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ..base.errors import BadMessage
from ..base.model import Service
from ..base.names import Name
from ..dns.message import AAAA, ANY, IN, SOA, SRV, TXT, A, Message
from ..dns.writer import Packer, Rdata
from .answer import Records, Told, told_of
from .instance_records import address_octets, instance_txt, srv_octets

UPDATE: Final = 5 << 11  # the opcode, at its place in the flags
_CLASS_ANY: Final = 255
_ENOUGH: Final = 50_000  # octets after which a new message begins; one service needs less than the rest up to 65,535
_Record = tuple[bytes, int, Rdata, int]  # owner, type, RDATA, class


class Change(NamedTuple):
    """One instance of an update: `told` is the added or replaced instance, None if it is withdrawn."""

    name: str
    instance: str
    told: Told | None


def instance_name(service: Service, apex: Name) -> bytes:
    """``<instance>.<name>.<apex>`` in wire format."""
    labels = service.instance.encode("utf-8", "surrogateescape"), service.name.encode()
    return Name.of(labels, apex).wire


def updates(added: Iterable[Service], withdrawn: Iterable[Service], apex: Name) -> Iterator[bytes]:
    """Yields updates that withdraw services and add or replace others: one message, or more if it gets too large."""
    packer, count = Packer(apex.wire, SOA, IN), 0
    # If a service gets a new instance label, one message has both changes, so that the service is never missing.
    relabelled: dict[tuple[str, str, str], list[Service]] = {}
    for each in withdrawn:
        relabelled.setdefault(each.key, []).append(each)
    pairs = [(relabelled.pop(each.key, ()), (each,)) for each in added]
    alone = [((each,), ()) for group in relabelled.values() for each in group]
    for gone, new in (*alone, *pairs):
        records = [*(r for each in gone for r in _withdraw(each, apex)), *(r for each in new for r in _add(each, apex))]
        if len(packer) > _ENOUGH:
            yield packer.finish(0, UPDATE, (0, count, 0))
            packer, count = Packer(apex.wire, SOA, IN), 0
        for owner, rtype, rdata, rclass in records:
            packer.record(owner, rtype, 0, rdata, rclass)
            count += 1
    if count:
        yield packer.finish(0, UPDATE, (0, count, 0))


def _add(service: Service, apex: Name) -> Iterator[_Record]:
    owner = instance_name(service, apex)
    yield owner, SRV, (srv_octets(service), owner), IN
    yield owner, TXT, (instance_txt(service), None), IN
    for each in service.addresses:
        yield owner, AAAA if ":" in each else A, (address_octets(each), None), IN


def _withdraw(service: Service, apex: Name) -> Iterator[_Record]:
    yield instance_name(service, apex), ANY, (b"", None), _CLASS_ANY


def read(wire: bytes, apex: Name) -> list[Change]:
    """Returns the changes of an update in order. Raises BadMessage if it has anything but instances of our zone."""
    message = Message(wire)
    if message.question.key != apex.key or message.question.qtype != SOA:
        raise BadMessage("an update of another zone")
    records: Records = {}
    owners: dict[bytes, bool] = {}
    for record in message.authority:
        labels = Name(record.key).relative_to(apex)
        if labels is None or len(labels) != 2 or record.rtype not in (SRV, TXT, A, AAAA, ANY):
            raise BadMessage("an update of records that belong to no instance")
        owners[record.key] = record.rclass == _CLASS_ANY
        records.setdefault((record.key, record.rtype), []).append((message, record))
    changes = []
    for owner, withdrawn in owners.items():
        told = None
        if not withdrawn:
            srv = records.get((owner, SRV))
            if not srv:
                raise BadMessage("an instance without an SRV record")
            *numbers, target = message.srv(srv[0][1])
            told = told_of(target, (numbers[0], numbers[1], numbers[2]), apex, records)
            if told is None or target.lower() != owner or not told.port:
                raise BadMessage("an instance whose records are incomplete or invalid")
        instance, name = Name(owner).labels[:2]
        shown = told.name if told else name.decode("utf-8", "surrogateescape")
        changes.append(Change(shown, instance.decode("utf-8", "surrogateescape"), told))
    return changes
