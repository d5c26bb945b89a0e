"""Upstreams' answers, kept for as long as they hold and, for bad days, a while longer (RFC 2308, RFC 8767).

Bounded by entries and by octets; what was not asked for longest goes first.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .upstream_reply import Reply

MOST: Final = 10_000
MOST_OCTETS: Final = 16 << 20
STALE_FOR: Final = 86_400.0  # seconds for which an answer that is out of date is better than none
STALE_TTL: Final = 30  # what it is given out with (RFC 8767 4)
RETRY: Final = 30.0  # seconds after a failure during which it is given out at once (RFC 8767 5)
_SOON: Final = 10  # an answer is asked for again in the last such part of its life
_WORTH_IT: Final = 10  # seconds that it lives at least, for that


class Key(NamedTuple):
    """All that an upstream's answer depends on. `flags` are RD and CD."""

    qname: bytes
    qtype: int
    flags: int
    do: bool


class Entry:
    """A kept answer. `failed`: when asking for it again failed last."""

    __slots__ = ("ahead", "failed", "octets", "reply", "since", "until")

    def __init__(self, reply: Reply, octets: int, now: float) -> None:
        self.reply = reply
        self.octets = octets
        self.since = now
        self.until = now + reply.keep
        self.failed = float("-inf")
        self.ahead = False  # it is being asked for again before its end

    def fresh(self, now: float) -> bool:
        """Whether it holds."""
        return now < self.until

    def ends_soon(self, now: float) -> bool:
        """Whether it is time to ask for it again, so that nobody waits."""
        keep = self.reply.keep
        return not self.ahead and keep >= _WORTH_IT and self.until - now < keep / _SOON

    def last_resort(self, now: float) -> bool:
        """Whether asking again failed so lately that it is given out at once."""
        return now - self.failed < RETRY


class ReplyCache:
    """Answers by what was asked."""

    def __init__(self, most: int = MOST, octets: int = MOST_OCTETS) -> None:
        self._entries: dict[Key, Entry] = {}
        self._most = most
        self._room = self._octets = octets

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def octets(self) -> int:
        """What all entries weigh."""
        return self._octets - self._room

    def get(self, key: Key, now: float) -> Entry | None:
        """What is kept, fresh or stale."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if now - entry.until >= STALE_FOR:
            self._room += entry.octets
            return None
        self._entries[key] = entry  # behind all others, which go first
        return entry

    def put(self, key: Key, reply: Reply, now: float) -> None:
        """Keeps an answer, if it says for how long."""
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
        """Keeps nothing: the upstreams are others."""
        self._entries.clear()
        self._room = self._octets
