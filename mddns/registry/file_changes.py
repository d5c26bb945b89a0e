"""What changes when a file is read again, and when a changing file may be read.

No file is opened here: the caller gives :class:`Settling` the result of ``os.stat`` and the time.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from ..base.offer import Key, Offer

LOOK_EVERY: Final = 0.5  # seconds between checks of an unchanged file: the longest delay until a change is seen
REST: Final = 0.2  # seconds without a change after which a file counts as completely written
LONGEST: Final = 2.0  # seconds after which a file that keeps changing is read anyway


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes that turn one set of offers into another. False if there are none."""

    added: Mapping[Key, Offer]
    changed: Mapping[Key, tuple[Offer, Offer]]
    withdrawn: Mapping[Key, Offer]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.withdrawn)


def difference(old: Mapping[Key, Offer], new: Mapping[Key, Offer]) -> Difference:
    """Returns the changes from `old` to `new`. Offers with the same key are the same service, changed in place."""
    return Difference(
        added={key: offer for key, offer in new.items() if key not in old},
        changed={key: (old[key], offer) for key, offer in new.items() if key in old and old[key] != offer},
        withdrawn={key: offer for key, offer in old.items() if key not in new},
    )


class Settling:
    """Decides when a changed file is complete, so that no half-written file is read.

    A stamp is any value that is different when the file is.
    """

    def __init__(self, stamp: Hashable) -> None:
        """`stamp` is the stamp of the file when it was read."""
        self._taken = self._seen = stamp
        self._begun = self._moved = 0.0  # when the stamp first, and last, changed since the file was read

    @property
    def pause(self) -> float:
        """Seconds until the next check."""
        return LOOK_EVERY if self._seen == self._taken else REST / 2

    def due(self, stamp: Hashable, now: float) -> bool:
        """Whether to read the file, whose stamp at `now` is `stamp`."""
        if stamp != self._seen:
            if self._seen == self._taken:
                self._begun = now
            self._seen, self._moved = stamp, now
        return self._seen != self._taken and (now - self._moved >= REST or now - self._begun >= LONGEST)

    def taken(self, stamp: Hashable) -> None:
        """Records that the file was read; `stamp` was taken just before."""
        self._taken = self._seen = stamp
