"""How long a lookup waits for those that have not answered, by what it owes them."""

from __future__ import annotations

import math
from typing import Final

from ..directory.peer_memory import Standing
from .asked_peer import Ask

NEW_GRACE: Final = 0.300  # seconds after the last answer that peers never heard of get
IDLE_GRACE: Final = 0.030  # the same for those that refused or were silent; or twice the slowest answer

_REGISTRY, _NEW, _IDLE = Standing  # a member of an Enum is looked up slowly


class Patience:
    """With these asks, from `now` on. ``waiting`` is by standing how many of them have not ended."""

    def __init__(self, asks: list[Ask], now: float) -> None:
        standings = [ask.standing for ask in asks]
        self.waiting = [standings.count(each) for each in Standing]
        self._last = now
        self._slowest = 0.0

    def answered(self, now: float, rtt: float | None) -> None:
        """One or several have; `rtt` is the seconds of the slowest, where that can be told."""
        self._last = now
        if rtt is not None and rtt > self._slowest:
            self._slowest = rtt

    def owe(self, ask: Ask, standing: Standing) -> None:
        """It is owed something else from now on."""
        self.waiting[ask.standing] -= 1
        ask.standing = standing
        self.waiting[standing] += 1

    def ends(self) -> float | None:
        """When to stop although some have not answered: None while those that count are waited for."""
        if self.waiting[_REGISTRY]:
            return None
        if self.waiting[_NEW]:
            return self._last + NEW_GRACE
        if self.waiting[_IDLE]:
            return self._last + max(IDLE_GRACE, 2 * self._slowest)
        return -math.inf
