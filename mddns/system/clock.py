"""The clock for all ages, which runs on while the machine sleeps.

Data from before a sleep of ten minutes are ten minutes old. Time limits of I/O (a lookup's deadline, a holder's
heartbeat) use ``time.monotonic()``, which on Linux stops during sleep, because no response can arrive then.
:func:`unix_ms` is the time of day, which may be set at any moment: only for times that are sent to other machines.
"""

from __future__ import annotations

import sys
import time
from typing import Final

# On macOS, time.monotonic() stops during sleep, and CLOCK_MONOTONIC runs on.
_CLOCK: Final = time.CLOCK_BOOTTIME if sys.platform.startswith("linux") else time.CLOCK_MONOTONIC

AWAY: Final = 5.0  # seconds without a turn that mean that the process was asleep, stopped, or got no CPU time

STEP: Final = 1.0  # seconds; a larger jump of the time of day means that it was set


def now() -> float:
    """Seconds since an arbitrary moment in the past, sleep included."""
    return time.clock_gettime(_CLOCK)


def unix_ms() -> int:
    """The time of day: Unix time in milliseconds."""
    return int(time.time() * 1000)


def spent() -> float:
    """CPU time of this thread in seconds: the cost of work, independent of other threads and processes."""
    return time.thread_time()


def asleep() -> float:
    """Seconds that the machine has slept since an arbitrary moment: only differences are meaningful."""
    return now() - time.monotonic()


class Steps:
    """Detects that the time of day was set ahead, by more than clock synchronisation adjusts it."""

    def __init__(self) -> None:
        self._ahead = unix_ms() / 1000 - now()

    def ahead(self) -> bool:
        """Whether it was set ahead since the last call. The caller calls this every few seconds."""
        before, self._ahead = self._ahead, unix_ms() / 1000 - now()
        return self._ahead - before > STEP


class Turns:
    """Detects that a task which should run every second did not run."""

    def __init__(self, moment: float) -> None:
        self._last = moment

    def away(self, moment: float) -> float:
        """Notes a turn at `moment`. Returns the seconds since the last one if they are more than AWAY, else 0."""
        gap, self._last = moment - self._last, moment
        return gap if gap > AWAY else 0.0


class Naps:
    """Detects that the machine slept between two calls, in a program that only runs when its user calls it."""

    def __init__(self) -> None:
        self._asleep = asleep()

    def taken(self) -> float:
        """Returns the seconds that the machine has slept since the last call, 0 if they are not more than AWAY."""
        before, self._asleep = self._asleep, asleep()
        nap = self._asleep - before
        return nap if nap > AWAY else 0.0
