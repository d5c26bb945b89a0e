"""Whether a process keeps up with the peers that it follows: it may be stopped, or get no CPU time, at any moment."""

from __future__ import annotations

from typing import Final

HELD: Final = 3.0  # seconds without a beat, after which messages may have been missed
CAUGHT_UP: Final = 3.0  # seconds to read what waits, and to get answers to new queries


class Pulse:
    """Watches a loop that should run every one or two seconds. Knows whether it had a gap, and has caught up since."""

    def __init__(self, moment: float) -> None:
        self._last = self._from = moment

    def beat(self, moment: float) -> None:
        """The loop runs at `moment`. After a gap, all is in doubt for `CAUGHT_UP` seconds."""
        if moment - self._last > HELD:
            self.doubt(moment + CAUGHT_UP)
        self._last = moment

    def doubt(self, until: float) -> None:
        """Messages may have been missed: the state is in doubt until `until`."""
        self._from = max(self._from, until)

    @property
    def in_doubt(self) -> bool:
        """Whether, at the last beat, messages may have been missed."""
        return self._from > self._last

    @property
    def until(self) -> float:
        """From when on messages may be missed, if no beat comes before."""
        return self._last + HELD

    def is_steady(self, moment: float) -> bool:
        """Whether everything that arrived until `moment` has been processed."""
        return self._from <= moment <= self._last + HELD
