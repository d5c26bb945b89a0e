"""What somebody wants to be found: a service before any node has put its own address to it.

Files, flags and the API all end here, so that one place judges them (:func:`make`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .errors import InvalidService
from .grammar import check_16_bits, check_labels, check_port, check_protocol, normal_name
from .model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, order_addresses, split_address


@dataclass(frozen=True, slots=True)
class Offer:
    """A service to advertise. ``address`` None means the node's own addresses.

    ``addresses`` overrides what the instance's A and AAAA say; ``where`` is the file and line it
    came from, for messages.
    """

    name: str
    labels: Mapping[str, str]
    port: int
    address: str | None = None
    protocol: str = "tcp"
    priority: int = DEFAULT_PRIORITY
    weight: int = DEFAULT_WEIGHT
    addresses: tuple[str, ...] = ()
    where: str = ""


def parse_address(text: str) -> tuple[str | None, int]:
    """``:8080`` and ``8080`` (our own address), ``100.64.0.9:5432``, ``[fd7a::9]:5432``; else InvalidService."""
    bare = text.removeprefix(":")
    if bare.isascii() and bare.isdecimal():
        return None, check_port(int(bare))
    try:
        return split_address(text)
    except ValueError as error:
        raise InvalidService(f"address {text!r}: {str(error).partition(': ')[2]}; ':8080' means this node") from None


def make(
    port: int,
    name: str,
    labels: Mapping[str, str] | None = None,
    *,
    address: str | None = None,
    protocol: str = "tcp",
    priority: int = DEFAULT_PRIORITY,
    weight: int = DEFAULT_WEIGHT,
    addresses: Iterable[str] = (),
    where: str = "",
) -> Offer:
    """A checked Offer; InvalidService names the first thing that is wrong."""
    try:
        ordered = order_addresses(addresses)
    except ValueError as error:
        raise InvalidService(f"addresses: {error}") from None
    return Offer(
        name=normal_name(name),
        labels=check_labels(labels or {}),
        port=check_port(port),
        address=address,
        protocol=check_protocol(protocol),
        priority=check_16_bits("priority", priority),
        weight=check_16_bits("weight", weight),
        addresses=ordered,
        where=where,
    )
