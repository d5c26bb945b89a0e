"""Whether whoever follows others keeps up with them: a process may be stopped, or starved, at any moment."""

from __future__ import annotations

from typing import Final

HELD: Final = 3.0  # seconds without a turn, from which on what others have said since is missed
CAUGHT_UP: Final = 3.0  # seconds until that has been read, and whoever was asked anew has answered


class Pulse:
    """Whether what should have a turn every other second had them, and has caught up since it had none for long."""

    def __init__(self, moment: float) -> None:
        self._last = self._from = moment

    def beat(self, moment: float) -> None:
        """A turn, at `moment`."""
        if moment - self._last > HELD:
            self.doubt(moment + CAUGHT_UP)
        self._last = moment

    def doubt(self, until: float) -> None:
        """What should have come may be missed until then."""
        self._from = max(self._from, until)

    @property
    def in_doubt(self) -> bool:
        """Whether at the last turn something may have been missed."""
        return self._from > self._last

    @property
    def until(self) -> float:
        """From when on something may be missed, without another turn."""
        return self._last + HELD

    def is_steady(self, moment: float) -> bool:
        """Whether what came until `moment` has been taken in."""
        return self._from <= moment <= self._last + HELD
