"""Programs on hosts of a bed whose services change, and how soon other hosts see the changes."""

from __future__ import annotations

import os
import sys
from typing import Final

from bed.host import Host
from bed.process import Process
from places import ROOT, TESTS

SOON: Final = 0.200  # seconds within which 99 of 100 changes and ends of programs must be seen


GONE: Final = 10.0  # the same for a host that vanishes


CODE: Final = os.pathsep.join((str(TESTS), str(ROOT)))


def changer(host: Host, port: int = 80, count: int = 0, pause: float = 0.0) -> Process:
    process = host.start(
        [sys.executable, "-m", "bed.changer", str(port), str(count), str(pause)], env={"PYTHONPATH": CODE}
    )
    process.wait_for("up", 20)
    return process


def spread(took: list[float]) -> str:
    took = sorted(took)
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    return f"p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms, longest {1000 * took[-1]:.0f} ms, of {len(took)}"
