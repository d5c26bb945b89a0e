"""When a tenant takes over its host's port from the holder, and whether what it knows may be answered then.

A process that was stopped may wake up on a host that has another holder since: what it knows of the other processes is
out of date.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

SILENT_AFTER: Final = 0.3  # seconds without a heartbeat after which a holder is given up
SUCCESSOR_AFTER: Final = 0.15  # the same more for each who comes before us in the succession
OUTDATED_AFTER: Final = 1.0  # seconds without a part in a host that has changed hands, and what we know counts no more
OUTDATED_LAST: Final = 1.0  # seconds for which who does not know lets those go first who may


class Page(Protocol):
    """What the processes of a host share: see :class:`mddns.host.unix_socket.Page`."""

    def age(self, now: float) -> float:
        """Seconds since the holder's last sign of life."""

    def claim(self, known: int, now: float) -> int | None:
        """The next generation, ours, if `known` is still the present one; else None."""


class Takeover:
    """What is known of the host: of which `generation` of its holders, and when that was last so."""

    def __init__(self) -> None:
        self._generation = 0
        self._as_of = -math.inf

    def holds(self, generation: int, now: float) -> None:
        """We are the holder of that generation, or its tenant."""
        self._generation, self._as_of = generation, now

    def is_outdated(self, present: int, now: float) -> bool:
        """Whether others have held meanwhile, and may have told what we do not know of."""
        return present != self._generation and now - self._as_of > OUTDATED_AFTER

    def patience(self, rank: int, present: int, now: float) -> float:
        """How old the sign of life of the `present` holder becomes before we, of that rank, go on in its place."""
        return SILENT_AFTER + SUCCESSOR_AFTER * rank + (OUTDATED_LAST if self.is_outdated(present, now) else 0.0)

    def take_over(self, page: Page, present: int, rank: int, now: float, *, ended: bool) -> int | None:
        """Claims the port if the `present` holder has `ended`, or gave no sign of life for too long.

        Returns our generation if the port is ours now. None if we have to wait, or another process was first.
        """
        # Also one that we never were a tenant of may have ended already.
        if not ended and page.age(now) <= self.patience(rank, present, now):
            return None
        return page.claim(present, now)
