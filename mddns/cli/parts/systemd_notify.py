"""Reports the state of a service to systemd (sd_notify(3), Type=notify)."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(*words: str, status: str = "") -> None:
    """Sends `words`, such as ``READY=1``, and the text for ``systemctl status``. No-op without NOTIFY_SOCKET."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    lines = [*words, *([f"STATUS={' '.join(status.split())}"] if status else [])]
    # The manager may be gone; that must not end the command.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + path[1:] if path[0] == "@" else path)
        sock.send("\n".join(lines).encode("utf-8", "backslashreplace"))


def reloading() -> None:
    """Reports the start of a reload; READY=1 ends it. systemd needs the time to tell two reloads apart."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
