"""A program with one service, until SIGTERM: ``python -m bed.newcomer PORT``.

Its label ``t`` is the time when it was advertised, by the monotonic clock, which all hosts of a bed share.
"""

from __future__ import annotations

import signal
import sys
import time

import mddns


def main() -> None:
    """Runs until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with mddns.start_registry() as registry:
        registry.advertise_service(int(sys.argv[1]), "web", {"t": f"{time.monotonic():.6f}"})
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
