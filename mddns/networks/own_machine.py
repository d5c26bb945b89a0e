"""The name of this machine, and which addresses are its own."""

from __future__ import annotations

import socket


def host_name() -> str:
    """The first label of this machine's host name; "" if it has none."""
    return socket.gethostname().partition(".")[0]


def is_own(address: str) -> bool:
    """Whether an address is this machine's: whether a socket can be bound to it."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def address_towards(address: str) -> str | None:
    """Our source address for packets to `address`; None if there is no route. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None
