"""A program that looks up ``web`` until SIGTERM: ``python -m bed.inquirer`` prints a line of JSON for each lookup.

It uses in turn a resolver that it keeps (``kept``), a new one (``new``), and one that watches (``mirror``). ``start``
and ``end`` are by the monotonic clock, which all hosts of a bed share; ``found`` has the labels by endpoint.
"""

from __future__ import annotations

import json
import signal
import sys
import time

import mddns

EVERY = 0.1  # seconds between two lookups


def main() -> None:
    """Runs until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with mddns.Resolver() as kept, mddns.Resolver() as mirror, mirror.watch("nothing") as events:
        for event in events:
            if event.kind == "current":
                break
        print("current", flush=True)
        while True:
            _ask("kept", kept)
            with mddns.Resolver() as new:
                _ask("new", new)
            _ask("mirror", mirror)


def _ask(way: str, resolver: mddns.Resolver) -> None:
    start = time.monotonic()
    services = resolver.resolve("web")
    told = {
        "way": way,
        "start": start,
        "end": time.monotonic(),
        "found": {str(service.endpoint): dict(service.labels) for service in services},
        "silent": services.silent,
        "count": len(services),
    }
    print(json.dumps(told), flush=True)
    time.sleep(EVERY)


if __name__ == "__main__":
    main()
