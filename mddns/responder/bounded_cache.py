"""A bounded cache of answers: when it is full, it is emptied.

A flood of different questions cannot make it grow, and a frequent answer is cached again with the next
question. To evict single entries would make every query more expensive, only because of such a flood.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Caches values that are valid in one `epoch`; another epoch empties it. Callers read the dictionary ``found``."""

    __slots__ = ("_epoch", "_most", "_octets", "_room", "found")

    def __init__(self, most: int, octets: int) -> None:
        """Limits the cache to `most` entries, and the sum of their sizes to `octets`."""
        self.found: dict[K, V] = {}
        self._most = most
        self._octets = octets
        self._room = octets
        self._epoch: object = None

    def at(self, epoch: object) -> dict[K, V]:
        """Returns the entries that are valid in `epoch`; removes all others."""
        if epoch != self._epoch:
            self.clear()
            self._epoch = epoch
        return self.found

    def put(self, key: K, value: V, size: int) -> None:
        """Caches `value`, unless it is larger than a quarter of the cache. `size` is its octets, with its key."""
        if size > self._octets // 4:
            return
        if len(self.found) >= self._most or size > self._room:
            self.clear()
        self.found[key] = value
        self._room -= size

    def clear(self) -> None:
        """Removes all entries."""
        self.found.clear()
        self._room = self._octets
