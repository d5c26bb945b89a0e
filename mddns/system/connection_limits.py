"""Limits the TCP connections of a listener, in total and per source."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from typing import Final, Protocol

MOST_CONNECTIONS: Final = 100
MOST_PER_SOURCE: Final = 8
MOST_SESSIONS: Final = 512  # connections that became DSO sessions (RFC 8490); they are counted separately
MOST_SESSIONS_PER_SOURCE: Final = 32


_LINGER: Final = struct.pack("ii", 1, 0)  # close without waiting: the peer gets RST


def reset(transport: asyncio.WriteTransport) -> None:
    """Ends a connection with RST, as RFC 8490 5.3 requires after an invalid message."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    transport.abort()


def give_up_after(transport: asyncio.Transport, seconds: float) -> None:
    """Tells the kernel to end a connection whose data is not acknowledged for `seconds`, if it supports that."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def most_connections() -> int:
    """The most connections: at most a quarter of this process's descriptors, so that the program keeps enough."""
    return within_a_quarter(MOST_CONNECTIONS)


def most_sessions() -> int:
    """The most sessions: at most a quarter of this process's descriptors."""
    return within_a_quarter(MOST_SESSIONS)


def within_a_quarter(most: int) -> int:
    """`most`, or a quarter of the descriptor limit of this process if that is less."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft // 4))


class Connected(Protocol):
    """One connection of any protocol."""

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""

    @property
    def fresh(self) -> bool:
        """Whether nothing was received yet."""

    def fileno(self) -> int:
        """The descriptor of its socket; -1 when closed."""

    def end(self) -> None:
        """Ends the connection immediately."""


class Connections:
    """The open connections of a listener, counted by source: at most `most`, `per_source` of one, and `sessions`.

    All programs of our own host have the same source, `own`; it may use half of all places.
    """

    def __init__(
        self,
        most: int = MOST_CONNECTIONS,
        per_source: int | None = None,
        sessions: int = MOST_SESSIONS,
        own: str | None = None,
    ) -> None:
        self.one_at_a_time = asyncio.Lock()  # all transfers together make one message per turn of the loop
        self._own = own
        self._most = most
        self._per_source = MOST_PER_SOURCE if per_source is None else per_source
        self._most_sessions = sessions
        self._conversing: dict[Connected, str] = {}  # connections that became sessions
        self._open: dict[Connected, str] = {}
        self._by_source: dict[str, int] = {}

    def admit(self, connection: Connected, source: str) -> bool:
        """Admits a connection; False if all places, or all places of this source, are taken."""
        if self._by_source.get(source, 0) >= self._share(source, self._per_source, self._most):
            return False
        if len(self._open) >= self._most and not self._end_idle_one():
            return False
        self._open[connection] = source
        self._by_source[source] = self._by_source.get(source, 0) + 1
        return True

    def instead(self, connection: Connected, of: Connected) -> None:
        """Puts `connection` in the place of the connection `of`."""
        self._open[connection] = self._open.pop(of)

    def converse(self, connection: Connected) -> bool:
        """Makes a connection a session and frees its place; False if the limit of sessions is reached."""
        source = self._open[connection]
        alike = sum(source == each for each in self._conversing.values())
        most = self._share(source, MOST_SESSIONS_PER_SOURCE, self._most_sessions)
        if len(self._conversing) >= self._most_sessions or alike >= most:
            return False
        self.leave(connection)
        self._conversing[connection] = source
        return True

    def _share(self, source: str, usual: int, everything: int) -> int:
        return max(usual, everything // 2) if source == self._own else usual

    def leave(self, connection: Connected) -> None:
        """Removes a connection that has ended."""
        self._conversing.pop(connection, None)
        source = self._open.pop(connection, None)
        if source is not None:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]

    def descriptors(self) -> list[int]:
        """The descriptors of all connections."""
        return [number for each in (*self._open, *self._conversing) if (number := each.fileno()) >= 0]

    @property
    def busy(self) -> bool:
        """Whether a request is in progress or about to arrive."""
        return any(each.fresh or not each.idle for each in self._open)

    def close(self) -> None:
        """Ends all connections."""
        for connection in (*self._open, *self._conversing):
            connection.end()

    def _end_idle_one(self) -> bool:
        idle = next((connection for connection in self._open if connection.idle), None)
        if idle is None:
            return False
        idle.end()
        self.leave(idle)
        return True
