"""A program that embeds a registry, for tests of several on one host.

``python -m bed.program PORT [NAME [OPTION=VALUE…]]``. The options are those of `start_registry`. With ``apart=1``, no
other program can reach its Unix socket, as in another container. With ``hog=1``, it opens as many file descriptors as
it may. It prints ``up`` when its service is advertised, and ``holder`` or ``tenant`` when its role changes. At SIGUSR1
it holds the interpreter lock for 1.5 s, as a careless extension does; at SIGUSR2 it forks a child that lives on; at
SIGTERM it closes its registry and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any

import mddns
from mddns.host import role


def main() -> None:
    """Runs until SIGTERM."""
    port, name = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "web"
    options: dict[str, Any] = dict(option.split("=", 1) for option in sys.argv[3:])
    if "wait" in options:
        options["wait"] = float(options["wait"])
    hog = options.pop("hog", None)
    if options.pop("apart", None):
        role.channel_path = lambda address, port: f"\0apart-{os.getpid()}"
    signals = {signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    registry = mddns.start_registry(**options)
    registry.advertise_service(port, name, {"n": str(port)})
    if hog:
        with contextlib.suppress(OSError):
            while True:
                os.open(os.devnull, os.O_RDONLY)
    print("up", flush=True)
    threading.Thread(target=_tell_place, args=(registry,), daemon=True).start()
    while (number := signal.sigwait(signals)) != signal.SIGTERM:
        if number == signal.SIGUSR1:
            ctypes.PyDLL(None).usleep(1_500_000)  # unlike CDLL, PyDLL does not release the interpreter lock
        elif os.fork() == 0:
            _live_on()
    registry.close()


def _tell_place(registry: mddns.Registry) -> None:
    place = None
    while True:
        now = registry.is_holder
        if now is not place:
            print("holder" if now else "tenant", flush=True)
            place = now
        time.sleep(0.005)


def _live_on() -> None:
    """The child: it answers no queries, and does not block the parent. The test kills it with its group."""
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
