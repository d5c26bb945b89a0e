"""Binds the sockets of a node: to given addresses, never to a wildcard, and UDP without address or port reuse.

So the process that holds the port is the only responder of the host.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from ..base.errors import NetworkError, PortInUse
from ..base.model import join_address
from ..system.port_owner import who_has

_BACKLOG: Final = 128


def _bind_error(error: OSError, kind: str, address: str, port: int, named: bool) -> Exception:
    where = join_address(address, port)
    if error.errno == errno.EADDRINUSE:
        who = who_has(kind, address, port) if named else ""
        told = f"{kind} {where} is in use by another program{who}"
        return PortInUse(error.errno, f"{told}: end it, or choose another port with --port (MDDNS_PORT)")
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkError(error.errno, f"{address} is no address of this machine: is the network up?")
    if error.errno == errno.EACCES:
        return NetworkError(error.errno, f"{kind} {where} may not be bound by this user: ports below 1024 need root")
    return NetworkError(error.errno, f"{kind} {where} cannot be bound: {error.strerror}")


def socket_address(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """The address as sockets take it; a link-local scope becomes a number. OSError if there is no such interface."""
    address, mark, scope = address.partition("%")
    if not mark:
        return address, port
    return address, port, 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)


def bind_udp(address: str, port: int, *, named: bool = True) -> socket.socket:
    """A UDP socket at an address, without reuse: only one process can have it. Raises PortInUse or NetworkError.

    `named`: the error names the program that has the port. This looks at every process of the machine.
    """
    return _bind(socket.SOCK_DGRAM, "UDP", address, port, named)


def bind_tcp(address: str, port: int, *, named: bool = True) -> socket.socket:
    """A listening TCP socket at an address. Raises PortInUse or NetworkError, as :func:`bind_udp`."""
    return _bind(socket.SOCK_STREAM, "TCP", address, port, named)


def _bind(kind: socket.SocketKind, shown: str, address: str, port: int, named: bool) -> socket.socket:
    try:
        # Explicit: only where asyncio sees TCP here does it turn Nagle's algorithm off, which would cost 40 ms.
        proto = socket.IPPROTO_TCP if kind is socket.SOCK_STREAM else socket.IPPROTO_UDP
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind, proto)
    except OSError as error:  # no descriptor is left, or this machine has no such address family
        raise _bind_error(error, shown, address, port, named) from error
    try:
        sock.setblocking(False)
        if kind is socket.SOCK_STREAM:
            # Connections of a responder that just ended stay in TIME_WAIT and do no harm.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket_address(address, port))
        if kind is socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _bind_error(error, shown, address, port, named) from error
    return sock
