"""The services that one peer answered with, and when: all its services, or all of one name."""

from __future__ import annotations

import math
from typing import Final

from ..base.model import Peer, Service, replace
from ..codec.instance_records import TTL

NEGATIVE_TTL: Final = 1  # seconds that "this peer has nothing of that name" stands


class Source:
    """The services of one peer."""

    __slots__ = ("asked", "names", "peer", "services", "told", "whole")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.services: dict[str, tuple[Service, ...]] = {}
        self.told = -math.inf  # when it last answered with all its services
        self.whole: float | None = None  # the same; None once that answer was marked out of date
        self.asked: float | None = None  # when it was last queried for all its services
        self.names: dict[str, float] = {}  # by name: when it last answered with all of that name

    def is_called(self, peer: Peer) -> None:
        """The peer may have another name, owner or tags: so have its services."""
        before, self.peer = self.peer, peer
        if (before.name, before.owner, before.tags) != (peer.name, peer.owner, peer.tags):
            host = peer.name or None
            self.services = {
                name: tuple(replace(each, host=host, owner=peer.owner, tags=peer.tags) for each in services)
                for name, services in self.services.items()
            }

    def knows(self, name: str | None, now: float) -> bool:
        """Whether its services (of `name`) are known and not out of date."""
        if self.whole is not None and now - self.whole < TTL and (name is None or self.services):
            return True
        told = self.whole if name is None else self.names.get(name)
        return told is not None and now - told < (TTL if name in self.services else NEGATIVE_TTL)

    def lapsed(self, name: str | None, before: float) -> list[str]:
        """The names (or only `name`) whose services were last confirmed at `before` or earlier."""
        names = self.services if name is None else (name,) if name in self.services else ()
        return [each for each in names if self.names.get(each, self.told) <= before]
