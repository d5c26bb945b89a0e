"""The sockets that a node answers on: UDP read in bursts, TCP with limits (RFC 7766)."""

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

Source = tuple[Any, ...]  # as recvfrom gives it

_log = logging.getLogger("mddns")

_BURST: Final = 64  # datagrams read before the loop's other work gets a turn
_BUSY: Final = 2048  # datagrams beyond _FEW in each of the last bursts, after which they are read many at a time
_FEW: Final = 8  # in a burst; for so many, one after the other is quicker
_LARGEST: Final = 65_535


class UdpListener:
    """Reads one UDP socket, which stays its owner's. `answering(wire, address, tcp)` gives the Reaction to a message.

    `hot` gives the answers that need no such call, for the length of a burst (:mod:`mddns.responder.hot_answers`).
    `ours` is asked before each burst whether the socket is still ours to read.
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
        """Takes no more questions."""
        self._loop.remove_reader(self.socket.fileno())

    @property
    def busy(self) -> bool:
        """Whether answers are still to go out."""
        return bool(self._waiting)

    def close(self) -> None:
        """Stops answering; questions that wait for the network are dropped."""
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
                continue  # an ICMP error for some earlier answer; or as below
            self._react(wire, source)
        else:
            self._busy += _BURST - _FEW
        if self._busy > self._busy_from:
            self._batch = _batch(self.socket, self._react)
            self._busy_from = math.inf  # once is enough, where there is none

    def _react(self, wire: bytes, source: Source) -> None:
        """Answers what is not ready, at once or later."""
        answer = self._answering(wire, source[0], False)
        if isinstance(answer, bytes):
            try:
                self.socket.sendto(answer, source)
            except OSError:
                return  # the network is down, or the buffer full: the client asks again
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
            return  # as above


def _batch(sock: socket.socket, react: Callable[[bytes, Source], None]) -> Batch | None:
    """The quick way to read a socket, where there is one."""
    try:
        from .udp_batch import Batch  # ctypes, which nobody needs who is asked now and then

        return Batch(sock, react)
    except (ImportError, OSError):
        return None


class TcpListener:
    """Accepts at one listening socket, which stays its owner's; several queries a connection, limits on all else."""

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
        """`ours` is asked each time whether the socket is still ours to accept at; `serving` answers HTTP,
        `sessions` are for DNS Push. `connections` is how many there may be, where that is not as usual.
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
        self._acceptor = Acceptor(sock, loop, ours, self._begin, f"connections to {where} wait")

    def descriptors(self) -> list[int]:
        """Those of its connections."""
        return self._connections.descriptors()

    def pause(self) -> None:
        """Accepts no more."""
        self._acceptor.close()

    @property
    def busy(self) -> bool:
        """Whether answers are still to go out, or somebody who was taken in has yet to ask."""
        return bool(self._beginning) or self._connections.busy

    def close(self) -> None:
        """Accepts no more, and ends every connection."""
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
            _log.debug("a connection that ended as it began: %s", error)
