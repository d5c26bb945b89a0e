"""The sockets of one lookup: one UDP socket for each address family, and TCP where an answer needs it.

An :class:`Exchange` does the I/O of a :class:`~mddns.lookup.fanout.Lookup`, which makes all decisions. The selector has
its own file descriptor, so a blocking caller (:func:`run`) and an event loop (:func:`mddns.lookup.asyncio_sockets.run`)
can use the same code.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..base.errors import NetworkError
from .asked_peer import Ask
from .datagrams import Datagram
from .fanout import Lookup

if TYPE_CHECKING:
    from .burst import Volley

Clock = Callable[[], float]

_IP_RECVERR: Final = 11  # linux/in.h; the socket module has no names for these
_IPV6_RECVERR: Final = 25  # linux/in6.h
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")  # struct sock_extended_err, linux/errqueue.h
_LINUX: Final = sys.platform.startswith("linux")
_BURST: Final = 256  # most datagrams to read in one step
_TURNS: Final = 4  # the same as calls of recvmmsg, for many peers
_LARGEST: Final = 65_535
MANY: Final = 512  # number of peers from which on loading burst.py pays off


if sys.platform.startswith("linux"):
    _Selector = selectors.EpollSelector
else:
    _Selector = selectors.KqueueSelector


class Exchange:
    """Runs one lookup. Call ``step()`` when the selector is readable, and at the time that it returned."""

    def __init__(self, lookup: Lookup, clock: Clock) -> None:
        self.lookup = lookup
        # epoll or kqueue: one descriptor that is readable when any of its sockets is.
        self.selector = _Selector()
        self._clock = clock
        self._udp: dict[bool, socket.socket | None] = {}
        self._streams: dict[socket.socket, _Stream | _WebStream] = {}
        self._volley = self._many() if len(lookup.asks) >= MANY else None

    def step(self) -> float | None:
        """Receives, then sends. Returns the time by which to call it again, None if the lookup is done."""
        lookup, now = self.lookup, self._clock()
        for key, _ in self.selector.select(0):
            sock = key.fileobj
            if isinstance(sock, socket.socket):
                if sock in self._streams:
                    self._step_stream(sock, now)
                else:
                    self._drain(sock, now)
        if self._volley:
            self._ask_many(self._volley)
        while not lookup.done:
            datagrams = lookup.send(self._clock())
            self._send_all(datagrams)
            wanted = lookup.tcp()
            for ask in wanted:
                self._connect(ask.over_tcp or ask.peer.route[0], ask.peer.port, _Stream(lookup, ask))
            lists = lookup.web()
            for ask in lists:
                self._give_up(ask)
                self._connect(ask.over_web or ask.peer.route[0], ask.peer.port, _WebStream(lookup, ask))
            if not (datagrams or wanted or lists):
                break
        return None if lookup.done else lookup.timer()

    def close(self) -> None:
        """Closes all sockets."""
        for sock in (*self._udp.values(), *self._streams):
            if sock is not None:
                sock.close()
        self._streams.clear()
        self.selector.close()

    def _socket(self, six: bool) -> socket.socket | None:
        if six not in self._udp:
            self._udp[six] = sock = _open_udp(six)
            if sock is not None:
                self.selector.register(sock, selectors.EVENT_READ)
        return self._udp[six]

    def _send_all(self, datagrams: Sequence[Datagram]) -> None:
        sock = self._udp.get(False)
        for address, port, wire in datagrams:
            if sock is None or ":" in address:
                self._send(address, port, wire)
                sock = self._udp.get(False)
                continue
            try:
                sock.sendto(wire, (address, port))
            except BlockingIOError:
                continue  # the send buffer is full: counts as packet loss, for which there is a retry
            except OSError:
                # Usually the pending error of another peer, which the kernel raises only once: send again.
                self._drain_errors(sock)
                self._send(address, port, wire)

    def _send(self, address: str, port: int, wire: bytes) -> None:
        sock = self._socket(":" in address)
        if sock is None:
            self.lookup.failed(address, port, self._clock(), refused=False)
            return
        for _ in range(3):
            try:
                sock.sendto(wire, (address, port))
                return
            except BlockingIOError:
                return  # the send buffer is full: counts as packet loss, for which there is a retry
            except OSError:
                # The kernel raises the error of another peer in the next call, which then sends nothing.
                if not self._drain_errors(sock):
                    self.lookup.failed(address, port, self._clock(), refused=False)
                    return

    def _many(self) -> Volley | None:
        """Returns the sender for very many peers over IPv4, None if the system has none."""
        sock = self._socket(False)
        if sock is None or not _LINUX:
            return None
        from .burst import Volley

        try:
            return Volley(sock, self.lookup.rest)
        except OSError:
            return None

    def _ask_many(self, volley: Volley) -> None:
        """Sends the asks that are next."""
        lookup = self.lookup
        asks = lookup.begin(self._clock())
        while asks:
            asks = volley.send(asks)
            if asks:
                # Usually the pending error of another peer. Or this peer has only IPv6, or the network is down.
                self._send(*lookup.datagram(asks[0]))
                asks = asks[1:]

    def _drain(self, sock: socket.socket, now: float) -> None:
        volley = self._volley
        if volley and sock.family == socket.AF_INET:
            self._drain_many(volley, sock, now)
            return
        received = self.lookup.received
        for _ in range(_BURST):
            try:
                wire, source = sock.recvfrom(_LARGEST)
            except BlockingIOError:
                break
            except OSError:
                self._drain_errors(sock)
                continue
            received(wire, source[0], source[1], now)

    def _drain_many(self, volley: Volley, sock: socket.socket, now: float) -> None:
        lookup = self.lookup
        for _ in range(_TURNS):
            count, answers, others = volley.receive()
            if not count and not self._drain_errors(sock):
                break
            lookup.answers(answers, now)
            for wire, address, port in others:
                lookup.received(wire, address, port, now)
            self._ask_many(volley)

    def _drain_errors(self, sock: socket.socket) -> bool:
        """Reads the errors that the kernel has queued for peers. Returns whether there were any."""
        if not _LINUX:
            return False
        any_read = False
        while True:
            try:
                _, ancillary, _, source = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return any_read
            any_read = True
            for _, _, data in ancillary:
                if len(data) >= _EXTENDED_ERROR.size and source:
                    number = _EXTENDED_ERROR.unpack_from(data)[0]
                    refused = number == errno.ECONNREFUSED
                    self.lookup.failed(source[0], source[1], self._clock(), refused=refused)

    def _connect(self, address: str, port: int, stream: _Stream | _WebStream) -> None:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        self._streams[sock] = stream
        self.selector.register(sock, selectors.EVENT_WRITE)
        result = sock.connect_ex((address, port))
        if result not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._drop(sock)

    def _give_up(self, ask: Ask) -> None:
        """Closes the TCP connections of an ask: Minidisc in Python serves only one connection at a time."""
        for sock, stream in list(self._streams.items()):
            if stream.ask is ask:
                del self._streams[sock]
                self.selector.unregister(sock)
                sock.close()

    def _step_stream(self, sock: socket.socket, now: float) -> None:
        stream = self._streams[sock]
        try:
            if stream.unsent:
                stream.unsent = stream.unsent[sock.send(stream.unsent) :]
                if not stream.unsent:
                    stream.sent()
                    self.selector.modify(sock, selectors.EVENT_READ)
                return
            octets = sock.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        if not stream.feed(octets, now) or not octets:
            self._drop(sock)

    def _drop(self, sock: socket.socket) -> None:
        stream = self._streams.pop(sock)
        self.selector.unregister(sock)
        sock.close()
        stream.ended(self._clock())


class _Stream:
    """DNS messages over TCP: two octets of length, then the message (RFC 1035 4.2.2)."""

    __slots__ = ("_lookup", "_received", "ask", "unsent")

    def __init__(self, lookup: Lookup, ask: Ask) -> None:
        self._lookup = lookup
        self.ask = ask
        query = lookup.query_for(ask)
        self.unsent = len(query).to_bytes(2, "big") + query
        self._received = bytearray()

    def sent(self) -> None:
        """The query was sent: nothing to do."""

    def feed(self, octets: bytes, now: float) -> bool:
        """Processes received data; empty at the end. Returns whether to keep the connection open."""
        received = self._received
        received += octets
        while len(received) >= 2 and len(received) >= (end := 2 + (received[0] << 8 | received[1])):
            message = bytes(received[2:end])
            del received[:end]
            if not self._lookup.tcp_received(self.ask, message, now):
                return False
        return True

    def ended(self, now: float) -> None:
        """The connection is closed."""
        self._lookup.tcp_failed(self.ask, now)


class _WebStream:
    """``GET /services`` over HTTP, as Minidisc nodes answer it."""

    __slots__ = ("_lookup", "_over", "_received", "ask", "unsent")

    def __init__(self, lookup: Lookup, ask: Ask) -> None:
        self._lookup = lookup
        self.ask = ask
        host = f"{ask.over_web}:{ask.peer.port}"
        self.unsent = f"GET /services HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        self._received = bytearray()
        self._over = False

    def sent(self) -> None:
        """The request was sent, so the peer has accepted the connection."""
        self._lookup.web_open(self.ask)

    def feed(self, octets: bytes, now: float) -> bool:
        """Processes received data; empty at the end. Returns whether to keep the connection open."""
        self._received += octets
        if not self._received:
            return False
        from ..codec.minidisc_json import read_response  # only networks with Minidisc nodes need it

        try:
            response = read_response(bytes(self._received), ended=not octets)
        except ValueError:
            return False
        if response is None:
            return True
        if response[0] == 200:
            self._over = True
            self._lookup.web_received(self.ask, response[1], now)
        return False

    def ended(self, now: float) -> None:
        """The connection is closed."""
        if not self._over:
            self._lookup.web_failed(self.ask, now)


def run(lookup: Lookup, clock: Clock) -> None:
    """Runs `lookup` until it is done; blocks for at most its timeout."""
    with contextlib.closing(Exchange(lookup, clock)) as exchange:
        while (when := exchange.step()) is not None:
            exchange.selector.select(max(0.0, when - clock()))


def _open_udp(six: bool) -> socket.socket | None:
    """Returns a non-blocking UDP socket that reports refusals, None if this host lacks the address family."""
    try:
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise NetworkError(error.errno, "no file descriptor is free for a lookup") from error
        return None
    sock.setblocking(False)
    if _LINUX:
        # Without it, the kernel reports no closed ports to an unconnected socket.
        level, option = (socket.IPPROTO_IPV6, _IPV6_RECVERR) if six else (socket.IPPROTO_IP, _IP_RECVERR)
        sock.setsockopt(level, option, 1)
    return sock
