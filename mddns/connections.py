"""The TCP connections of a listener: how many there may be, and of one source."""

from __future__ import annotations

import resource
from typing import Final, Protocol

MOST_CONNECTIONS: Final = 100
MOST_PER_SOURCE: Final = 8


def most_connections() -> int:
    """Connections may take a quarter of the descriptors that this process may have, not those of its program."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(MOST_CONNECTIONS, soft // 4))


class Connected(Protocol):
    """One connection, whatever it speaks."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way on it."""

    @property
    def fresh(self) -> bool:
        """Whether nothing came on it yet."""

    def fileno(self) -> int:
        """Its socket's descriptor; -1 when it is closed."""

    def end(self) -> None:
        """Ends it at once."""


class Connections:
    """The open connections of a listener: at most `most`, `per_source` of one source."""

    def __init__(self, most: int = MOST_CONNECTIONS, per_source: int | None = None) -> None:
        self._most = most
        self._per_source = MOST_PER_SOURCE if per_source is None else per_source
        self._open: dict[Connected, str] = {}
        self._by_source: dict[str, int] = {}

    def admit(self, connection: Connected, source: str) -> bool:
        """Takes one in; False where all places, or this source's, are taken."""
        if self._by_source.get(source, 0) >= self._per_source:
            return False
        if len(self._open) >= self._most and not self._end_idle_one():
            return False
        self._open[connection] = source
        self._by_source[source] = self._by_source.get(source, 0) + 1
        return True

    def instead(self, connection: Connected, of: Connected) -> None:
        """One goes on as another."""
        self._open[connection] = self._open.pop(of)

    def leave(self, connection: Connected) -> None:
        """One has ended."""
        source = self._open.pop(connection, None)
        if source is not None:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]

    def descriptors(self) -> list[int]:
        """Those of all connections."""
        return [number for connection in self._open if (number := connection.fileno()) >= 0]

    @property
    def busy(self) -> bool:
        """Whether anything is under way, or about to be."""
        return any(each.fresh or not each.idle for each in self._open)

    def close(self) -> None:
        """Ends all."""
        for connection in list(self._open):
            connection.end()

    def _end_idle_one(self) -> bool:
        idle = next((connection for connection in self._open if connection.idle), None)
        if idle is None:
            return False
        idle.end()
        self.leave(idle)
        return True
