"""Two views of a network made into events: what a watcher is told, and in which order.

For each instance the sequence is legal whatever was missed between two views: up, update any number of times, down.
Whoever reads slowly is told the difference to what it was told last, so that what waits for it is never more than
one entry for each instance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from ..base.model import Service

Kind = Literal["up", "update", "down", "leader", "current"]
Lead = Callable[[list[Service]], Service | None]
_Key = tuple[str, ...]

_CURRENT: Final[_Key] = ()


class Event(NamedTuple):
    """One change: `service` as it is now, as it last was where it is down, None with ``current``."""

    kind: Kind
    service: Service | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON shape that ``md watch -o jsonl`` prints."""
        told: dict[str, Any] = {"event": self.kind}
        if self.service is not None:
            told["service"] = self.service.to_json()
        return told


class Changes:
    """What one watcher has yet to be told of the services of `name` (None: of any) with at least these `labels`.

    `lead` chooses the leader among instances of one name; without it no leaders are told.
    """

    def __init__(
        self, name: str | None = None, labels: Mapping[str, str] | None = None, lead: Lead | None = None
    ) -> None:
        self._name = name
        self._labels = dict(labels or {})
        self._lead = lead
        self._seen: dict[_Key, Service] = {}
        self._told: dict[_Key, Service] = {}
        self._leads: dict[_Key, Service] = {}
        self._followed: dict[_Key, Service] = {}  # the leaders as they were told
        self._pending: dict[_Key, None] = {}  # in the order in which they are told
        self._was_current = False

    def __len__(self) -> int:
        return len(self._pending)

    def see(self, services: Iterable[Service]) -> None:
        """The whole network as it is now."""
        if self._name is not None or self._labels:
            services = [service for service in services if service.matches(self._name, self._labels)]
        now: dict[_Key, Service] = {service.key: service for service in services}
        before, self._seen = self._seen, now
        names = set()
        for key in [*(key for key in before if key not in now), *now]:
            was, new = before.get(key), now.get(key)
            if was is new or was == new:  # of thousands most are the very same
                continue
            names.add(key[0])
            if self._told.get(key) == now.get(key):
                self._pending.pop(key, None)  # it is again as it was told
            else:
                self._pending[key] = None
        if self._lead:
            self._choose(names, self._lead)

    def current(self) -> None:
        """The first whole view was seen. Twice does no harm."""
        if not self._was_current:
            self._was_current = True
            self._pending[_CURRENT] = None

    def take(self) -> Event | None:
        """The next event, None where nothing is new."""
        while self._pending:
            key = next(iter(self._pending))
            del self._pending[key]
            if key == _CURRENT:
                return Event("current")
            event = self._lead_event(key) if len(key) == 1 else self._event(key)
            if event:
                return event
        return None

    def _event(self, key: _Key) -> Event | None:
        before, now = self._told.pop(key, None), self._seen.get(key)
        if now is None:
            followed = self._followed.get(key[:1])
            if followed and followed.key == key:
                del self._followed[key[:1]]
            return Event("down", before) if before else None
        self._told[key] = now
        if before is None:
            return Event("up", now)
        return Event("update", now) if before != now else None

    def _choose(self, names: set[str], lead: Lead) -> None:
        among: dict[str, list[Service]] = {name: [] for name in names}
        for key, service in self._seen.items():
            if key[0] in among:
                among[key[0]].append(service)
        for name, services in among.items():
            leader, told = lead(services), self._followed.get((name,))
            # Behind all that is new by now: it is told when it is up.
            self._pending.pop((name,), None)
            if leader is None:
                self._leads.pop((name,), None)
                continue
            self._leads[name,] = leader
            if told is None or told.key != leader.key:
                self._pending[name,] = None

    def _lead_event(self, name: _Key) -> Event:
        leader = self._followed[name] = self._leads[name]
        return Event("leader", leader)
