"""Reads the services in a response, and is the only place that makes a Service of them.

It uses only the records that the question leads to: PTR or SRV of the queried name, then SRV, TXT, A and AAAA of
exactly its target. It ignores all other records of the message (RFC 2181 5.4.1).
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ..base.errors import BadMessage
from ..base.model import Endpoint, Peer, Service
from ..base.names import Name
from ..base.policy import MAX_FROM_PEER
from ..dns.message import (
    AAAA,
    EDE_OTHER,
    FORMERR,
    IN,
    NOERROR,
    NOTAUTH,
    NOTIMP,
    NXDOMAIN,
    PTR,
    REFUSED,
    SRV,
    TC,
    TXT,
    A,
    Message,
    Record,
    read_strings,
)
from .instance_records import Attributes, address_text, read_attributes, readable_name, spoken_protocol

# The rcodes of a server that does not have our zone. Any other error means that a server of our zone failed.
_NOT_OURS: Final = frozenset((FORMERR, NOTIMP, REFUSED, NOTAUTH))


class Told(NamedTuple):
    """One instance as read from a message, without its sender."""

    name: str
    instance: str
    priority: int
    weight: int
    port: int
    addresses: tuple[str, ...]
    attributes: Attributes


Records = dict[tuple[bytes, int], list[tuple[Message, Record]]]  # key: owner in lower case, type


class Answer(NamedTuple):
    """The content of a response.

    ``refused``: the responder does not have our zone. ``failed``: it has our zone, but could not answer.
    ``partial``: the response is not complete; TCP or a zone transfer gives the rest. ``errors`` are the
    Extended DNS Errors as (info-code, text).
    """

    told: tuple[Told, ...]
    refused: bool
    partial: bool
    failed: bool
    errors: tuple[tuple[int, str], ...]


def read_answer(message: Message, apex: Name) -> Answer:
    """Reads the response to SRV of a name, or PTR of ``_list``. Raises BadMessage if it is malformed."""
    errors = tuple(message.errors())
    if message.rcode not in (NOERROR, NXDOMAIN):
        refused = message.rcode in _NOT_OURS
        return Answer((), refused, False, not refused, errors)
    truncated = bool(message.flags & TC) or any(code == EDE_OTHER and _is_part(text) for code, text in errors)
    if not message.answer:
        return Answer((), False, truncated, False, errors)
    by_owner: Records = {}
    for section in (message.answer, message.additional):
        for record in section:
            if record.rclass == IN:
                by_owner.setdefault((record.key, record.rtype), []).append((message, record))
    asked = message.question.key
    targets: dict[bytes, bytes] = {}
    for _, record in by_owner.get((asked, PTR), ()):
        target = message.target(record)
        targets.setdefault(target.lower(), target)
    srv_of: dict[bytes, tuple[int, int, int]] = {}
    for _, record in by_owner.get((asked, SRV), ()):
        *numbers, target = message.srv(record)
        targets.setdefault(target.lower(), target)
        srv_of[target.lower()] = numbers[0], numbers[1], numbers[2]
    told: list[Told] = []
    partial = truncated
    for key, target in targets.items():
        labels = Name(target).relative_to(apex)
        if labels is None or len(labels) != 2 or readable_name(labels[1]) is None:
            continue
        for _, record in by_owner.get((key, SRV), ()):
            priority, weight, port, spelled = message.srv(record)
            srv_of.setdefault(key, (priority, weight, port))
            # The SRV target spells out its name; a compressed PTR target may have another case.
            target = spelled if spelled.lower() == key else target
        one = told_of(target, srv_of[key], apex, by_owner) if key in srv_of else None
        if one is None:
            partial = True
            continue
        if len(told) == MAX_FROM_PEER:
            raise BadMessage(f"more than {MAX_FROM_PEER} services in one answer")
        if one.port:
            told.append(one)
    return Answer(tuple(told), False, partial, False, errors)


def _is_part(text: str) -> bool:
    """Whether the text of an Extended DNS Error is ``n of m``: the RRset is incomplete."""
    count, _, total = text.partition(" of ")
    return count.isdecimal() and total.isdecimal()


def told_of(target: bytes, srv: tuple[int, int, int], apex: Name, records: Records) -> Told | None:
    """Reads the instance at `target` from `records`; None if its TXT or its addresses are missing."""
    key = target.lower()
    texts = [message.wire[record.start : record.end] for message, record in records.get((key, TXT), ())[:1]]
    addresses = [
        message.wire[record.start : record.end]
        for rtype, size in ((A, 4), (AAAA, 16))
        for message, record in records.get((key, rtype), ())
        if record.end - record.start == size
    ]
    return told_in(target, srv, apex, texts, addresses)


def told_in(
    target: bytes, srv: tuple[int, int, int], apex: Name, texts: Iterable[bytes], addresses: Iterable[bytes]
) -> Told | None:
    """Like :func:`told_of`, from the RDATA of its TXT, A and AAAA records."""
    labels = Name(target).relative_to(apex)
    name = readable_name(labels[1]) if labels and len(labels) == 2 else None
    text = next(iter(texts), None)
    found = dict.fromkeys(address for each in addresses if (address := address_text(each)))
    if labels is None or name is None or text is None or not found:
        return None
    instance = labels[0].decode("utf-8", "surrogateescape")
    attributes = read_attributes(read_strings(text, 0, len(text)))
    return Told(name, instance, *srv, tuple(found), attributes)


def lifetime(message: Message, most: int) -> int:
    """The lowest TTL of a message's records in seconds, at most `most`."""
    records = (*message.answer, *message.authority, *message.additional)
    # A TTL with the highest bit set counts as 0 (RFC 2181 8).
    return min((most, *(0 if record.ttl >> 31 else record.ttl for record in records)))


def introduce(told: Told, peer: Peer, network: str, rtt_ms: float | None = None) -> Service:
    """Makes an instance a service of `peer`. The owner comes from the network, never from the message."""
    name, instance, priority, weight, port, addresses, (labels, since, meta, srv, held) = told
    return service_of(
        name, instance, priority, weight, port, addresses, labels, since, meta, srv, held, peer, network, rtt_ms
    )


def service_of(
    name: str,
    instance: str,
    priority: int,
    weight: int,
    port: int,
    addresses: tuple[str, ...],
    labels: dict[str, str],
    since: int | None,
    meta: tuple[tuple[str, str], ...],
    srv: tuple[str, ...],
    held: str,
    peer: Peer,
    network: str,
    rtt_ms: float | None,
) -> Service:
    """Like :func:`introduce`, with the fields of a Told as arguments."""
    own = peer.addresses
    address = addresses[0]
    local = address in own
    if not local:
        address = next((each for each in addresses if each in own), address)
        local = address in own
    # The same as Service() with its fields in order, in half the time.
    return tuple.__new__(
        Service,
        (
            name,
            labels,
            Endpoint.of(address, port),
            addresses,
            spoken_protocol(instance, port),
            priority,
            weight,
            peer.name or None,
            peer.owner,
            peer.tags,
            peer.id,
            network,
            not local,
            since,
            instance,
            meta,
            srv,
            held,
            rtt_ms,
        ),
    )
