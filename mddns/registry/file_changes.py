"""What a file that was read again changes, and when a file that changes may be read.

Both without a file: :class:`Settling` is told what ``os.stat`` says, and the time.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from ..base.offer import Key, Offer

LOOK_EVERY: Final = 0.5  # seconds between looks at a file that rests: how late a change is seen
REST: Final = 0.2  # seconds without a change after which a file is taken to be written
LONGEST: Final = 2.0  # seconds after which a file that never rests is read as it is


@dataclass(frozen=True, slots=True)
class Difference:
    """What has to be done to make one set of offers of another. False where that is nothing."""

    added: Mapping[Key, Offer]
    changed: Mapping[Key, tuple[Offer, Offer]]
    withdrawn: Mapping[Key, Offer]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.withdrawn)


def difference(old: Mapping[Key, Offer], new: Mapping[Key, Offer]) -> Difference:
    """What makes `new` of `old`. The same key is the same service, which is changed in place if at all."""
    return Difference(
        added={key: offer for key, offer in new.items() if key not in old},
        changed={key: (old[key], offer) for key, offer in new.items() if key in old and old[key] != offer},
        withdrawn={key: offer for key, offer in old.items() if key not in new},
    )


class Settling:
    """Tells when a file has changed and come to rest, so that none is read half written.

    A stamp is anything that differs when the file does.
    """

    def __init__(self, stamp: Hashable) -> None:
        """`stamp` is that of the file as it was read."""
        self._taken = self._seen = stamp
        self._begun = self._moved = 0.0  # when it was first, and last, seen to be another than `taken`

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return LOOK_EVERY if self._seen == self._taken else REST / 2

    def due(self, stamp: Hashable, now: float) -> bool:
        """Whether to read it: `stamp` is what it has at `now`."""
        if stamp != self._seen:
            if self._seen == self._taken:
                self._begun = now
            self._seen, self._moved = stamp, now
        return self._seen != self._taken and (now - self._moved >= REST or now - self._begun >= LONGEST)

    def taken(self, stamp: Hashable) -> None:
        """It was read, and had this stamp just before."""
        self._taken = self._seen = stamp
