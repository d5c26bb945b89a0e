"""A directory that a watcher keeps up to date: while the watcher runs, no peer is queried.

Without a watcher, or while its data may be stale, it works as a plain directory: it starts from the last state that
the watcher gave, and the peers are queried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ..base.model import Peer, Service, Snapshot, fold
from ..base.policy import Policy
from ..codec.instance_records import TTL
from ..zone.zone import Zone
from .directory import Directory, Merged
from .keeping_up import Pulse
from .peer_memory import GONE_AFTER, Memory

SETTLES: Final = 8.0  # seconds after sleep until the watcher has found out which peers are gone

_Told = dict[str, tuple[Service, ...]]


class Followed(Directory):
    """Begins as a plain directory; the watcher feeds it from the first :meth:`follow` on."""

    def __init__(self, origin: bytes, memory: Memory, policy: Policy) -> None:
        super().__init__(origin, memory, policy)
        self._offered: tuple[Service, ...] = ()  # by our own registry
        self._rest: tuple[Service, ...] = ()  # services whose peer is not known
        self._last: tuple[Callable[[], Iterable[Service]], tuple[str, ...], int] | None = None
        self._untaken = False  # the watcher's last state was not read yet
        self._trusted = False
        self._from = -math.inf  # the watcher is not trusted before this time
        self._pulse: Pulse | None = None  # of the watcher
        self._stood = -math.inf  # the last time at which the watcher's state was known to be current

    def network(self, snapshot: Snapshot, *, with_own_host: bool) -> None:
        """See :class:`Directory`."""
        self._settle()
        super().network(snapshot, with_own_host=with_own_host)

    def own(self, services: Iterable[Service]) -> None:
        """See :class:`Directory`."""
        self._offered = tuple(services)
        super().own((*self._offered, *self._rest))

    def follow(
        self, services: Callable[[], Iterable[Service]], silent: tuple[str, ...], asked: int, now: float
    ) -> None:
        """Sets the state of the network: the names of the `silent` registries, the number of peers `asked`, and a
        function that returns all services. The function is called when the services are needed.

        The services of a silent registry stay until it answers or is no longer in `silent`.
        """
        if self._last and silent != self._last[1]:
            self._settle()  # the services of a registry that is silent now stay as they were
        self._last = services, silent, asked
        self.alive(now)
        if self._trusted:
            self._untaken = True
            self._stir()

    def alive(self, now: float) -> None:
        """The watcher ran without a stall until `now`. It must call this every second."""
        if self._pulse is None:
            self._pulse = Pulse(now)
        elif now > self._pulse.until:
            self.expire()  # the watcher stalled: all peers are queried until it is steady again
        self._pulse.beat(now)
        if self._last and not self._trusted and now >= self._from:
            self.lapse(now)  # the watcher just queried all peers; of silent ones it passes on what we knew
            self._trusted = self._untaken = True
            self._stir()
        if self.followed(now):
            self._stood = now
            self._lapse_silent(now)

    def lapse(self, now: float, name: str | None = None) -> None:
        """As :meth:`Directory.lapse`; what the watcher told counts from the time when it was last current."""
        if not self._trusted or now - self._stood >= GONE_AFTER:
            self._settle()
            super().lapse(now, name)

    def _lapse_silent(self, now: float) -> float:
        """Drops services that silent registries confirmed 30 s ago or earlier. Returns when the next one expires."""
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
        """The watcher ended: this is a plain directory again."""
        if self._trusted:
            self._distrust()
            self.expire()
        self._last, self._from, self._pulse = None, -math.inf, None

    def slept(self, seconds: float, now: float) -> None:
        """As :meth:`Directory.slept`; it works as a plain directory for `SETTLES` seconds."""
        self._distrust()
        self._from = now + SETTLES
        super().slept(seconds, now)

    def _distrust(self) -> None:
        # The watcher shares our memory of the peers: a silent one must not get more time because of this change.
        self._settle()
        self._trusted = False
        silent = self._last[1] if self._last else ()
        for key, source in self._sources.items():
            told = min(self._stood, self.memory.last_answer(key)) if source.peer.shown in silent else self._stood
            if source.told < told:
                source.told = told
                source.names.clear()

    def followed(self, now: float) -> bool:
        """Whether the watcher's last state is the current state of the network."""
        return self._trusted and self._pulse is not None and self._pulse.is_steady(now)

    def due(self, now: float, age: float = TTL) -> list[Peer]:
        """As :meth:`Directory.due`; empty while the watcher keeps it up to date."""
        return [] if self.followed(now) else super().due(now, age)

    def stale(self, now: float, age: float = TTL) -> bool:
        """As :meth:`Directory.stale`; False while the watcher keeps it up to date."""
        return not self.followed(now) and super().stale(now, age)

    def silent(self, now: float) -> tuple[str, ...]:
        """See :class:`Directory`."""
        return self._last[1] if self._last and self.followed(now) else super().silent(now)

    def count(self, now: float) -> int:
        """See :class:`Directory`."""
        return self._last[2] if self._last and self.followed(now) else super().count(now)

    def services(self, now: float, name: str | None = None) -> list[Service]:
        """See :class:`Directory`."""
        self._settle()
        return super().services(now, name)

    def merged(self, now: float) -> Merged:
        """As :meth:`Directory.merged`. The watcher's state is current, so it is valid for a whole TTL.

        The TTL is shorter if a silent peer in it is gone sooner.
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
        """See :class:`Directory`."""
        if not self._trusted or self._pulse is None or self._pulse.in_doubt:
            return super().holds_until(age)
        return min(self._pulse.until, self._merged[0]) if self._merged else self._pulse.until

    def _settle(self) -> None:
        """Takes over the watcher's last state, if it was not read yet."""
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
        # An answer to a query sent before the watcher began may be older than the watcher's state.
        if not self.followed(now):
            self._settle()  # the watcher's last state is older than this answer
            super()._learn(peer, services, now)

    def _learn_of(self, peer: Peer, name: str, services: Sequence[Service], now: float) -> None:
        if not self.followed(now):
            self._settle()
            super()._learn_of(peer, name, services, now)

    def _gone(self, now: float) -> frozenset[str]:
        return frozenset() if self.followed(now) else super()._gone(now)

    def overhear(self, peer: Peer, services: Sequence[Service], now: float) -> None:
        """`peer` answered the watcher: `services` are all that it has."""
        if not self.has_left(peer):
            self._learn(peer, services, now)


class Hearing(Directory):
    """The watcher's own directory. It passes each answer of a peer to the directory that it feeds (`other`).

    Both share one memory of how peers behave: a peer that answers here is not silent there. So its older services
    must not stay there either, even before the watcher feeds that directory.
    """

    def __init__(self, other: Followed, policy: Policy) -> None:
        super().__init__(other.origin, other.memory, policy)
        self._other = other

    def _learn(self, peer: Peer, services: Sequence[Service], now: float) -> None:
        super()._learn(peer, services, now)
        self._other.overhear(peer, services, now)


def _alike(before: _Told, after: _Told) -> bool:
    """Whether both have the same services, apart from the round-trip times."""
    if before == after or before.keys() != after.keys():
        return before == after
    return all(_untimed(before[name]) == _untimed(after[name]) for name in before)


def _untimed(services: Iterable[Service]) -> list[Service]:
    return [service._replace(rtt_ms=None) for service in services]
