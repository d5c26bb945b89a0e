"""The TCP connections of a listener: how many there may be, and of one source."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from typing import Final, Protocol

MOST_CONNECTIONS: Final = 100
MOST_PER_SOURCE: Final = 8
MOST_SESSIONS: Final = 512  # connections that have become sessions (RFC 8490), which count apart
MOST_SESSIONS_PER_SOURCE: Final = 32


_LINGER: Final = struct.pack("ii", 1, 0)  # a close that waits for nothing: the other side gets RST


def reset(transport: asyncio.WriteTransport) -> None:
    """Ends a connection by RST, as RFC 8490 5.3 wants it of whoever was told nonsense."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    transport.abort()


def give_up_after(transport: asyncio.Transport, seconds: float) -> None:
    """The kernel ends a connection whose other side acknowledges nothing for so long, where it can."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def most_connections() -> int:
    """Connections may take a quarter of the descriptors that this process may have, not those of its program."""
    return within_a_quarter(MOST_CONNECTIONS)


def most_sessions() -> int:
    """The same for sessions."""
    return within_a_quarter(MOST_SESSIONS)


def within_a_quarter(most: int) -> int:
    """`most`, or as many as a quarter of the descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft // 4))


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
    """The open connections of a listener, counted by source: at most `most`, `per_source` of one, and `sessions`.

    All programs of our own host come from one source, `own`: they may take half of everything.
    """

    def __init__(
        self,
        most: int = MOST_CONNECTIONS,
        per_source: int | None = None,
        sessions: int = MOST_SESSIONS,
        own: str | None = None,
    ) -> None:
        self.one_at_a_time = asyncio.Lock()  # one message of all their transfers is made in a turn of the loop
        self._own = own
        self._most = most
        self._per_source = MOST_PER_SOURCE if per_source is None else per_source
        self._most_sessions = sessions
        self._conversing: dict[Connected, str] = {}  # those that have become sessions
        self._open: dict[Connected, str] = {}
        self._by_source: dict[str, int] = {}

    def admit(self, connection: Connected, source: str) -> bool:
        """Takes one in; False where all places, or this source's, are taken."""
        if self._by_source.get(source, 0) >= self._share(source, self._per_source, self._most):
            return False
        if len(self._open) >= self._most and not self._end_idle_one():
            return False
        self._open[connection] = source
        self._by_source[source] = self._by_source.get(source, 0) + 1
        return True

    def instead(self, connection: Connected, of: Connected) -> None:
        """One goes on as another."""
        self._open[connection] = self._open.pop(of)

    def converse(self, connection: Connected) -> bool:
        """One becomes a session, and its place is free; False where no session is to be had."""
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
        """One has ended."""
        self._conversing.pop(connection, None)
        source = self._open.pop(connection, None)
        if source is not None:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]

    def descriptors(self) -> list[int]:
        """Those of all connections."""
        return [number for each in (*self._open, *self._conversing) if (number := each.fileno()) >= 0]

    @property
    def busy(self) -> bool:
        """Whether anything is under way, or about to be."""
        return any(each.fresh or not each.idle for each in self._open)

    def close(self) -> None:
        """Ends all."""
        for connection in (*self._open, *self._conversing):
            connection.end()

    def _end_idle_one(self) -> bool:
        idle = next((connection for connection in self._open if connection.idle), None)
        if idle is None:
            return False
        idle.end()
        self.leave(idle)
        return True
