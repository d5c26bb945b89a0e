"""Chooses the leader of a service: clients that see the same instances choose the same one. It is not a consensus.

The instance with the lowest (priority, start time, endpoint) leads. An impossible start time sorts last: an instance
whose machine booted in 1970, or whose clock is ahead, leads only if all others have such times. A user can choose the
leader by giving priority 0 to one instance.

A start time in the future sorts after all others, so no client compares it with its own clock. Therefore all clients
choose the same leader, whatever their clocks say, and the leader stays when a clock is set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .model import Service

EARLIEST: Final = 1_704_067_200_000  # Unix ms: the start of 2024, before mddns existed


def leader(services: Iterable[Service]) -> Service | None:
    """Returns the leader among `services`, None if there are none."""

    def rank(service: Service) -> tuple[int, bool, int, str]:
        since = service.since or 0
        return service.priority, since < EARLIEST, since, str(service.endpoint)

    return min(services, key=rank, default=None)
