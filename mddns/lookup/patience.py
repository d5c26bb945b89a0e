"""How long a lookup waits for peers that have not answered, by their standing."""

from __future__ import annotations

import math
from typing import Final

from ..directory.peer_memory import Standing
from .asked_peer import Ask

NEW_GRACE: Final = 0.300  # seconds after the last answer that new peers get
IDLE_GRACE: Final = 0.030  # the same for idle peers, or twice the slowest round trip if that is longer

_REGISTRY, _NEW, _IDLE = Standing  # access to a member of an Enum is slow


class Patience:
    """Decides when a lookup of `asks` stops waiting. ``waiting`` is the number of unfinished asks by standing."""

    def __init__(self, asks: list[Ask], now: float) -> None:
        standings = [ask.standing for ask in asks]
        self.waiting = [standings.count(each) for each in Standing]
        self._last = now
        self._slowest = 0.0

    def answered(self, now: float, rtt: float | None) -> None:
        """One or several peers answered; `rtt` is the longest round trip in seconds, None if not known."""
        self._last = now
        if rtt is not None and rtt > self._slowest:
            self._slowest = rtt

    def owe(self, ask: Ask, standing: Standing) -> None:
        """Changes the standing of an ask, and so how long the lookup waits for it."""
        self.waiting[ask.standing] -= 1
        ask.standing = standing
        self.waiting[standing] += 1

    def ends(self) -> float | None:
        """When to stop although some peers have not answered; None while a registry has not, which is waited for."""
        if self.waiting[_REGISTRY]:
            return None
        if self.waiting[_NEW]:
            return self._last + NEW_GRACE
        if self.waiting[_IDLE]:
            return self._last + max(IDLE_GRACE, 2 * self._slowest)
        return -math.inf
