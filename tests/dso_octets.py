"""Builds messages of DNS Stateful Operations (RFC 8490) from hexadecimal fields."""

from __future__ import annotations

KNOWN = 0x40


def octets(*fields: str) -> bytes:
    return bytes.fromhex("".join(fields).replace("|", ""))
