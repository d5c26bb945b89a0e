"""Turns the difference of two views of a network into events, in a fixed order.

For each instance the sequence is always "up", any number of "update", "down", whatever was missed between two views.
A slow reader gets the difference to its last event. So its queue never has more than one entry for each instance.
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
    """One change: `service` is its current state, with ``down`` its last known state, with ``current`` None."""

    kind: Kind
    service: Service | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON shape that ``md watch -o jsonl`` prints."""
        told: dict[str, Any] = {"event": self.kind}
        if self.service is not None:
            told["service"] = self.service.to_json()
        return told


class Changes:
    """The events that one reader has not taken yet, for services of `name` (None: of any) with at least these `labels`.

    `lead` chooses the leader among the instances of one name; without it there are no "leader" events.
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
        self._followed: dict[_Key, Service] = {}  # the leaders of the last "leader" events
        self._pending: dict[_Key, None] = {}  # in the order of the events
        self._was_current = False

    def __len__(self) -> int:
        return len(self._pending)

    def see(self, services: Iterable[Service]) -> None:
        """Takes the current services of the network."""
        if self._name is not None or self._labels:
            services = [service for service in services if service.matches(self._name, self._labels)]
        now: dict[_Key, Service] = {service.key: service for service in services}
        before, self._seen = self._seen, now
        names = set()
        for key in [*(key for key in before if key not in now), *now]:
            was, new = before.get(key), now.get(key)
            if was is new or was == new:  # most are the same object, and that test is fast
                continue
            names.add(key[0])
            if self._told.get(key) == now.get(key):
                self._pending.pop(key, None)  # it is again as in the last event
            else:
                self._pending[key] = None
        if self._lead:
            self._choose(names, self._lead)

    def current(self) -> None:
        """Notes that the first whole view was seen. Does nothing the second time."""
        if not self._was_current:
            self._was_current = True
            self._pending[_CURRENT] = None

    def take(self) -> Event | None:
        """Returns the next event; None if there is nothing new."""
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
            # Moves to the end of the queue, so that the leader's "up" comes before its "leader" event.
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
