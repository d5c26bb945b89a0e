"""A program whose one service changes: ``python -m bed.changer PORT COUNT PAUSE [SPREAD]``.

From SIGUSR1 on, it changes its label ``t`` COUNT times, PAUSE seconds apart, at random up to half more or less (or the
share SPREAD). The label is the time of the change by the monotonic clock, which all hosts of a bed share. Then it
prints ``done``, and ends at SIGTERM.
"""

from __future__ import annotations

import random
import signal
import sys
import time

import mddns


def main() -> None:
    """Runs until SIGTERM."""
    port, count, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    spread = float(sys.argv[4]) if len(sys.argv) > 4 else 0.5
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    with mddns.start_registry() as registry:
        service = registry.advertise_service(port, "web")
        print("up", flush=True)
        if signal.sigwait({signal.SIGTERM, signal.SIGUSR1}) == signal.SIGUSR1:
            for _ in range(count):
                time.sleep(pause * random.uniform(1 - spread, 1 + spread))
                # If the process was stopped beyond the timeout, sigtimedwait() may report a signal that was not sent.
                if signal.SIGTERM in signal.sigpending():
                    return
                service.update({"t": f"{time.monotonic():.6f}"})
            print("done", flush=True)
            signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
