"""Who leads: the same instance for all who see the same instances. It is no consensus.

The lowest (priority, time when it came up, endpoint) leads. A time that cannot be right comes last: a machine that
booted in 1970, or whose clock is ahead, leads only among its like. Priority 0 on one instance names a leader by hand.

A time that is ahead needs nobody's clock to be found out: it comes behind all that are not. So whoever reads, with
whatever clock, sees the same leader, and that one stays when a clock is set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .model import Service

EARLIEST: Final = 1_704_067_200_000  # Unix ms: 2024 began, and mddns did not exist


def leader(services: Iterable[Service]) -> Service | None:
    """The leader among `services`, None where there are none."""

    def rank(service: Service) -> tuple[int, bool, int, str]:
        since = service.since or 0
        return service.priority, since < EARLIEST, since, str(service.endpoint)

    return min(services, key=rank, default=None)
