"""Offers: services that a program or a file wants to advertise, before a node adds its own address.

Files, flags and the API all use :func:`make`, so that one place checks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .errors import InvalidService
from .health_check import Check
from .model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, fold, order_addresses, split_address
from .reach import LOOPBACK, why_unreachable
from .validation import (
    check_16_bits,
    check_address,
    check_aliases,
    check_labels,
    check_port,
    check_protocol,
    normal_name,
)

Key = tuple[str, str | None, int, str]


@dataclass(frozen=True, slots=True)
class Offer:
    """A service to advertise. ``address`` None means the node's own addresses.

    ``addresses`` replaces the addresses in the instance's A and AAAA; ``where`` is the file and line of the
    offer, for messages; ``srv`` are its aliases; while ``check`` fails, the service is held back.
    """

    name: str
    labels: Mapping[str, str]
    port: int
    address: str | None = None
    protocol: str = "tcp"
    priority: int = DEFAULT_PRIORITY
    weight: int = DEFAULT_WEIGHT
    addresses: tuple[str, ...] = ()
    where: str = field(default="", compare=False)  # a service that moves within its file stays the same
    srv: tuple[str, ...] = ()
    check: Check | None = None

    def key(self, own: str | None = None) -> Key:
        """Identifies the service: name without ASCII case, endpoint, protocol.

        `own` is the node's first address, the address of an offer that has none.
        """
        return fold(self.name), None if self.address == own else self.address, self.port, self.protocol

    def out_of_reach(self, *, on_loopback: bool = False) -> str | None:
        """Returns why no other machine can use one of its addresses, and the remedy; None if all can be used.

        With `on_loopback`, all nodes of the network are on this machine, so loopback addresses can be used.
        """
        for address in (*((self.address,) if self.address else ()), *self.addresses):
            why = why_unreachable(address)
            if why and not (on_loopback and why == LOOPBACK):
                return (
                    f"{self.name} at {address}: no other machine can use this address ({why}). "
                    f"Write ':{self.port}' to offer the port at this machine's own address"
                )
        return None


def parse_address(text: str) -> tuple[str | None, int]:
    """Reads ``:8080`` or ``8080`` (our own address), ``100.64.0.9:5432``, ``[fd7a::9]:5432``; else InvalidService."""
    bare = text.removeprefix(":")
    if bare.isascii() and bare.isdecimal() and len(bare) <= 9:
        return None, check_port(int(bare))
    try:
        address, port = split_address(text)
    except ValueError as error:
        rule = str(error).removeprefix(f"{text!r} is no ip:port: ")
        raise InvalidService(f"address {text!r}: {rule}; ':8080' is port 8080 at this node's own address") from None
    return check_address(address), port


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
    srv: Iterable[str] = (),
    check: Check | str | Mapping[str, object] | None = None,
) -> Offer:
    """Returns a checked Offer. Raises InvalidService, which names the first fault."""
    if isinstance(addresses, str):
        raise InvalidService(f"addresses {addresses!r}: must be a list of addresses")
    checked = None if check is None else Check.of(check)
    if checked and checked.port is None and protocol == "udp":
        raise InvalidService("check: the check of a UDP service needs 'port:', the TCP port to check")
    return Offer(
        name=normal_name(name),
        labels=check_labels(labels or {}),
        port=check_port(port),
        address=None if address is None else check_address(address),
        protocol=check_protocol(protocol),
        priority=check_16_bits("priority", priority),
        weight=check_16_bits("weight", weight),
        addresses=order_addresses(check_address(each) for each in addresses),
        where=where,
        srv=check_aliases(srv),
        check=checked,
    )
