"""Captures the queries that programs of a host send to a port of its loopback."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

import dns.exception
import dns.message

from .host import Host

_ALL = 0x0003  # ETH_P_ALL
_BUFFER = 1 << 22
_UDP = 17


class Wiretap:
    """Captures UDP queries over IPv4 to `port` of the host's loopback, until `asked`."""

    def __init__(self, host: Host, port: int) -> None:
        self._port = port
        self._socket = host.call(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind(("lo", _ALL))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def asked(self) -> list[dns.message.Message]:
        """The queries so far, in order, without duplicates."""
        found: dict[bytes, dns.message.Message] = {}
        while True:
            try:
                packet = self._socket.recv(65535)
            except BlockingIOError:
                return list(found.values())
            header = (packet[0] & 15) * 4
            if packet[0] >> 4 != 4 or packet[9] != _UDP or packet[header + 2 : header + 4] != self._port.to_bytes(2):
                continue
            try:
                # A capture on loopback has each packet twice: outgoing and incoming.
                found[packet[header:]] = dns.message.from_wire(packet[header + 8 :])
            except dns.exception.DNSException:
                continue
