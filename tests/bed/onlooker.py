"""A program that watches until SIGTERM: ``python -m bed.onlooker [NAME]`` prints a line of JSON for each event.

``at`` is the time when it got the event, by the monotonic clock, which all hosts of a bed share.
"""

from __future__ import annotations

import json
import signal
import sys
import time

import mddns


def main() -> None:
    """Runs until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with mddns.watch(sys.argv[1] if len(sys.argv) > 1 else None) as events:
        for event in events:
            at, service = time.monotonic(), event.service
            told = {"at": at, "event": event.kind}
            if service:
                told |= {"name": service.name, "where": str(service.endpoint), "labels": dict(service.labels)}
                told["since"] = service.since
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
