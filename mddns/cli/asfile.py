"""Services as files that are read back: Minidisc's YAML for ``md advertise``, and a master file (RFC 1035 5).

What came from the network may say things that no file of ours can: a label whose key is not ASCII, an address that
nobody can connect to. Such a thing stands in a comment that says why, so that what is read back is never something
else than what was found. No YAML library: all that is written is double-quoted text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import InvalidService
from ..grammar import check_labels
from ..instance import TTL
from ..model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, Service, replace
from ..names import Name, label_to_text
from ..offer import Offer, make
from .terminal import clean


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
    """A zone of one SRV a service, with TXT, A and AAAA at its target. Its serial is the time in units of 10 ms."""
    from ..zone import place

    yield f"$ORIGIN {apex}"
    yield f"$TTL {TTL}"
    # Whoever loads it puts its own server here; this one needs no address in the file.
    yield f"@ SOA localhost. root.localhost. {int(now * 100) % (1 << 32)} 60 10 3600 1"
    yield "@ NS localhost."
    kept = []
    for service in services:
        offer, remarks = _offered(service)
        yield from (f"; {remark}" for remark in remarks)
        if offer is not None and not service.endpoint.address:
            yield clean(f"; left out: {offer.name}: a zone file has an address for it, which is this machine's")
        elif offer is not None:
            # Anything beyond letters, digits and hyphens may mean something here, as "*" does.
            plain = service.instance.isascii() and service.instance.replace("-", "").isalnum()
            addresses = tuple(dict.fromkeys((service.endpoint.address, *offer.addresses)))
            instance = service.instance if plain else ""
            kept.append(replace(service, labels=offer.labels, addresses=addresses, instance=instance))
    order = {service.key: number for number, service in enumerate(kept)}
    for placed in sorted(place(kept), key=lambda each: order[each.service.key]):
        service, name = placed.service, label_to_text(placed.name)
        owner = name if service.protocol == "tcp" else f"_{name}._{service.protocol}"
        target = f"{label_to_text(placed.instance)}.{name}"
        yield f"{owner} SRV {service.priority} {service.weight} {service.endpoint.port} {target}"
        strings = [_characters(f"{key}={value}") for key, value in sorted(service.labels.items())]
        yield f"{target} TXT {' '.join(strings) or _characters('')}"
        yield from (f"{target} {'AAAA' if ':' in address else 'A'} {address}" for address in service.addresses)


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


def _characters(text: str) -> str:
    """A quoted character-string (RFC 1035 5.1)."""
    octets = text.encode("utf-8", "surrogateescape")
    return '"' + "".join(_character(octet) for octet in octets) + '"'


def _character(octet: int) -> str:
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 0x20 <= octet <= 0x7E else f"\\{octet:03d}"
