"""DNS rebinding: a public name with a private address lets a web page reach services of the local network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

_PRIVATE: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.168.0.0/16", "::/127", "fc00::/7", "fe80::/10"),
        ),
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def private_address(addresses: Iterable[bytes]) -> str | None:
    """Returns the first private address among these RDATA of A and AAAA, as text; None if all are public."""
    for octets in addresses:
        if len(octets) not in (4, 16):
            continue
        address = ipaddress.ip_address(octets)
        inner = address
        if isinstance(address, ipaddress.IPv6Address):
            mapped = address.ipv4_mapped
            inner = mapped or (ipaddress.IPv4Address(octets[12:]) if address in _NAT64 else address)
        if any(inner in network for network in _PRIVATE if network.version == inner.version):
            return str(address)
    return None
