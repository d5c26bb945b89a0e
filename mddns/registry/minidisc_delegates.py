"""Minidisc's other registries on our own host: who they are, what they said, when to ask them again.

A *delegate* is a program that found the port taken and told so (``POST /add-delegate``); it pings whoever has
the port every 5 s, and registers anew only when that fails. ``now`` is seconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..codec.answer import Told

Place = tuple[str, int]  # where a delegate answers

MOST_DELEGATES: Final = 32
ASK_EVERY: Final = 5.0  # seconds between looks at what a delegate offers
FIRST_LOOKS: Final = (0.0, 0.2, 1.0)  # seconds after it registered: programs advertise right after
SILENT_FOR: Final = 15.0  # seconds without an answer, after which what it offered is dropped
GIVEN_UP_AFTER: Final = 3600.0  # the same, after which it is
PING_EVERY: Final = 5.0  # seconds between a delegate's pings, or a little more
ENOUGH: Final = 0.5  # of a ping: one may be heard late, and the next in time
ORPHANS_WITHIN: Final = 60.0  # seconds in which another's delegates are looked for


class _Delegate:
    __slots__ = ("answered", "asked", "looks", "told")

    def __init__(self, now: float) -> None:
        self.looks = [now + after for after in FIRST_LOOKS]
        self.asked = now - ASK_EVERY
        self.answered = now
        self.told: tuple[Told, ...] = ()


class Delegates:
    """The delegates of this host. Those that refuse are gone; a silent one never registers anew, so it is kept."""

    def __init__(self) -> None:
        self._delegates: dict[Place, _Delegate] = {}

    @property
    def places(self) -> tuple[Place, ...]:
        """Where they answer, whoever registered first foremost."""
        return tuple(self._delegates)

    def add(self, place: Place, now: float) -> bool:
        """One registers; twice does no harm. False where there is no room: all places are taken by living ones."""
        if place not in self._delegates and len(self._delegates) >= MOST_DELEGATES:
            silent = [each for each, it in self._delegates.items() if now - it.answered >= SILENT_FOR]
            if not silent:
                return False
            del self._delegates[min(silent, key=lambda each: self._delegates[each].answered)]
        self._look_soon(place, now)
        return True

    def look_soon(self, now: float) -> None:
        """One of them may be another by now."""
        for place in self._delegates:
            self._look_soon(place, now)

    def _look_soon(self, place: Place, now: float) -> None:
        it = self._delegates.setdefault(place, _Delegate(now))
        it.looks = [now + after for after in FIRST_LOOKS]

    def follow(self, places: Iterable[Place], now: float) -> None:
        """These are the delegates, says the holder: whoever goes on in its place asks them at once."""
        self._delegates = {place: self._delegates.get(place) or _Delegate(now) for place in places}

    def due(self, now: float, age: float | None = None) -> list[Place]:
        """Whom to ask now: by the schedule, or all who were last asked `age` seconds ago and are not silent."""
        due = []
        for place, it in list(self._delegates.items()):
            if now - it.answered > GIVEN_UP_AFTER:
                del self._delegates[place]
                continue
            waited = now - it.asked
            if age is not None:
                is_due = waited >= age and it.answered >= it.asked
            else:
                is_due = waited >= ASK_EVERY or (bool(it.looks) and now >= it.looks[0])
            if is_due:
                due.append(place)
        return due

    def asked(self, places: Iterable[Place], now: float) -> None:
        """They are being asked."""
        for place in places:
            it = self._delegates.get(place)
            if it is not None:
                it.asked = now
                it.looks = [look for look in it.looks if look > now]

    def answered(self, place: Place, told: tuple[Told, ...], now: float) -> None:
        """It lists its services: these."""
        it = self._delegates.get(place)
        if it is not None:
            it.told, it.answered = told, now

    def refused(self, place: Place) -> None:
        """Nobody is there any more."""
        self._delegates.pop(place, None)

    def told(self, now: float) -> list[Told]:
        """What they offer together."""
        return [told for it in self._delegates.values() if now - it.answered < SILENT_FOR for told in it.told]


class Pings:
    """Finds the delegates of whoever had the port before us, who think that they are ours.

    A ping does not tell whose it is. But a delegate pings once in 5 s, so there are more pings than our own
    delegates account for while others ping too; one that is left unanswered makes its sender register.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._credit = 0.0
        self._counted = 0.0

    def begin(self, now: float, delegates: int) -> None:
        """The port is ours from now on; `delegates` were told to us with it."""
        self._until, self._counted, self._credit = now + ORPHANS_WITHIN, now, float(delegates)

    def registered(self) -> None:
        """A delegate has registered; Minidisc's Python pings right after."""
        self._credit += 1.0

    def accounted_for(self, now: float, delegates: int) -> bool:
        """Whether a ping that just came is to be answered."""
        if now >= self._until:
            return True
        most = max(self._credit, 2.0 * delegates)
        self._credit = min(most, self._credit + delegates * (now - self._counted) / PING_EVERY)
        self._counted = now
        if self._credit < ENOUGH:
            return False
        self._credit -= 1.0
        return True
