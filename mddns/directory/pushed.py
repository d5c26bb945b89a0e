"""A directory that is told each state of the network by whoever watches it: while that lasts, nobody is asked.

Without such a word, or where that may be out of date, it is a directory as any other: peers are asked, and what was
told last is what is known of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ..base.model import Peer, Service, Snapshot, fold
from ..base.policy import Policy
from ..codec.instance import TTL
from ..zone.zone import Zone
from .directory import Directory, Merged
from .keeping_up import Pulse
from .peer_memory import GONE_AFTER, Memory

SETTLES: Final = 8.0  # seconds after sleep, until whoever watches has found out who is gone

_Told = dict[str, tuple[Service, ...]]


class Followed(Directory):
    """Begins as a plain directory, and is followed from the first :meth:`follow` on."""

    def __init__(self, origin: bytes, memory: Memory, policy: Policy) -> None:
        super().__init__(origin, memory, policy)
        self._offered: tuple[Service, ...] = ()  # by our own registry
        self._rest: tuple[Service, ...] = ()  # of whom nobody knows who said so
        self._last: tuple[Callable[[], Iterable[Service]], tuple[str, ...], int] | None = None
        self._untaken = False  # nobody has asked yet for what was told last
        self._trusted = False
        self._from = -math.inf  # not before
        self._pulse: Pulse | None = None  # of whoever watches
        self._stood = -math.inf  # when what was told last was so at the latest

    def network(self, snapshot: Snapshot, *, with_own_host: bool) -> None:
        """As of any directory."""
        self._settle()
        super().network(snapshot, with_own_host=with_own_host)

    def own(self, services: Iterable[Service]) -> None:
        """As of any directory."""
        self._offered = tuple(services)
        super().own((*self._offered, *self._rest))

    def follow(
        self, services: Callable[[], Iterable[Service]], silent: tuple[str, ...], asked: int, now: float
    ) -> None:
        """The network is so: the names of the registries that are silent, how many peers there are, and `services()`,
        all that they offer, which is called when somebody asks.

        What a silent registry said stands until it answers, or is named no more.
        """
        if self._last and silent != self._last[1]:
            self._settle()  # of whom is silent from now on, what was told before stands
        self._last = services, silent, asked
        self.alive(now)
        if self._trusted:
            self._untaken = True
            self._stir()

    def alive(self, now: float) -> None:
        """Whoever watches had its turns until now; wants to be called every second."""
        if self._pulse is None:
            self._pulse = Pulse(now)
        elif now > self._pulse.until:
            self.expire()  # until it is steady again, all are asked
        self._pulse.beat(now)
        if self._last and not self._trusted and now >= self._from:
            self.lapse(now)  # whoever watches has just asked, and of the silent gives on what we knew
            self._trusted = self._untaken = True
            self._stir()
        if self.followed(now):
            self._stood = now
            self._lapse_silent(now)

    def lapse(self, now: float, name: str | None = None) -> None:
        """As of any directory; what is followed was told when it last was."""
        if not self._trusted or now - self._stood >= GONE_AFTER:
            self._settle()
            super().lapse(now, name)

    def _lapse_silent(self, now: float) -> float:
        """Drops what silent registries said 30 s ago or longer; when the next is due."""
        silent, due, changed = self._last[1] if self._last else (), math.inf, False
        if not silent:
            return due
        self._settle()
        for key, source in self._sources.items():
            if not source.services or source.peer.shown not in silent:
                continue
            until = max(source.told, self.memory.last_answer(key)) + GONE_AFTER
            if until > now:
                due = min(due, until)
                continue
            source.services, changed = {}, True
            source.names.clear()
        if changed:
            self._changed()
        return due

    def leave(self) -> None:
        """Nobody watches any more: it is a plain directory again."""
        if self._trusted:
            self._distrust()
            self.expire()
        self._last, self._from, self._pulse = None, -math.inf, None

    def slept(self, seconds: float, now: float) -> None:
        """As of a plain directory, which this is again for a while."""
        self._distrust()
        self._from = now + SETTLES
        super().slept(seconds, now)

    def _distrust(self) -> None:
        # What is known of peers is whoever watches' too: a silent one is given no more time for our sake.
        self._settle()
        self._trusted = False
        silent = self._last[1] if self._last else ()
        for key, source in self._sources.items():
            told = min(self._stood, self.memory.last_answer(key)) if source.peer.shown in silent else self._stood
            if source.told < told:
                source.told = told
                source.names.clear()

    def followed(self, now: float) -> bool:
        """Whether what was told last is the network as it is now."""
        return self._trusted and self._pulse is not None and self._pulse.is_steady(now)

    def due(self, now: float, age: float = TTL) -> list[Peer]:
        """As of any directory; nobody while it is followed."""
        return [] if self.followed(now) else super().due(now, age)

    def stale(self, now: float, age: float = TTL) -> bool:
        """As of any directory; never while it is followed."""
        return not self.followed(now) and super().stale(now, age)

    def silent(self, now: float) -> tuple[str, ...]:
        """As of any directory."""
        return self._last[1] if self._last and self.followed(now) else super().silent(now)

    def count(self, now: float) -> int:
        """As of any directory."""
        return self._last[2] if self._last and self.followed(now) else super().count(now)

    def services(self, now: float, name: str | None = None) -> list[Service]:
        """As of any directory."""
        self._settle()
        return super().services(now, name)

    def merged(self, now: float) -> Merged:
        """As of any directory; what is followed is of this very moment, and holds for a whole TTL.

        No longer, though, than a silent peer in it still counts.
        """
        self._settle()
        if not self.followed(now):
            return super().merged(now)
        if self._merged is None or now >= self._merged[0]:
            lapse = self._lapse_silent(now)
            zone = self._zone
            if zone is None or zone[0] != (self._version, frozenset()):
                made = Zone(self.origin, self.services(now), before=zone[1] if zone else None)
                self._zone = zone = (self._version, frozenset()), made
            left = min(lapse, self.memory.next_gone(self._telling(), now)) - now
            ttl = math.ceil(min(TTL, left))
            until = now + left - ttl + (1 if left < TTL else 0)
            self._merged = until, Merged(zone[1], self.silent(now), self.count(now), ttl)
        return self._merged[1]

    def holds_until(self, age: float) -> float:
        """As of any directory."""
        if not self._trusted or self._pulse is None or self._pulse.in_doubt:
            return super().holds_until(age)
        return min(self._pulse.until, self._merged[0]) if self._merged else self._pulse.until

    def _settle(self) -> None:
        """Takes over what was told last."""
        if self._untaken and self._last:
            self._untaken = False
            services, silent, _ = self._last
            self._take(services(), silent)

    def _take(self, services: Iterable[Service], silent: tuple[str, ...]) -> None:
        by_peer: dict[str | None, dict[str, list[Service]]] = {}
        for service in services:
            by_peer.setdefault(service.via, {}).setdefault(fold(service.name), []).append(service)
        changed = False
        for peer in self.peers:
            told: _Told = {name: tuple(each) for name, each in by_peer.pop(peer.id, {}).items()}
            source = self._source(peer)
            if not (_alike(source.services, told) or (not told and peer.shown in silent)):
                source.services = told
                changed = True
        rest = tuple(each for names in by_peer.values() for group in names.values() for each in group)
        if rest != self._rest:
            self._rest, self._own, changed = rest, (*self._offered, *rest), True
        if changed:
            self._changed()

    def _learn(self, peer: Peer, services: Sequence[Service], now: float) -> None:
        # An answer that was under way when we began to be followed may be older than what we were told since.
        if not self.followed(now):
            self._settle()  # what we were told before came before
            super()._learn(peer, services, now)

    def _learn_of(self, peer: Peer, name: str, services: Sequence[Service], now: float) -> None:
        if not self.followed(now):
            self._settle()
            super()._learn_of(peer, name, services, now)

    def _gone(self, now: float) -> frozenset[str]:
        return frozenset() if self.followed(now) else super()._gone(now)

    def overhear(self, peer: Peer, services: Sequence[Service], now: float) -> None:
        """`peer` said to whoever watches that `services` are all it has."""
        if not self.has_left(peer):
            self._learn(peer, services, now)


class Hearing(Directory):
    """The directory of whoever watches for the sake of another one, which is told what peers say here.

    How peers behave, both know. So whoever answers here is not silent there, also while that one is not followed yet:
    what it said there before must not stand any longer either.
    """

    def __init__(self, other: Followed, policy: Policy) -> None:
        super().__init__(other.origin, other.memory, policy)
        self._other = other

    def _learn(self, peer: Peer, services: Sequence[Service], now: float) -> None:
        super()._learn(peer, services, now)
        self._other.overhear(peer, services, now)


def _alike(before: _Told, after: _Told) -> bool:
    """Whether that is the same but for how fast it was told."""
    if before == after or before.keys() != after.keys():
        return before == after
    return all(_untimed(before[name]) == _untimed(after[name]) for name in before)


def _untimed(services: Iterable[Service]) -> list[Service]:
    return [service._replace(rtt_ms=None) for service in services]
