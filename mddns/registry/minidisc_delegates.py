"""Minidisc's other registries on our own host: their addresses, what they offer, when to query them again.

A *delegate* is a program of Minidisc that found the port in use and registered with the process that holds it
(``POST /add-delegate``). It pings that process every 5 s, and registers again only when a ping fails. ``now`` is
seconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..codec.answer import Told

Place = tuple[str, int]  # address and port at which a delegate answers

MOST_DELEGATES: Final = 32
ASK_EVERY: Final = 5.0  # seconds between queries to a delegate
FIRST_LOOKS: Final = (0.0, 0.2, 1.0)  # seconds after its registration: programs advertise right after it
SILENT_FOR: Final = 15.0  # seconds without an answer after which its services are dropped
GIVEN_UP_AFTER: Final = 3600.0  # seconds without an answer after which the delegate is dropped
PING_EVERY: Final = 5.0  # seconds between a delegate's pings, or a little more
ENOUGH: Final = 0.5  # of a ping: one may arrive late, and the next in time
ORPHANS_WITHIN: Final = 60.0  # seconds in which we look for delegates of the previous holder


class _Delegate:
    __slots__ = ("answered", "asked", "looks", "told")

    def __init__(self, now: float) -> None:
        self.looks = [now + after for after in FIRST_LOOKS]
        self.asked = now - ASK_EVERY
        self.answered = now
        self.told: tuple[Told, ...] = ()


class Delegates:
    """The delegates of this host. One that refuses is removed; a silent one is kept: it would not register again."""

    def __init__(self) -> None:
        self._delegates: dict[Place, _Delegate] = {}

    @property
    def places(self) -> tuple[Place, ...]:
        """Address and port of each delegate, in the order of registration."""
        return tuple(self._delegates)

    def add(self, place: Place, now: float) -> bool:
        """Adds a delegate, or queries it again soon. False if there are too many, and none of them is silent."""
        if place not in self._delegates and len(self._delegates) >= MOST_DELEGATES:
            silent = [each for each, it in self._delegates.items() if now - it.answered >= SILENT_FOR]
            if not silent:
                return False
            del self._delegates[min(silent, key=lambda each: self._delegates[each].answered)]
        self._look_soon(place, now)
        return True

    def look_soon(self, now: float) -> None:
        """Queries all of them soon: behind an address there may be another program by now."""
        for place in self._delegates:
            self._look_soon(place, now)

    def _look_soon(self, place: Place, now: float) -> None:
        it = self._delegates.setdefault(place, _Delegate(now))
        it.looks = [now + after for after in FIRST_LOOKS]

    def follow(self, places: Iterable[Place], now: float) -> None:
        """Sets the delegates to the holder's list. If we become the holder, we query them immediately."""
        self._delegates = {place: self._delegates.get(place) or _Delegate(now) for place in places}

    def due(self, now: float, age: float | None = None) -> list[Place]:
        """The delegates to query now, by the schedule. With `age`: those that answered their last query, and
        got it at least `age` seconds ago."""
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
        """Records that these are queried now."""
        for place in places:
            it = self._delegates.get(place)
            if it is not None:
                it.asked = now
                it.looks = [look for look in it.looks if look > now]

    def answered(self, place: Place, told: tuple[Told, ...], now: float) -> None:
        """Records the answer of a delegate: its services."""
        it = self._delegates.get(place)
        if it is not None:
            it.told, it.answered = told, now

    def refused(self, place: Place) -> None:
        """Removes a delegate that refused the connection."""
        self._delegates.pop(place, None)

    def told(self, now: float) -> list[Told]:
        """The services of all delegates that are not silent."""
        return [told for it in self._delegates.values() if now - it.answered < SILENT_FOR for told in it.told]


class Pings:
    """Finds the delegates of the process that held the port before us: they take us for that process.

    A ping does not identify its sender. But a delegate pings once in 5 s, so more pings than our own delegates send
    mean that others ping too. If we leave a ping unanswered, its sender registers with us.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._credit = 0.0
        self._counted = 0.0

    def begin(self, now: float, delegates: int) -> None:
        """We have taken over the port, and know `delegates` delegates of the previous holder."""
        self._until, self._counted, self._credit = now + ORPHANS_WITHIN, now, float(delegates)

    def registered(self) -> None:
        """A delegate has registered; Minidisc for Python pings right after that."""
        self._credit += 1.0

    def accounted_for(self, now: float, delegates: int) -> bool:
        """Whether to answer a ping that has just arrived."""
        if now >= self._until:
            return True
        most = max(self._credit, 2.0 * delegates)
        self._credit = min(most, self._credit + delegates * (now - self._counted) / PING_EVERY)
        self._counted = now
        if self._credit < ENOUGH:
            return False
        self._credit -= 1.0
        return True
