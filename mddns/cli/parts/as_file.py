"""Services as files that are read back: Minidisc's YAML for ``md advertise``, and the zone (RFC 1035 5).

What came from the network may say things that no file of ours can: a label whose key is not ASCII, an address that
nobody can connect to. In YAML such a thing stands in a comment that says why, so that what is read back is never
something else than what was found; a zone has it as a transfer does, and who reads it back leaves it out. No YAML
library: all that is written is double-quoted text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from ...base.errors import InvalidService
from ...base.grammar import check_labels
from ...base.model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, Service
from ...base.names import Name, label_to_text
from ...base.offer import Offer, make
from ...codec.instance import TTL, address_text
from ...dns.message import AAAA, NS, PTR, SRV, TXT, A, read_strings
from ...dns.writer import Rdata
from .terminal import clean

_LOADED_AT: Final = "127.0.0.1"
_TYPES: Final = {A: "A", AAAA: "AAAA", NS: "NS", PTR: "PTR", SRV: "SRV", TXT: "TXT"}


def yaml_lines(services: Iterable[Service]) -> Iterator[str]:
    """A file for ``md advertise``; whatever is text is quoted, so that no version and no "no" becomes a number or a
    boolean in anybody's reader."""
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
    """The zone that the services make, every record that a transfer of it has. Its serial is the time in units of
    10 ms, its name server this machine, as whoever loads it is that."""
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
            yield clean(f"; left out: {service.name}: a zone file has an address for it, which is this machine's")
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
    """The service as a file can say it, None where none can; and a remark on everything that is left out."""
    labels, remarks = dict(service.labels), []
    try:
        check_labels(labels)
    except InvalidService:
        labels = {}  # one at a time, to leave out those alone that are wrong
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
    """Double-quoted YAML, whose escapes are those that `clean` writes (YAML 1.2 5.7)."""
    return '"' + clean(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _characters(octets: bytes) -> str:
    """A quoted character-string (RFC 1035 5.1)."""
    return '"' + "".join(_character(octet) for octet in octets) + '"'


def _character(octet: int) -> str:
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 0x20 <= octet <= 0x7E else f"\\{octet:03d}"
