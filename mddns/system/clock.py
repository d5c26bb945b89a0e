"""The clock that everything with an age is measured by: it goes on while the machine sleeps.

What was learned before ten minutes of sleep is ten minutes old. Time limits of I/O (a lookup's deadline, a holder's
heartbeat) are measured by ``time.monotonic()``, which on Linux stops with the machine: whoever would have answered
slept as well. The time of day, which may be set at any moment, is :func:`unix_ms`: for what others are told.
"""

from __future__ import annotations

import sys
import time
from typing import Final

# On macOS it is time.monotonic() that stops, and CLOCK_MONOTONIC goes on.
_CLOCK: Final = time.CLOCK_BOOTTIME if sys.platform.startswith("linux") else time.CLOCK_MONOTONIC

AWAY: Final = 5.0  # seconds without a turn from which on we were away: asleep, stopped, or starved

STEP: Final = 1.0  # seconds by which the time of day jumps where it is set


def now() -> float:
    """Seconds since some moment in the past, sleep included."""
    return time.clock_gettime(_CLOCK)


def unix_ms() -> int:
    """The time of day: Unix time in milliseconds."""
    return int(time.time() * 1000)


def spent() -> float:
    """Seconds of a processor that this thread has had: what a piece of work takes, whoever else wants it meanwhile."""
    return time.thread_time()


def asleep() -> float:
    """Seconds that the machine has slept since some moment in the past: only differences mean something."""
    return now() - time.monotonic()


class Steps:
    """Notices that the time of day was set ahead, by more than clocks are steered."""

    def __init__(self) -> None:
        self._ahead = unix_ms() / 1000 - now()

    def ahead(self) -> bool:
        """Whether it was since the last time; wants to be asked every few seconds."""
        before, self._ahead = self._ahead, unix_ms() / 1000 - now()
        return self._ahead - before > STEP


class Turns:
    """Notices, in what should get a turn every second, that it did not."""

    def __init__(self, moment: float) -> None:
        self._last = moment

    def away(self, moment: float) -> float:
        """A turn, at `moment`. The seconds since the last one where that was too long ago, else 0."""
        gap, self._last = moment - self._last, moment
        return gap if gap > AWAY else 0.0


class Naps:
    """Notices, in what has turns only when somebody asks, that the machine slept between them."""

    def __init__(self) -> None:
        self._asleep = asleep()

    def taken(self) -> float:
        """The seconds that the machine has slept since the last time, 0 where it has not."""
        before, self._asleep = self._asleep, asleep()
        nap = self._asleep - before
        return nap if nap > AWAY else 0.0
