"""Whether a service counts as healthy, from the results of its checks in order.

A service is held back until it has passed, and again when it has failed often enough. There is no I/O here.
"""

from __future__ import annotations

from typing import Final

from ..base.health_check import Check

FIRST_INTERVAL: Final = 0.1  # seconds between checks until one passes: a new service is found soon
UNCHECKED: Final = "not checked yet"
_MOST_REASON: Final = 200  # octets; a TXT string holds 255


class Vitality:
    """The health of one service. ``held`` is the reason why it is held back, "" while it is offered."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._passed = self._failed = 0
        self._ever = False
        self.held = UNCHECKED

    def result(self, problem: str | None) -> bool:
        """Takes the result of a check: None if it passed, else the reason. Returns whether `held` changed."""
        before = self.held
        if problem is None:
            self._passed, self._failed = self._passed + 1, 0
            if self._passed >= self._check.up:
                self.held, self._ever = "", True
        else:
            self._passed, self._failed = 0, self._failed + 1
            if self.held or self._failed >= self._check.down:
                octets = f"{self._check.shown()}: {problem}".encode("utf-8", "replace")[:_MOST_REASON]
                self.held = octets.decode("utf-8", "ignore")
        return self.held != before

    @property
    def pause(self) -> float:
        """Seconds until the next check."""
        return self._check.interval if self._ever else min(FIRST_INTERVAL, self._check.interval)
