"""The records that belong to the responder itself: SOA and NS of the apex, ``ns``, ``_mddns``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import Final

from ..base.names import Name
from ..codec.instance_records import address_octets
from ..dns.message import AAAA, IN, NS, SOA, TXT, A
from ..dns.writer import RR, RRset
from .zone import Labels, Node

REFRESH, RETRY, EXPIRE, NEGATIVE_TTL = 60, 10, 3600, 1
VERSION: Final = b"md.v=1"
_TIMERS: Final = Struct("!5I")
_RR: Final = Struct("!2HIH")


class Apex:
    """The records at and around the apex `name`, under one `serial`, for a responder at `addresses`.

    `more` are further nodes of the responder's own, by their labels before the apex.
    """

    def __init__(
        self, name: Name, serial: int, addresses: Iterable[str], more: Mapping[Labels, Node] | None = None
    ) -> None:
        self.name = name
        self.serial = serial
        self._ns = Name.of((b"ns",), name).wire
        rname = Name.of((b"hostmaster",), name).wire
        self._soa = self._ns + rname + _TIMERS.pack(serial, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL)
        addresses = tuple(addresses)
        four = tuple((address_octets(address), None) for address in addresses if ":" not in address)
        six = tuple((address_octets(address), None) for address in addresses if ":" in address)
        here = [RRset(A, four), RRset(AAAA, six)]
        self._nodes: dict[Labels, Node] = {
            (): Node(
                (RRset(SOA, ((self._soa, None),)), RRset(NS, ((b"", self._ns),))),
                {NS: lambda: ([(self._ns, rrset) for rrset in here],)},
            ),
            (b"ns",): Node(here),
            (b"_mddns",): Node((RRset(TXT, ((bytes((len(VERSION),)) + VERSION, None),)),)),
            **(more or {}),
        }

    def node(self, labels: Labels) -> Node | None:
        """The node at a name, given by its labels before the apex; None if the name is not the responder's own."""
        return self._nodes.get(labels)

    @property
    def soa_record(self) -> RR:
        """The SOA record."""
        return self.name.wire, SOA, (self._soa, None)

    def records(self) -> Iterator[RR]:
        """All records here except the SOA."""
        for labels, node in self._nodes.items():
            owner = Name.of(labels, self.name).wire
            for rrset in node.rrsets.values():
                if rrset.rtype != SOA:
                    for rdata in rrset.rdatas:
                        yield owner, rrset.rtype, rdata

    def negative_soa(self) -> bytes:
        """The SOA record for NXDOMAIN and NODATA, in wire format, with the negative TTL (RFC 2308 3)."""
        return self.name.wire + _RR.pack(SOA, IN, NEGATIVE_TTL, len(self._soa)) + self._soa


def next_serial(last: int | None, unix_ms: int) -> int:
    """Returns max(last + 1, Unix time in units of 10 ms), modulo 2**32, in serial number arithmetic (RFC 1982)."""
    clock = unix_ms // 10 % 2**32
    if last is None:
        return clock
    return clock if is_after(clock, last) else (last + 1) % 2**32


def is_after(serial: int, other: int) -> bool:
    """Whether `serial` is greater than `other` (RFC 1982 3.2). Of two serials 2**31 apart, neither is greater."""
    return 0 < (serial - other) % 2**32 < 2**31
