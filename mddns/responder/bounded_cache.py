"""A bounded cache of answers: when it is full, it starts over.

Nobody's flood of different questions can make it grow, and what is hot comes back with the next
question. Evicting one by one would cost every query for the sake of the flood's.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Values that hold for one `epoch`; another epoch empties it. ``found`` is the plain dictionary, to be read."""

    __slots__ = ("_epoch", "_most", "_octets", "_room", "found")

    def __init__(self, most: int, octets: int) -> None:
        """At most `most` entries whose sizes sum up to `octets`."""
        self.found: dict[K, V] = {}
        self._most = most
        self._octets = octets
        self._room = octets
        self._epoch: object = None

    def at(self, epoch: object) -> dict[K, V]:
        """The entries that hold in `epoch`."""
        if epoch != self._epoch:
            self.clear()
            self._epoch = epoch
        return self.found

    def put(self, key: K, value: V, size: int) -> None:
        """Keeps `value`, which weighs `size` octets with its key."""
        if size > self._octets // 4:
            return
        if len(self.found) >= self._most or size > self._room:
            self.clear()
        self.found[key] = value
        self._room -= size

    def clear(self) -> None:
        """Starts over."""
        self.found.clear()
        self._room = self._octets
