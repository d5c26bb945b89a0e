"""Who has a port: for the message that says it is taken. Linux tells by /proc; elsewhere nothing is known."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys


def who_has(kind: str, address: str, port: int) -> str:
    """`` (pid 123, dnsmasq)`` for the process that has UDP or TCP `port` at `address` or at all addresses, or "".

    Other users' processes are only shown to root.
    """
    family = "6" if ":" in address else ""
    wanted = {_as_kernel_prints(address), "0" * (32 if family else 8)}
    inodes = set()
    # A program that is bound to all addresses often is so by IPv6.
    for table in (f"/proc/net/{kind.lower()}{family}", f"/proc/net/{kind.lower()}6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                local, _, number = fields[1].partition(":")
                if int(number, 16) == port and (local in wanted or not int(local, 16)):
                    inodes.add(f"socket:[{fields[9]}]")
    return next((f" ({told})" for told in _owners(inodes)), "")


def _owners(inodes: set[str]) -> list[str]:
    found = []
    for pid in [name for name in os.listdir("/proc") if name.isdecimal()] if inodes else []:
        with contextlib.suppress(OSError):
            with os.scandir(f"/proc/{pid}/fd") as entries:
                is_it = any(os.readlink(entry.path) in inodes for entry in entries)
            if is_it:
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    found.append(f"pid {pid}, {file.read().strip()}")
    return found


def _as_kernel_prints(address: str) -> str:
    """``0100007F`` for 127.0.0.1: hexadecimal, each 32 bits in the machine's byte order."""
    packed = ipaddress.ip_address(address).packed
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return "".join((word[::-1] if sys.byteorder == "little" else word).hex() for word in words).upper()
