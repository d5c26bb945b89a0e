"""A program whose services change: ``python -m bed.churn SEED COUNT FIRST_PORT``.

It makes COUNT changes, a few milliseconds apart, prints ``done``, and waits. At SIGTERM it closes its registry. Its
services are on the ten ports from FIRST_PORT on.
"""

from __future__ import annotations

import random
import signal
import sys
import time

import mddns

NAMES = ("web", "db", "Café", "a-name-that-is-rather-longer-than-others")
PAUSE = 0.006


def main() -> None:
    """Runs until SIGTERM."""
    seed, count, first = map(int, sys.argv[1:])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    dice = random.Random(seed)
    registry = mddns.start_registry()
    standing: dict[int, mddns.Advertised] = {}
    for number in range(count):
        port = first + dice.randrange(10)
        labels = {"n": str(number), **({"env": dice.choice("ab")} if dice.random() < 0.5 else {})}
        if port not in standing:
            standing[port] = registry.advertise_service(port, dice.choice(NAMES), labels)
        elif dice.random() < 0.3:
            standing.pop(port).withdraw()
        else:
            standing[port].update(labels)
        time.sleep(PAUSE)
    print("done", flush=True)
    signal.sigwait({signal.SIGTERM})
    registry.close()


if __name__ == "__main__":
    main()
