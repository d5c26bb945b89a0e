"""A program whose services come, change and go at random: ``python -m bed.restless SEED PORT``.

They are on the three ports from PORT on. Before and after each change it prints a line of JSON: ``at``, the time by the
monotonic clock, which all hosts of a bed share; ``port``; ``labels`` (null: no service); and ``done``, true after the
change. At SIGUSR1 it pauses and prints ``resting``. At SIGTERM it closes its registry.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time

import mddns

PORTS = 3
LONGEST = 0.8  # seconds between two changes


def main() -> None:
    """Runs until SIGTERM."""
    dice, first = random.Random(int(sys.argv[1])), int(sys.argv[2])
    signals = {signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    standing: dict[int, mddns.Advertised] = {}
    with mddns.start_registry() as registry:
        _change(registry, standing, first, False)
        print("up", flush=True)
        # If the process was stopped beyond the timeout, sigtimedwait() may report a signal that was not sent.
        while not signal.sigpending() & signals:
            time.sleep(dice.uniform(0.05, LONGEST))
            _change(registry, standing, first + dice.randrange(PORTS), dice.random() < 0.2)
        if signal.SIGTERM not in signal.sigpending():
            print("resting", flush=True)
            signal.sigwait({signal.SIGTERM})
        for port in standing:
            _tell(port, None, done=False)
    for port in standing:
        _tell(port, None, done=True)


def _change(registry: mddns.Registry, standing: dict[int, mddns.Advertised], port: int, withdraw: bool) -> None:
    handle = standing.get(port)
    labels = None if withdraw else {"t": f"{time.monotonic():.6f}"}
    if handle is None and labels is None:
        return
    _tell(port, labels, done=False)
    if handle is None:
        standing[port] = registry.advertise_service(port, "web", labels)
    elif labels is None:
        standing.pop(port).withdraw()
    else:
        handle.update(labels)
    _tell(port, labels, done=True)


def _tell(port: int, labels: dict[str, str] | None, *, done: bool) -> None:
    print(json.dumps({"at": time.monotonic(), "port": port, "labels": labels, "done": done}), flush=True)


if __name__ == "__main__":
    main()
