"""Several independent watches in one process, until SIGTERM: ``python -m bed.onlookers COUNT [OPTION=VALUE…]``.

The options are those of `mddns.Resolver`. ``registry=PORT`` also offers a service from this process. ``direct=1``
watches each host directly, by means of a custom policy that accepts the same as the default. Each event is a line of
JSON: the watch (``who``), the time by the monotonic clock (``at``), and all data of the service.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from typing import Any

import mddns


class Own(mddns.Policy):
    """The default policy as a custom class."""


def main() -> None:
    """Runs until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    count = int(sys.argv[1])
    options: dict[str, Any] = dict(option.split("=", 1) for option in sys.argv[2:])
    port = options.pop("registry", None)
    if options.pop("direct", None):
        options["policy"] = Own()
    if options.get("policy") == "local":
        options["policy"] = mddns.Policy(remote=False)
    with contextlib.ExitStack() as stack:
        if port:
            stack.enter_context(mddns.start_registry()).advertise_service(int(port), "web")
        watches = []
        for who in range(count):
            resolver = stack.enter_context(mddns.Resolver(**options))
            watches.append(resolver.watch())
            thread = threading.Thread(target=_tell, args=(who, watches[-1]))
            thread.start()
            stack.callback(thread.join)
            stack.callback(watches[-1].close)
        signal.sigwait({signal.SIGTERM})


def _tell(who: int, watch: Any) -> None:
    for event in watch:
        at, service = time.monotonic(), event.service
        told = {"who": who, "at": at, "event": event.kind}
        if service:
            told |= service.to_json() | {
                "instance": service.instance,
                "meta": service.meta,
                "srv": service.srv,
                "held": service.held,
            }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
