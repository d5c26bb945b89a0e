"""The sockets of NOTIFY: sends the messages of :mod:`mddns.forward.notify` and receives the answers."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import math
import socket
from collections.abc import Iterable, Sequence
from typing import Final

from ..base.names import Name
from ..dns.writer import RR, random_ids
from ..files.resolv_conf import Place
from ..server.binding import socket_address
from ..system.clock import now
from .notify import Notifications

_log = logging.getLogger("mddns")

_ANSWER: Final = 4096  # maximum octets of an answer to read
_BURST: Final = 64


class Notifier:
    """Sends NOTIFY for the zone `apex` to `targets`. Needs a running event loop; ends with :meth:`close`."""

    def __init__(self, apex: Name, targets: Sequence[Place], listening: Iterable[Place]) -> None:
        """`listening` is where we answer: secondaries accept NOTIFY only from their primary's address."""
        self._listening = tuple(listening)
        self._sockets: dict[Place, socket.socket] = {}
        self._by_text = {_bare(place.address, place.port): place for place in targets}
        self._pending = Notifications(apex, targets, lambda: random_ids(1)[0])
        self._timer: asyncio.TimerHandle | None = None

    def moved(self, soa: RR) -> None:
        """Takes a new SOA record of the zone."""
        self._pending.moved(soa, now())
        self._go_on()

    def close(self) -> None:
        """Stops sending and closes the sockets."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for sock in self._sockets.values():
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _go_on(self) -> None:
        """Sends the due messages and sets the timer for the next."""
        for place, wire in self._pending.due(now()):
            try:
                self._socket(place).sendto(wire, socket_address(*place))
            except OSError as error:
                _log.debug("NOTIFY to %s: %s", place, error)  # retried; logged as a warning after the last try
        for said in self._pending.given_up(now()):
            _log.warning("%s", said, extra={"event": "notify"})
        self._wait()

    def _wait(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if (at := self._pending.next_at) < math.inf:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now()), self._go_on)

    def _socket(self, place: Place) -> socket.socket:
        """Returns the socket for a target, bound to an address where we answer, if one fits."""
        sock = self._sockets.get(place)
        if sock is None:
            sock = self._sockets[place] = socket.socket(_family(place), socket.SOCK_DGRAM)
            sock.setblocking(False)
            for ours in self._listening:
                if _family(ours) == _family(place) and ours.is_loopback == place.is_loopback:
                    _bind(sock, ours.address)
                    break
            asyncio.get_running_loop().add_reader(sock.fileno(), self._read, sock)
        return sock

    def _read(self, sock: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                wire, source = sock.recvfrom(_ANSWER)
            except OSError:
                break  # no more datagrams, or an ICMP error, which a retry covers
            place = self._by_text.get(_bare(source[0], source[1]))
            for said in self._pending.heard(wire, place) if place else ():
                _log.warning("%s", said, extra={"event": "notify"})
        self._wait()


def _bind(sock: socket.socket, address: str) -> None:
    try:
        sock.bind(socket_address(address, 0))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # the forwarder waits for it; until then the kernel chooses
            raise


def _family(place: Place) -> int:
    return socket.AF_INET6 if ":" in place.address else socket.AF_INET


def _bare(address: str, port: int) -> tuple[str, int]:
    """Returns address and port in a canonical form."""
    return ipaddress.ip_address(address.partition("%")[0]).compressed, port
