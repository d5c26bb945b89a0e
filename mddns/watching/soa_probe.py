"""Queries hosts for their SOA over UDP, to see whether they are up, and whether their zone has changed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from ..base.errors import BadMessage
from ..base.names import Name
from ..dns.message import NOERROR, OPCODE, QR, SOA, Message, soa_serial
from ..dns.writer import pack_query, random_ids

_BURST: Final = 64
_LARGEST: Final = 65_535


class Prober:
    """Calls ``answered(address, port, serial)`` for the response to the last query at each address and port."""

    def __init__(self, apex: Name, answered: Callable[[str, int, int], None]) -> None:
        self._apex = apex
        self._query = pack_query(apex.wire, SOA, ident=0, rd=False)
        self._answered = answered
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[bool, socket.socket] = {}
        self._asked: dict[tuple[str, int], int] = {}

    def ask(self, address: str, port: int) -> None:
        """Sends one query. A query that cannot be sent counts as lost, and raises no error."""
        ident = random_ids(1)[0]
        self._asked[address, port] = ident
        with contextlib.suppress(OSError):
            sock = self._socket(":" in address)
            sock.sendto(ident.to_bytes(2, "big") + self._query[2:], (address, port))

    def descriptors(self) -> list[int]:
        """Returns the file descriptors of its sockets."""
        return [sock.fileno() for sock in self._sockets.values()]

    def close(self) -> None:
        """Closes the sockets."""
        for sock in self._sockets.values():
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def _socket(self, six: bool) -> socket.socket:
        sock = self._sockets.get(six)
        if sock is None:
            sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            self._sockets[six] = sock
            self._loop.add_reader(sock, self._read, sock)
        return sock

    def _read(self, sock: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                wire, (address, port, *_) = sock.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue
            with contextlib.suppress(BadMessage):
                self._receive(address, port, wire)

    def _receive(self, address: str, port: int, wire: bytes) -> None:
        ident = self._asked.get((address, port))
        message = Message(wire)
        if (
            message.id != ident
            or message.flags & (QR | OPCODE) != QR
            or message.rcode != NOERROR
            or message.question[1] != self._apex.key
        ):
            return
        for record in message.answer:
            if record.rtype == SOA and record.key == self._apex.key:
                del self._asked[address, port]
                self._answered(address, port, soa_serial(wire, message.names, record))
                return
