"""A cache of upstream responses, fresh ones and, if upstreams fail, stale ones (RFC 2308, RFC 8767).

It is bounded by entries and by octets; the least recently used entry is dropped first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .upstream_reply import Reply

MOST: Final = 10_000
MOST_OCTETS: Final = 16 << 20
STALE_FOR: Final = 86_400.0  # seconds for which a stale answer may be used
STALE_TTL: Final = 30  # TTL of a stale answer (RFC 8767 4)
RETRY: Final = 30.0  # seconds after a failure in which the stale answer is used at once (RFC 8767 5)
_SOON: Final = 10  # an answer is refreshed in the last 1/10 of its lifetime
_WORTH_IT: Final = 10  # minimum lifetime in seconds for that


class Key(NamedTuple):
    """The parts of a query that change its response. `flags` are RD and CD."""

    qname: bytes
    qtype: int
    flags: int
    do: bool


class Entry:
    """A cached answer. `failed` is the time of the last failed refresh."""

    __slots__ = ("ahead", "failed", "octets", "reply", "since", "until")

    def __init__(self, reply: Reply, octets: int, now: float) -> None:
        self.reply = reply
        self.octets = octets
        self.since = now
        self.until = now + reply.keep
        self.failed = float("-inf")
        self.ahead = False  # a refresh has started

    def fresh(self, now: float) -> bool:
        """Whether it is fresh."""
        return now < self.until

    def ends_soon(self, now: float) -> bool:
        """Whether it should be refreshed now, so that no client has to wait."""
        keep = self.reply.keep
        return not self.ahead and keep >= _WORTH_IT and self.until - now < keep / _SOON

    def last_resort(self, now: float) -> bool:
        """Whether a refresh failed so recently that the stale answer is used at once."""
        return now - self.failed < RETRY


class ReplyCache:
    """Cached answers by query."""

    def __init__(self, most: int = MOST, octets: int = MOST_OCTETS) -> None:
        self._entries: dict[Key, Entry] = {}
        self._most = most
        self._room = self._octets = octets

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def octets(self) -> int:
        """The size of all entries."""
        return self._octets - self._room

    def get(self, key: Key, now: float) -> Entry | None:
        """Returns the entry, fresh or stale, or None."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if now - entry.until >= STALE_FOR:
            self._room += entry.octets
            return None
        self._entries[key] = entry  # move to the end: dropped last
        return entry

    def put(self, key: Key, reply: Reply, now: float) -> None:
        """Stores an answer, if its lifetime is not 0."""
        before = self._entries.pop(key, None)
        if before is not None:
            self._room += before.octets
        octets = reply.octets + len(key.qname)
        if reply.keep <= 0 or octets > self._octets // 4:
            return
        while self._entries and (len(self._entries) >= self._most or octets > self._room):
            oldest = next(iter(self._entries))
            self._room += self._entries.pop(oldest).octets
        self._entries[key] = Entry(reply, octets, now)
        self._room -= octets

    def clear(self) -> None:
        """Removes all entries: the upstreams have changed."""
        self._entries.clear()
        self._room = self._octets
