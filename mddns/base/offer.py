"""What somebody wants to be found: a service before any node has put its own address to it.

Files, flags and the API all end here, so that one place judges them (:func:`make`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .errors import InvalidService
from .grammar import (
    check_16_bits,
    check_address,
    check_aliases,
    check_labels,
    check_port,
    check_protocol,
    normal_name,
)
from .health_check import Check
from .model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, fold, order_addresses, split_address
from .reach import LOOPBACK, why_unreachable

Key = tuple[str, str | None, int, str]


@dataclass(frozen=True, slots=True)
class Offer:
    """A service to advertise. ``address`` None means the node's own addresses.

    ``addresses`` overrides what the instance's A and AAAA say; ``where`` is the file and line it
    came from, for messages; ``srv`` are its aliases; while ``check`` fails, it is held back.
    """

    name: str
    labels: Mapping[str, str]
    port: int
    address: str | None = None
    protocol: str = "tcp"
    priority: int = DEFAULT_PRIORITY
    weight: int = DEFAULT_WEIGHT
    addresses: tuple[str, ...] = ()
    where: str = field(default="", compare=False)  # the same service, wherever in the file it has moved to
    srv: tuple[str, ...] = ()
    check: Check | None = None

    def key(self, own: str | None = None) -> Key:
        """What makes it the same service: name without ASCII case, endpoint, protocol.

        `own` is the node's first address, which is what an offer without address stands for.
        """
        return fold(self.name), None if self.address == own else self.address, self.port, self.protocol

    def out_of_reach(self, *, on_loopback: bool = False) -> str | None:
        """Why it cannot be found, and the remedy, where it has an address that no other machine can use.

        With `on_loopback`, all nodes of the network are on this machine, and loopback is as good as any address.
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
    """``:8080`` and ``8080`` (our own address), ``100.64.0.9:5432``, ``[fd7a::9]:5432``; else InvalidService."""
    bare = text.removeprefix(":")
    if bare.isascii() and bare.isdecimal() and len(bare) <= 9:
        return None, check_port(int(bare))
    try:
        address, port = split_address(text)
    except ValueError as error:
        rule = str(error).removeprefix(f"{text!r} is no ip:port: ")
        raise InvalidService(f"address {text!r}: {rule}; ':8080' means this node") from None
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
    """A checked Offer; InvalidService names the first thing that is wrong."""
    if isinstance(addresses, str):
        raise InvalidService(f"addresses {addresses!r}: a list of addresses is wanted")
    checked = None if check is None else Check.of(check)
    if checked and checked.port is None and protocol == "udp":
        raise InvalidService("check: a UDP service says by 'port:' which TCP port is to be asked")
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
