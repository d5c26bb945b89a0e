"""Finds the processes that have a port, for the error that it is in use. Only Linux shows them, in /proc."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from typing import Final, NamedTuple

_WAITS: Final = {"tcp": "0A", "udp": "07"}  # listening TCP, unconnected UDP: linux/tcp_states.h


class Held(NamedTuple):
    """A port in use at `address`; `owners` are (pid, name) of its processes, empty if unknown."""

    address: str
    owners: tuple[tuple[int, str], ...]

    def is_at(self, address: str) -> bool:
        """Whether these processes get packets to `address`. A socket bound to ``::`` usually gets IPv4 packets too."""
        return self.address in (address, "::") or (self.address == "0.0.0.0" and ":" not in address)


def who_has(kind: str, address: str, port: int) -> str:
    """`` (pid 123, dnsmasq)`` for the process that has UDP or TCP `port` at `address` or at all addresses, or "".

    Only root sees processes of other users.
    """
    owners = [owner for each in held(kind.lower(), port) or () if each.is_at(address) for owner in each.owners]
    return next((f" (pid {pid}, {name})" for pid, name in owners), "")


def held(kind: str, port: int) -> list[Held] | None:
    """Returns the uses of ``udp`` or ``tcp`` `port`, one for each address; None if the system does not show them."""
    found: list[tuple[str, str]] = []
    told = False
    for table in (f"/proc/net/{kind}", f"/proc/net/{kind}6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as file:
            told = True
            for line in file.readlines()[1:]:
                fields = line.split()
                local, _, number = fields[1].partition(":")
                if int(number, 16) == port and fields[3] == _WAITS[kind]:
                    found.append((_address(local), f"socket:[{fields[9]}]"))
    if not told:
        return None
    owners = _owners({inode for _, inode in found})
    return [Held(address, tuple(owners.get(inode, ()))) for address, inode in found]


def owners_at(kind: str, address: str, number: int) -> tuple[tuple[int, str], ...] | None:
    """The (pid, name) of processes that have a port at `address`: empty if unknown, None if the port is free."""
    found = held(kind, number)
    if found is None:
        return () if taken(kind, address, number) else None
    at = [each for each in found if each.is_at(address)]
    return tuple(dict.fromkeys(owner for each in at for owner in each.owners)) if at else None


def taken(kind: str, address: str, number: int) -> bool:
    """Whether a port is in use, for systems that do not show its owner: tries to bind to it for a moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, number))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _owners(inodes: set[str]) -> dict[str, list[tuple[int, str]]]:
    """Returns (pid, name) of the processes that have each of these sockets."""
    found: dict[str, list[tuple[int, str]]] = {}
    for pid in [name for name in os.listdir("/proc") if name.isdecimal()] if inodes else []:
        with contextlib.suppress(OSError):
            with os.scandir(f"/proc/{pid}/fd") as entries:
                its = inodes.intersection(os.readlink(entry.path) for entry in entries)
            for inode in its:
                found.setdefault(inode, []).append((int(pid), program_of(int(pid))))
    return found


def program_of(pid: int) -> str:
    """Returns the name of a process. Raises OSError if there is no such process, or the system does not show it."""
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def _address(printed: str) -> str:
    """``127.0.0.1`` for 0100007F: hexadecimal, each 32 bits in the machine's byte order."""
    octets = bytes.fromhex(printed)
    words = [octets[at : at + 4] for at in range(0, len(octets), 4)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    import ipaddress  # slow to load, and only needed if the port is in use

    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
