"""Binds the sockets that a node answers at: to given addresses, never to a wildcard, and UDP without any reuse.

Who has the port is the host's one responder.
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
        return NetworkError(error.errno, f"{kind} {where} may not be bound by this user: ports below 1024 want root")
    return NetworkError(error.errno, f"{kind} {where} cannot be bound: {error.strerror}")


def socket_address(address: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """As sockets want it: the scope of a link-local address by its number. OSError where there is no such interface."""
    address, mark, scope = address.partition("%")
    if not mark:
        return address, port
    return address, port, 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)


def bind_udp(address: str, port: int, *, named: bool = True) -> socket.socket:
    """A UDP socket at an address, without any reuse: who has it is alone. PortInUse or NetworkError.

    `named`: the error names the program that has it, which means to look at every process of the machine.
    """
    return _bind(socket.SOCK_DGRAM, "UDP", address, port, named)


def bind_tcp(address: str, port: int, *, named: bool = True) -> socket.socket:
    """A listening TCP socket at an address. PortInUse or NetworkError, as with :func:`bind_udp`."""
    return _bind(socket.SOCK_STREAM, "TCP", address, port, named)


def _bind(kind: socket.SocketKind, shown: str, address: str, port: int, named: bool) -> socket.socket:
    try:
        # Said, not implied: asyncio turns Nagle's algorithm off where it sees TCP, and 40 ms lie between the two.
        proto = socket.IPPROTO_TCP if kind is socket.SOCK_STREAM else socket.IPPROTO_UDP
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind, proto)
    except OSError as error:  # no descriptor is left, or no such family on this machine
        raise _bind_error(error, shown, address, port, named) from error
    try:
        sock.setblocking(False)
        if kind is socket.SOCK_STREAM:
            # Connections of a responder that has just ended linger, and are in nobody's way.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket_address(address, port))
        if kind is socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _bind_error(error, shown, address, port, named) from error
    return sock
