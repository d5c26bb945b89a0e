"""Who leads: the same instance for all who see the same instances. It is no consensus.

The lowest (priority, time when it came up, endpoint) leads. A time that cannot be right comes last: a machine
that booted in 1970, or whose clock is ahead, leads only among its like. Priority 0 on one instance names a
leader by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .model import Service

EARLIEST: Final = 1_704_067_200_000  # Unix ms: 2024 began, and mddns did not exist
MOST_AHEAD: Final = 60_000  # ms that another's clock may be ahead of ours


def leader(services: Iterable[Service], unix_ms: int | None) -> Service | None:
    """The leader among `services`, None where there are none. `unix_ms` is now; None: nobody is ahead of that."""

    def rank(service: Service) -> tuple[int, bool, int, str]:
        since = service.since
        doubtful = since is None or since < EARLIEST or (unix_ms is not None and since > unix_ms + MOST_AHEAD)
        return service.priority, doubtful, since or 0, str(service.endpoint)

    return min(services, key=rank, default=None)
