"""When a tenant takes over its host's port from the holder, and whether it may then answer from its table.

A process that was stopped may wake up on a host whose holder has changed: then its table of the other processes is out
of date.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

SILENT_AFTER: Final = 0.3  # seconds without a heartbeat after which a holder is given up
SUCCESSOR_AFTER: Final = 0.15  # added for each tenant before us in the succession
OUTDATED_AFTER: Final = 1.0  # seconds as neither holder nor tenant; then our table is stale if the holder has changed
OUTDATED_LAST: Final = 1.0  # seconds that a process with a stale table waits for one with a fresh table


class Page(Protocol):
    """The memory that the processes of a host share: see :class:`mddns.host.unix_socket.Page`."""

    def age(self, now: float) -> float:
        """Seconds since the holder's last heartbeat."""

    def claim(self, known: int, now: float) -> int | None:
        """Makes us the holder if `known` is still the present generation. Returns our generation, else None."""


class Takeover:
    """The last generation of which this process was the holder or a tenant, and when that was last true."""

    def __init__(self) -> None:
        self._generation = 0
        self._as_of = -math.inf

    def holds(self, generation: int, now: float) -> None:
        """Notes that we are the holder of that generation, or its tenant."""
        self._generation, self._as_of = generation, now

    def is_outdated(self, present: int, now: float) -> bool:
        """Whether there were other holders meanwhile, whose changes our table may lack."""
        return present != self._generation and now - self._as_of > OUTDATED_AFTER

    def patience(self, rank: int, present: int, now: float) -> float:
        """The age in seconds of the `present` holder's heartbeat from which on we, at `rank`, take over."""
        return SILENT_AFTER + SUCCESSOR_AFTER * rank + (OUTDATED_LAST if self.is_outdated(present, now) else 0.0)

    def take_over(self, page: Page, present: int, rank: int, now: float, *, ended: bool) -> int | None:
        """Claims the port if the `present` holder has `ended`, or its heartbeat is too old.

        Returns our generation if the port is ours now. None if we have to wait, or another process was first.
        """
        # The present holder may have ended even if we never were its tenant.
        if not ended and page.age(now) <= self.patience(rank, present, now):
            return None
        return page.claim(present, now)
