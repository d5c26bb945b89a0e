"""The sockets of upstream queries: a separate connected socket for each query to a server.

A :class:`Chase` carries one :class:`~mddns.forward.upstream_query.Pursuit` and decides nothing. :class:`Chases` limits
all of them: if no socket is left for a new query, the oldest query is given up.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from ..server.binding import socket_address
from .upstream_query import Pursuit, Try

_LARGEST: Final = 4096  # larger than any response to our EDNS size of 1,232 octets
_BURST: Final = 16  # datagrams read before other sockets get a turn
_PENDING: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR)
_USED_UP: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
MOST_SOCKETS: Final = 4096
_SPARED: Final = 192  # descriptors for everything else


def socket_budget() -> int:
    """Returns the maximum number of upstream sockets, from the process's limit of open files."""
    try:
        import resource
    except ImportError:
        return MOST_SOCKETS // 8
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST_SOCKETS
    return max(16, min(MOST_SOCKETS, limit - _SPARED))


class Chases:
    """All pending queries, oldest first. `clock` is the clock of the pursuits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], most: int) -> None:
        self.loop = loop
        self.clock = clock
        self._most = most
        self._all: dict[Chase, None] = {}
        self.sockets = 0

    def __len__(self) -> int:
        return len(self._all)

    def start(self, pursuit: Pursuit, settled: Callable[[Pursuit], None]) -> None:
        """Starts a query. Calls ``settled(pursuit)`` once, at the latest at its deadline."""
        chase = Chase(self, pursuit, settled)
        self._all[chase] = None
        chase.step()

    def close(self) -> None:
        """Gives up all queries without calling their callbacks."""
        for chase in list(self._all):
            chase.end(quietly=True)

    def socket(self, kind: socket.SocketKind, address: str, wanting: Chase) -> socket.socket | None:
        """Returns a new socket; None if there is none even after giving up other queries."""
        while self.sockets >= self._most and self._give_up_oldest(wanting):
            pass
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for _ in range(2):
            try:
                made = socket.socket(family, kind)
            except OSError as error:
                if error.errno not in _USED_UP or not self._give_up_oldest(wanting):
                    return None
            else:
                made.setblocking(False)
                self.sockets += 1
                return made
        return None

    def ended(self, chase: Chase) -> None:
        """Removes a query whose sockets are closed."""
        self._all.pop(chase, None)

    def _give_up_oldest(self, wanting: Chase) -> bool:
        # Give up queries that are already answered and only test a server before those without an answer.
        oldest = next((each for each in self._all if each.pursuit.settled and each is not wanting), None)
        oldest = oldest or next((each for each in self._all if each is not wanting), None)
        if oldest is None:
            return False
        oldest.end()
        return True


class Chase:
    """The sockets of one query."""

    def __init__(self, chases: Chases, pursuit: Pursuit, settled: Callable[[Pursuit], None]) -> None:
        self.pursuit = pursuit
        self._chases = chases
        self._settled: Callable[[Pursuit], None] | None = settled
        self._sockets: dict[int, socket.socket] = {}
        self._streams: dict[int, _Stream] = {}
        self._timer: asyncio.TimerHandle | None = None

    def step(self) -> None:
        """Sends what is due, reports a result, and sets the timer."""
        pursuit, now = self.pursuit, self._chases.clock()
        while due := pursuit.due(now):
            for each in due:
                (self._send_tcp if each.tcp else self._send)(each, now)
        if pursuit.settled:
            self._tell()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if pursuit.over:
            self.end(quietly=True)
            return
        if pursuit.settled:
            for number in [each for each in self._sockets if not pursuit.listens(each)]:
                self._close(number)
        # call_later: the loop's clock may differ from ours.
        self._timer = self._chases.loop.call_later(max(0.0, pursuit.timer() - now), self.step)

    def end(self, *, quietly: bool = False) -> None:
        """Closes all sockets. Calls the callback without a result, unless `quietly`."""
        self._chases.ended(self)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for number in list(self._sockets):
            self._close(number)
        if not quietly:
            self.pursuit.settled = True
            self._tell()
        self._settled = None

    def _tell(self) -> None:
        settled, self._settled = self._settled, None
        if settled:
            settled(self.pursuit)

    def _send(self, what: Try, now: float) -> None:
        sock = self._sockets.get(what.number)
        try:
            if sock is None:
                place = what.server.place
                sock = self._chases.socket(socket.SOCK_DGRAM, place.address, self)
                if sock is None:
                    self.pursuit.failed(what.number, now)
                    return
                self._sockets[what.number] = sock
                sock.connect(socket_address(*place))
                self._chases.loop.add_reader(sock.fileno(), self._read, what.number)
            sock.send(what.wire)
        except BlockingIOError:
            pass  # treated as lost; sent again later
        except OSError:
            self.pursuit.failed(what.number, now)

    def _read(self, number: int) -> None:
        sock, pursuit = self._sockets[number], self.pursuit
        now = self._chases.clock()
        for _ in range(_BURST):
            try:
                wire = sock.recv(_LARGEST)
            except BlockingIOError:
                break
            except OSError:
                pursuit.failed(number, now)
                break
            pursuit.received(number, wire, now)
            if not pursuit.listens(number):
                self._close(number)
                break
        self.step()

    def _send_tcp(self, what: Try, now: float) -> None:
        place = what.server.place
        sock = self._chases.socket(socket.SOCK_STREAM, place.address, self)
        if sock is None:
            self.pursuit.failed(what.number, now)
            return
        self._sockets[what.number] = sock
        self._streams[what.number] = _Stream(what.wire)
        try:
            result = sock.connect_ex(socket_address(*place))
        except OSError as error:
            result = error.errno or errno.EINVAL
        if result and result not in _PENDING:
            self._close(what.number)
            self.pursuit.failed(what.number, now)
            return
        self._chases.loop.add_writer(sock.fileno(), self._write, what.number)

    def _write(self, number: int) -> None:
        sock, stream = self._sockets[number], self._streams[number]
        try:
            stream.unsent = stream.unsent[sock.send(stream.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._lost(number)
            return
        if not stream.unsent:
            self._chases.loop.remove_writer(sock.fileno())
            self._chases.loop.add_reader(sock.fileno(), self._read_stream, number)

    def _read_stream(self, number: int) -> None:
        sock, stream = self._sockets[number], self._streams[number]
        try:
            octets = sock.recv(stream.wanted)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        message = stream.feed(octets)
        if message is not None:
            self.pursuit.received(number, message, self._chases.clock())
        if message is None and octets:
            return
        # A connection carries one query and one response; ignore the rest.
        self._lost(number)

    def _lost(self, number: int) -> None:
        self._close(number)
        self.pursuit.failed(number, self._chases.clock())
        self.step()

    def _close(self, number: int) -> None:
        sock = self._sockets.pop(number, None)
        if sock is None:
            return
        self._streams.pop(number, None)
        self._chases.loop.remove_reader(sock.fileno())
        self._chases.loop.remove_writer(sock.fileno())
        sock.close()
        self._chases.sockets -= 1


class _Stream:
    """One message in each direction, after two octets of length (RFC 1035 4.2.2)."""

    __slots__ = ("_received", "unsent")

    def __init__(self, query: bytes) -> None:
        self.unsent = len(query).to_bytes(2, "big") + query
        self._received = bytearray()

    @property
    def wanted(self) -> int:
        """The number of missing octets."""
        received = self._received
        return 2 + (received[0] << 8 | received[1]) - len(received) if len(received) >= 2 else 2 - len(received)

    def feed(self, octets: bytes) -> bytes | None:
        """Takes octets. Returns the message when it is complete, else None."""
        self._received += octets
        if len(self._received) < 2 or self.wanted:
            return None
        return bytes(self._received[2:])


def entropy(count: int) -> bytes:
    """Returns random octets that are safe against guessing."""
    return os.urandom(count)
