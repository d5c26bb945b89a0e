"""DNS UPDATE (RFC 2136): how one process tells another what it offers.

A message names instances only, by SRV, TXT and, where they are not simply the node's own, A and AAAA at
``<instance>.<name>.<apex>``; what else the zone holds follows from these. Adding replaces; class ANY withdraws.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .answers import Records, Told, told_of
from .errors import BadMessage
from .instance import address_octets, instance_txt, srv_octets
from .model import Service
from .names import Name
from .packer import Packer, Rdata
from .wire import AAAA, ANY, IN, SOA, SRV, TXT, A, Message

UPDATE: Final = 5 << 11  # the opcode, where flags have it
_CLASS_ANY: Final = 255


class Change(NamedTuple):
    """One instance of an update: `told` where it is added or replaced, None where it is withdrawn."""

    name: str
    instance: str
    told: Told | None


def instance_name(service: Service, apex: Name) -> bytes:
    """``<instance>.<name>.<apex>`` in wire format."""
    labels = service.instance.encode("utf-8", "surrogateescape"), service.name.encode()
    return Name.of(labels, apex).wire


def add(service: Service, apex: Name) -> bytes:
    """An update that adds or replaces `service`."""
    owner = instance_name(service, apex)
    records: list[tuple[int, Rdata]] = [(SRV, (srv_octets(service), owner)), (TXT, (instance_txt(service), None))]
    records += [(AAAA if ":" in each else A, (address_octets(each), None)) for each in service.addresses]
    packer = Packer(apex.wire, SOA, IN)
    for rtype, rdata in records:
        packer.record(owner, rtype, 0, rdata)
    return packer.finish(0, UPDATE, (0, len(records), 0))


def withdraw(service: Service, apex: Name) -> bytes:
    """An update that withdraws `service`."""
    packer = Packer(apex.wire, SOA, IN)
    packer.record(instance_name(service, apex), ANY, 0, (b"", None), rclass=_CLASS_ANY)
    return packer.finish(0, UPDATE, (0, 1, 0))


def read(wire: bytes, apex: Name) -> list[Change]:
    """What an update changes, in its order; BadMessage where it names anything but instances of our zone."""
    message = Message(wire)
    if message.question.key != apex.key or message.question.qtype != SOA:
        raise BadMessage("an update of another zone")
    records: Records = {}
    owners: dict[bytes, bool] = {}
    for record in message.authority:
        labels = Name(record.key).relative_to(apex)
        if labels is None or len(labels) != 2 or record.rtype not in (SRV, TXT, A, AAAA, ANY):
            raise BadMessage("an update of something that is no instance")
        owners[record.key] = record.rclass == _CLASS_ANY
        records.setdefault((record.key, record.rtype), []).append((message, record))
    changes = []
    for owner, withdrawn in owners.items():
        told = None
        if not withdrawn:
            srv = records.get((owner, SRV))
            if not srv:
                raise BadMessage("an instance without SRV")
            *numbers, target = message.srv(srv[0][1])
            told = told_of(target, (numbers[0], numbers[1], numbers[2]), apex, records)
            if told is None or target.lower() != owner or not told.port:
                raise BadMessage("an instance that is not whole")
        instance, name = Name(owner).labels[:2]
        shown = told.name if told else name.decode("utf-8", "surrogateescape")
        changes.append(Change(shown, instance.decode("utf-8", "surrogateescape"), told))
    return changes
