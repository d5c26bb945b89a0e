"""Counts what a process has answered.

For a query that is answered from a cache, this costs one addition: the cache keeps each answer with its counter.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

TRANSPORTS: Final = ("udp", "tcp", "http")
OTHER: Final = "other"

# Any other type is "other": queries from outside must not create more and more counters.
_TYPES: Final = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR",
    43: "DS", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI",
}  # fmt: skip
_RCODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 16: "BADVERS"}

Tally = dict[str, int]  # queries by transport


class Histogram:
    """A histogram of durations. ``counts`` has one number for each of BOUNDS, and one for everything above the last."""

    BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds

    def __init__(self) -> None:
        self.counts = [0] * (len(self.BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Counts one duration."""
        self.counts[bisect_left(self.BOUNDS, seconds)] += 1
        self.sum += seconds


class Counts:
    """The counters of one process."""

    def __init__(self) -> None:
        self.queries: dict[tuple[str, str], Tally] = {}  # by type and rcode
        self.misses = 0  # answers that were not in a cache
        self.refused = 0  # queries and requests of clients without permission
        self.fanout = Histogram()
        self.http: dict[int, int] = {}  # responses by status

    def tally(self, wire: bytes, answer: bytes) -> Tally:
        """Returns the counters, by transport, for a query `wire` that gets `answer`."""
        if len(wire) < 12 or wire[2] & 0x78 or wire[4:6] != b"\0\1":
            rtype = OTHER
        else:
            end = wire.find(0, 12) + 1
            rtype = _TYPES.get(int.from_bytes(wire[end : end + 2], "big"), OTHER)
        rcode = answer[3] & 0xF
        # The upper bits of an rcode are in the OPT record, which is last. An answer with such an rcode has no options.
        if rcode == 0 and len(answer) > 23 and answer[-11:-8] == b"\0\0\x29" and answer[-2:] == b"\0\0":
            rcode |= answer[-6] << 4
        key = rtype, _RCODES.get(rcode, OTHER)
        found = self.queries.get(key)
        if found is None:
            found = self.queries[key] = dict.fromkeys(TRANSPORTS, 0)
        return found

    def answered(self, wire: bytes, answer: bytes, transport: str) -> None:
        """Counts a query whose answer was not in a cache."""
        self.misses += 1
        self.tally(wire, answer)[transport] += 1

    def responded(self, status: int) -> None:
        """Counts an HTTP response."""
        self.http[status] = self.http.get(status, 0) + 1
