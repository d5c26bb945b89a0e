"""Addresses that are valid on one machine or one link only, so that no other machine can use them.

The kinds are from IANA's special-purpose registries (RFC 6890); no host of a network has such an address of its own.
"""

from __future__ import annotations

from .inet import AF_INET, AF_INET6, inet_pton

LOOPBACK = "loopback"


def why_unreachable(address: str) -> str | None:
    """Returns why other machines cannot use an IP address, such as ``loopback``; None if they can.

    ``::ffff:127.0.0.1`` is treated as the IPv4 address in it. Raises ValueError or OSError for other text.
    """
    if ":" not in address:
        return _why_4(inet_pton(AF_INET, address))
    octets = inet_pton(AF_INET6, address.partition("%")[0])
    if octets.startswith(bytes(10) + b"\xff\xff"):
        return _why_4(octets[12:])
    if octets == bytes(16):
        return "unspecified"
    if octets == bytes(15) + b"\1":
        return LOOPBACK
    if octets[0] == 0xFE and octets[1] & 0xC0 == 0x80:
        return "link-local"
    return "multicast" if octets[0] == 0xFF else None


def _why_4(octets: bytes) -> str | None:
    first = octets[0]
    if first == 127:
        return LOOPBACK
    if first == 0:
        return "unspecified"
    if first == 169 and octets[1] == 254:
        return "link-local"
    if first >= 224:
        return "multicast" if first < 240 else "broadcast" if octets == b"\xff\xff\xff\xff" else "reserved"
    return None
