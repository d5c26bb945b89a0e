"""Takes over sockets that systemd has bound (sd_listen_fds(3)), so that port 53 needs no root."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import MutableMapping
from typing import Final

from ...base.errors import ConfigError

_FIRST: Final = 3
_MOST: Final = 64
_KINDS: Final = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


def handed_over(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Returns the sockets, which the caller must close; none if they are for another process.

    ConfigError if one is not a UDP or TCP socket bound to one address.
    """
    meant_for, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if meant_for != str(os.getpid()) or not count.isdecimal():
        return []
    sockets: list[socket.socket] = []
    try:
        for number in range(min(int(count), _MOST)):
            name = names[number] if number < len(names) else "unknown"
            sockets.append(_taken(_FIRST + number, name))
    except ConfigError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _taken(descriptor: int, name: str) -> socket.socket:
    where = f"descriptor {descriptor} ({name}) of LISTEN_FDS"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"{where} is not a socket: {error.strerror}") from None
    sock.set_inheritable(False)
    sock.setblocking(False)
    wanted = "it must be a UDP or TCP socket at one address, as in ListenDatagram=127.0.0.1:53"
    try:
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type not in _KINDS:
            raise ConfigError(f"{where} is {sock.family.name}, {sock.type.name}: {wanted}")
        if ipaddress.ip_address(str(sock.getsockname()[0]).partition("%")[0]).is_unspecified:
            # The kernel would choose the source address of responses.
            raise ConfigError(f"{where} is bound to all addresses: {wanted}")
    except ConfigError:
        sock.close()
        raise
    return sock
