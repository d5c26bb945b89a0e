"""Runs the commands of users on a node, and returns their results."""

from __future__ import annotations

import errno
import json
import socket
import subprocess
from typing import Any

from bed.host import PORT
from bed.process import Process, wait_until

from .machine import Machine


def md(node: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs `md` until it ends."""
    return node.run(["md", *words], timeout=20)


def offer(node: Machine, *words: str) -> Process:
    """Starts `md advertise` in the background; returns when it has advertised."""
    process = node.start(["md", "advertise", *words])
    process.wait_for("advertised", 20)
    return process


def seen(node: Machine, *words: str) -> set[str]:
    """Returns every ``ip:port`` that `md list` finds."""
    done = md(node, "list", "-o", "name", *words)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def until_seen(node: Machine, *wanted: str, timeout: float = 20) -> None:
    """Waits until `md list` finds at least these endpoints."""
    assert wait_until(lambda: set(wanted) <= _listed(node), timeout), (node.name, wanted, md(node, "list"))


def until_unseen(node: Machine, *unwanted: str, timeout: float = 20) -> None:
    """Waits until `md list` finds none of these endpoints."""
    assert wait_until(lambda: not set(unwanted) & _listed(node), timeout), (node.name, unwanted, md(node, "list"))


def _listed(node: Machine) -> set[str]:
    """Returns what `md list` finds now; nothing while the network cannot be queried yet."""
    return set(md(node, "list", "-o", "name").stdout.split())


def doctor(node: Machine, *words: str) -> dict[str, dict[str, Any]]:
    """Returns the findings of `md doctor`, by check."""
    return {each["check"]: each for each in json.loads(md(node, "doctor", "-o", "json", *words).stdout)}


def udp(node: Machine, address: str, port: int = PORT, timeout: float = 1.5) -> str:
    """Sends a datagram. Returns "answered", "silent", or the kernel's error."""
    return node.call(_try, socket.SOCK_DGRAM, address, port, timeout)


def tcp(node: Machine, address: str, port: int = PORT, timeout: float = 1.5) -> str:
    """Connects by TCP. Returns "answered" for a connection, "silent", or the kernel's error."""
    return node.call(_try, socket.SOCK_STREAM, address, port, timeout)


def _try(kind: socket.SocketKind, address: str, port: int, timeout: float) -> str:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect((address, port))
            if kind == socket.SOCK_DGRAM:
                sock.send(b"\0\1\0\0\0\1\0\0\0\0\0\0\0\0\2\0\1")  # a query for NS of the root; a node answers REFUSED
                sock.recv(512)
        except TimeoutError:
            return "silent"
        except OSError as error:
            return errno.errorcode[error.errno or 0]
    return "answered"
