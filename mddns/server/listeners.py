"""Listens on the sockets of a node: reads UDP in bursts, accepts TCP with limits (RFC 7766)."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..base.model import join_address
from ..http.messages import Serving
from ..responder.hot_answers import COOKIE_OCTETS, Kept
from ..responder.reaction import Answering, Later, Messages
from ..system.connection_limits import Connections, most_connections, most_sessions
from .acceptor import Acceptor
from .dns_connection import DnsConnection
from .push_sessions import Sessions

if TYPE_CHECKING:
    from .udp_batch import Batch

Source = tuple[Any, ...]  # as recvfrom returns it

_log = logging.getLogger("mddns")

_BURST: Final = 64  # datagrams that are read before the loop can do other work
_BUSY: Final = 2048  # sum of the datagrams above _FEW in recent bursts; above it, they are read in batches
_FEW: Final = 8  # datagrams in a burst; so few are read faster one by one
_LARGEST: Final = 65_535


class UdpListener:
    """Reads one UDP socket, which its owner closes. `answering(wire, address, tcp)` returns the Reaction to a message.

    `hot` returns the answers that need no such call, for one burst (:mod:`mddns.responder.hot_answers`).
    `ours` returns whether this process may still read the socket; it is called before each burst.
    """

    def __init__(
        self,
        sock: socket.socket,
        answering: Answering,
        hot: Callable[[], Mapping[str, Kept]],
        loop: asyncio.AbstractEventLoop,
        ours: Callable[[], bool],
    ) -> None:
        self.socket = sock
        self._answering = answering
        self._hot = hot
        self._loop = loop
        self._ours = ours
        self._waiting: set[asyncio.Task[None]] = set()
        self._batch: Batch | None = None
        self._busy = 0
        self._busy_from: float = _BUSY
        loop.add_reader(sock.fileno(), self._read)

    def pause(self) -> None:
        """Reads no more questions; answers in progress are still sent."""
        self._loop.remove_reader(self.socket.fileno())

    @property
    def busy(self) -> bool:
        """Whether answers are in progress."""
        return bool(self._waiting)

    def close(self) -> None:
        """Stops reading, and drops the questions that wait for the network."""
        self._loop.remove_reader(self.socket.fileno())
        for task in self._waiting:
            task.cancel()

    def _read(self) -> None:
        if not self._ours():
            return
        hot = self._hot()
        if self._batch is not None:
            self._batch.serve(hot)
            return
        receive, send = self.socket.recvfrom, self.socket.sendto
        for number in range(_BURST):
            try:
                wire, source = receive(_LARGEST)
                if (kept := hot.get(source[0])) is not None:
                    plain, cookies = kept
                    ready = plain.get(wire[2:]) or cookies.get(wire[2:-COOKIE_OCTETS])
                    if ready is not None:
                        rest, tally = ready
                        tally["udp"] += 1
                        send(wire[:2] + rest, source)
                        continue
            except BlockingIOError:
                self._busy = max(0, self._busy + number - _FEW)
                break
            except OSError:
                continue  # an ICMP error for an earlier answer, or sending failed: see _react
            self._react(wire, source)
        else:
            self._busy += _BURST - _FEW
        if self._busy > self._busy_from:
            self._batch = _batch(self.socket, self._react)
            self._busy_from = math.inf  # try only once, even if there is no Batch

    def _react(self, wire: bytes, source: Source) -> None:
        """Answers a question whose answer is not in `hot`."""
        answer = self._answering(wire, source[0], False)
        if isinstance(answer, bytes):
            try:
                self.socket.sendto(answer, source)
            except OSError:
                return  # the network is down, or the buffer is full: the client repeats its query
        elif answer is not None and not isinstance(answer, (Messages, Later)):
            self._wait(answer, source)

    def _wait(self, answer: Awaitable[bytes], source: Source) -> None:
        task = self._loop.create_task(self._answer(answer, source))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _answer(self, answer: Awaitable[bytes], source: Source) -> None:
        wire = await answer
        try:
            self.socket.sendto(wire, source)
        except OSError:
            return  # as in _react


def _batch(sock: socket.socket, react: Callable[[bytes, Source], None]) -> Batch | None:
    """Returns a Batch for the socket; None if the system has no such calls."""
    try:
        from .udp_batch import Batch  # imports ctypes, which a node with few queries never needs

        return Batch(sock, react)
    except (ImportError, OSError):
        return None


class TcpListener:
    """Accepts connections at one listening socket, which its owner closes. A connection may send several queries."""

    def __init__(
        self,
        sock: socket.socket,
        answering: Answering,
        loop: asyncio.AbstractEventLoop,
        ours: Callable[[], bool],
        serving: Serving | None = None,
        connections: Connections | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        """`ours` returns whether this process may still accept at the socket; it is called each time. `serving` answers
        HTTP, `sessions` serves DNS Push. `connections` has the limits, if they are not the usual ones.
        """
        self.socket = sock
        self._answering = answering
        self._serving = serving
        self._loop = loop
        self._sessions = sessions
        address, port = sock.getsockname()[:2]
        self._connections = connections or Connections(most_connections(), sessions=most_sessions(), own=address)
        self._beginning: set[asyncio.Task[Any]] = set()
        where = join_address(address, port)
        self._acceptor = Acceptor(sock, loop, ours, self._begin, f"new connections to {where} must wait")

    def descriptors(self) -> list[int]:
        """Returns the descriptors of its connections."""
        return self._connections.descriptors()

    def pause(self) -> None:
        """Accepts no more connections."""
        self._acceptor.close()

    @property
    def busy(self) -> bool:
        """Whether answers are in progress, or an accepted client has not sent its first query yet."""
        return bool(self._beginning) or self._connections.busy

    def close(self) -> None:
        """Accepts no more connections, and ends all that are open."""
        self._acceptor.close()
        for task in self._beginning:
            task.cancel()
        self._connections.close()

    def _begin(self, accepted: socket.socket) -> None:
        connection = DnsConnection(self._answering, self._connections, self._serving, self._sessions)
        task = self._loop.create_task(self._loop.connect_accepted_socket(lambda: connection, accepted))
        self._beginning.add(task)
        task.add_done_callback(lambda _: self._begun(task, accepted))

    def _begun(self, task: asyncio.Task[Any], accepted: socket.socket) -> None:
        self._beginning.discard(task)
        if task.cancelled():
            accepted.close()
        elif error := task.exception():
            _log.debug("a connection failed at its start: %s", error)
