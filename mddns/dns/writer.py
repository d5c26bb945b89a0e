"""Writes DNS messages, with name compression that stays valid above 16 KiB (RFC 1035 4.1.4).

A pointer has 14 bits, so it can only point to names below offset 16,384. RDATA are pairs
(fixed octets, name or None): PTR, NS and SOA names are compressed, SRV targets are not (RFC 2782).
"""

import os
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from .message import EDE, EDNS_DO, HEADER, IN, OPT, RD, SRV

Rdata = tuple[bytes, bytes | None]
RR = tuple[bytes, int, Rdata]  # owner, type, RDATA

_RR: Final = Struct("!2HI")
_POINTER_SPACE: Final = 0x4000
_TO_QUESTION: Final = b"\xc0\x0c"
UDP_PAYLOAD: Final = 1232  # fits unfragmented into the smallest MTU of IPv6


class RRset(NamedTuple):
    """All RRs of one owner and type: they have one TTL, and are the unit of responses (RFC 2181 5)."""

    rtype: int
    rdatas: tuple[Rdata, ...]


class Packer:
    """Writes one message. ``len(packer)`` is its size so far, without the OPT."""

    __slots__ = ("_exact", "_known", "_message")

    def __init__(self, qname: bytes, qtype: int, qclass: int = IN, *, exact: bool = False) -> None:
        """Writes an empty header and the question. `exact`: compression keeps the case of names."""
        self._exact = exact
        self._message = bytearray(12)
        self._known: dict[bytes, int] = {}
        self.name(qname, compress=False)
        self._message += qtype.to_bytes(2, "big") + qclass.to_bytes(2, "big")

    def __len__(self) -> int:
        return len(self._message)

    def name(self, name: bytes, *, compress: bool = True) -> None:
        """Writes a name, given in uncompressed wire format, with a pointer to a suffix that the message has already."""
        message, known = self._message, self._known
        key = name if self._exact else name.lower()
        at = 0
        while length := name[at]:
            suffix = key[at:]
            offset = known.get(suffix)
            if offset is not None and compress:
                message += (0xC000 | offset).to_bytes(2, "big")
                return
            if offset is None and len(message) < _POINTER_SPACE:
                known[suffix] = len(message)
            message += name[at : at + 1 + length]
            at += 1 + length
        message.append(0)

    def record(self, owner: bytes | None, rtype: int, ttl: int, rdata: Rdata, rclass: int = IN) -> None:
        """Writes one RR; owner None means the question's name."""
        message = self._message
        if owner is None:
            message += _TO_QUESTION
        else:
            self.name(owner)
        message += _RR.pack(rtype, rclass, ttl)
        at = len(message)
        message += b"\0\0"
        fixed, name = rdata
        message += fixed
        if name is not None:
            self.name(name, compress=rtype != SRV)
        message[at : at + 2] = (len(message) - at - 2).to_bytes(2, "big")

    def raw(self, octets: bytes) -> None:
        """Writes octets that are in wire format already, such as an SOA record."""
        self._message += octets

    def finish(self, ident: int, flags: int, counts: Sequence[int], opt: bytes = b"", cut: int | None = None) -> bytes:
        """Returns the message, cut to `cut` octets, then `opt`. `counts` are records per section without the OPT."""
        message = self._message[:cut]
        answers, authority, additional = counts
        HEADER.pack_into(message, 0, ident, flags, 1, answers, authority, additional + bool(opt))
        return bytes(message + opt)


def opt_record(
    rcode: int = 0, *, do: bool = False, size: int = UDP_PAYLOAD, errors: Iterable[tuple[int, str]] = ()
) -> bytes:
    """Returns an OPT record with `errors`, Extended DNS Errors as (info-code, text) (RFC 6891 6.1, RFC 8914)."""
    options = bytearray()
    for code, text in errors:
        octets = text.encode("utf-8", "replace")[:200]
        options += EDE.to_bytes(2, "big") + (2 + len(octets)).to_bytes(2, "big") + code.to_bytes(2, "big") + octets
    flags = rcode >> 4 << 24 | (EDNS_DO if do else 0)
    return b"\0" + _RR.pack(OPT, size, flags) + len(options).to_bytes(2, "big") + options


def pack_query(qname: bytes, qtype: int, *, ident: int, rd: bool, size: int = UDP_PAYLOAD) -> bytes:
    """Returns a query with EDNS. `qname` is in uncompressed wire format."""
    return Packer(qname, qtype).finish(ident, RD if rd else 0, (0, 0, 0), opt_record(size=size))


def random_ids(count: int) -> list[int]:
    """Message ids that an attacker cannot guess."""
    return list(memoryview(os.urandom(2 * count)).cast("H"))


def random_heads(count: int) -> list[bytes]:
    """The same as two octets each, for the start of a message."""
    octets = os.urandom(2 * count)
    return [octets[at : at + 2] for at in range(0, 2 * count, 2)]
