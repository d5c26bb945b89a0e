"""Writes services as files that ``md advertise`` reads: Minidisc's YAML, and zone files (RFC 1035 5).

A service from the network may have parts that our files cannot hold: a label whose key is not ASCII, or an address
to which no client can connect. In YAML such a part becomes a comment with the reason, so a file that is read back
never means something else. A zone file has it, as a zone transfer does; the reader leaves it out. No YAML library is
needed: all text is written double-quoted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from ...base.errors import InvalidService
from ...base.model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, Service
from ...base.names import Name, label_to_text
from ...base.offer import Offer, make
from ...base.validation import check_labels
from ...codec.instance_records import TTL, address_text
from ...dns.message import AAAA, NS, PTR, SRV, TXT, A, read_strings
from ...dns.writer import Rdata
from .terminal import clean

_LOADED_AT: Final = "127.0.0.1"
_TYPES: Final = {A: "A", AAAA: "AAAA", NS: "NS", PTR: "PTR", SRV: "SRV", TXT: "TXT"}


def yaml_lines(services: Iterable[Service]) -> Iterator[str]:
    """Yields the lines of a YAML file for ``md advertise``. All text is quoted, so that no parser reads a version as a
    number or "no" as a boolean."""
    begun = False
    for service in services:
        offer, remarks = _offered(service)
        if offer is None:
            yield from (f"# {remark}" for remark in remarks)
            continue
        if not begun:
            yield "services:"
            begun = True
        yield f"  - name: {_quoted(offer.name)}"
        yield f"    address: {_quoted(service.endpoint)}"
        if offer.protocol != "tcp":
            yield f"    protocol: {offer.protocol}"
        if offer.priority != DEFAULT_PRIORITY:
            yield f"    priority: {offer.priority}"
        if offer.weight != DEFAULT_WEIGHT:
            yield f"    weight: {offer.weight}"
        if offer.addresses not in ((), (offer.address,)):
            yield f"    addresses: [{', '.join(map(_quoted, offer.addresses))}]"
        if offer.srv:
            yield f"    srv: [{', '.join(map(_quoted, offer.srv))}]"
        if offer.labels:
            yield "    labels:"
            yield from (f"      {_quoted(key)}: {_quoted(value)}" for key, value in offer.labels.items())
        yield from (f"    # {remark}" for remark in remarks)
    if not begun:
        yield "services: []"


def zone_lines(services: Iterable[Service], apex: Name, now: float) -> Iterator[str]:
    """Yields the lines of the services' zone, with all records of a zone transfer. The serial is `now` in units of
    10 ms. The name server is 127.0.0.1: the machine that loads the file."""
    from ...zone.apex import EXPIRE, NEGATIVE_TTL, REFRESH, RETRY, Apex, next_serial
    from ...zone.zone import Zone

    serial = next_serial(None, int(now * 1000))
    yield f"$ORIGIN {apex}"
    yield f"$TTL {TTL}"
    yield f"@ SOA ns hostmaster {serial} {REFRESH} {RETRY} {EXPIRE} {NEGATIVE_TTL}"
    known = []
    for service in services:
        if service.endpoint.address:
            known.append(service)
        else:
            yield clean(f"; left out: {service.name}: a zone file needs an address, and this service has only a port")
    for owner, rtype, rdata in (*Apex(apex, serial, (_LOADED_AT,)).records(), *Zone(apex.wire, known).records()):
        yield f"{_relative(owner, apex)} {_TYPES[rtype]} {_rdata(rtype, rdata, apex)}"


def _relative(wire: bytes, apex: Name) -> str:
    labels = Name(wire).relative_to(apex)
    return str(Name(wire)) if labels is None else ".".join(map(label_to_text, Name(wire).labels[: len(labels)])) or "@"


def _rdata(rtype: int, rdata: Rdata, apex: Name) -> str:
    fixed, target = rdata
    if rtype == TXT:
        strings = read_strings(fixed, 0, len(fixed))
        return " ".join(_characters(string) for string in strings)
    words = [] if rtype != SRV else [str(number) for number in struct.unpack("!3H", fixed)]
    if target is not None:
        return " ".join((*words, _relative(target, apex)))
    return address_text(fixed) or ""


def _offered(service: Service) -> tuple[Offer | None, list[str]]:
    """Returns the service as an offer that a file can hold, or None, and a remark on each part that is left out."""
    labels, remarks = dict(service.labels), []
    try:
        check_labels(labels)
    except InvalidService:
        labels = {}  # add one at a time, to leave out only the wrong ones
        for key, value in service.labels.items():
            try:
                labels = check_labels({**labels, key: value})
            except InvalidService as error:
                remarks.append(clean(f"left out: {error}"))
    address, port = service.endpoint.address or None, service.endpoint.port
    try:
        offer = make(
            port,
            service.name,
            labels,
            address=address,
            protocol=service.protocol,
            priority=service.priority,
            weight=service.weight,
            addresses=service.addresses,
            srv=service.srv,
        )
    except InvalidService as error:
        return None, [clean(f"left out: {service.name} at {service.endpoint}: {error}")]
    return offer, remarks


def _quoted(text: str) -> str:
    """Returns double-quoted YAML. `clean` writes the escapes of YAML 1.2 5.7."""
    return '"' + clean(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _characters(octets: bytes) -> str:
    """Returns a quoted character-string (RFC 1035 5.1)."""
    return '"' + "".join(_character(octet) for octet in octets) + '"'


def _character(octet: int) -> str:
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 0x20 <= octet <= 0x7E else f"\\{octet:03d}"
