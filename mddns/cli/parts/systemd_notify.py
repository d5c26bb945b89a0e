"""What a service tells systemd, where it was started as one (sd_notify(3), Type=notify)."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(*words: str, status: str = "") -> None:
    """Tells `words`, as in ``READY=1``, and what ``systemctl status`` shows. Nothing where nobody listens."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    lines = [*words, *([f"STATUS={' '.join(status.split())}"] if status else [])]
    # Whoever started us may have gone; what we do goes on.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + path[1:] if path[0] == "@" else path)
        sock.send("\n".join(lines).encode("utf-8", "backslashreplace"))


def reloading() -> None:
    """A reload has begun; READY=1 ends it. systemd takes the moment to know it from the one before."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
