"""What all processes of a host offer together: our own registry and, by process, everyone else's.

One process of a host, the *holder*, answers for all; the others are its *tenants*. Each knows the whole
table, so that any of them can go on with it. A process is a number that it drew itself. ``now_ms`` is Unix
time in milliseconds, ``now`` seconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from .answers import Told, introduce
from .apex import next_serial
from .grammar import MAX_SERVICES
from .instance import instance_label
from .model import Peer, Service, fold
from .registry import Registry
from .update import Change

CONFIRM_WITHIN: Final = 1.0  # seconds in which tenants register with a new holder
SILENT_AFTER: Final = 0.3  # seconds without a heartbeat after which a holder is given up
SUCCESSOR_AFTER: Final = 0.15  # the same more for each who comes before us in the succession

_Instance = tuple[str, str]  # name and instance label, in lower case


class HostTable:
    """The services of one host. ``serial`` moves with every change, and goes on where another process left off."""

    def __init__(self, registry: Registry, number: int) -> None:
        self.registry = registry
        self.number = number
        self._serial = registry.serial
        self._others: dict[int, dict[_Instance, Service]] = {}
        self._unconfirmed: dict[int, set[_Instance]] = {}
        self._confirm_by = 0.0

    @property
    def serial(self) -> int:
        """The serial of the host's zone."""
        return self._serial

    @property
    def me(self) -> Peer:
        """Our own node."""
        return self.registry.me

    def changed(self, now_ms: int) -> None:
        """Our own registry has changed."""
        self._serial = next_serial(self._serial, now_ms)

    def follow(self, serial: int) -> None:
        """The holder's serial, which ours goes on from."""
        self._serial = serial

    def services(self) -> list[Service]:
        """What the host offers. One endpoint of several processes is one service, up since the first of them."""
        found: dict[tuple[str, str, str], Service] = {}
        for service in self._everything():
            if service.held:
                continue
            other = found.setdefault(service.key, service)
            if other is not service and (service.since or 0) < (other.since or 0):
                found[service.key] = service
        return list(found.values())

    def held_back(self) -> list[Service]:
        """What processes of the host would offer, if it passed its check."""
        offered = {service.key for service in self.services()}
        return [service for service in self._everything() if service.held and service.key not in offered]

    def of(self, number: int) -> list[Service]:
        """What one process has registered, held back or not."""
        return self.registry.everything() if number == self.number else list(self._others.get(number, {}).values())

    def apply(self, number: int, changes: Iterable[Change], now_ms: int) -> None:
        """A process has told of its services. KeyError where that is more than a host may offer."""
        if number == self.number:
            return
        table = self._others.setdefault(number, {})
        for change in changes:
            key = fold(change.name), fold(change.instance)
            self._unconfirmed.get(number, set()).discard(key)
            if change.told is None:
                table.pop(key, None)
            elif key not in table and sum(1 for _ in self._everything()) >= MAX_SERVICES:
                raise KeyError(f"a host offers at most {MAX_SERVICES} services")
            else:
                table[key] = self._service(change.told)
        self.changed(now_ms)

    def drop(self, number: int, now_ms: int) -> bool:
        """A process is gone, and its services with it. Whether it had any."""
        self._unconfirmed.pop(number, None)
        if not self._others.pop(number, None):
            return False
        self.changed(now_ms)
        return True

    def told_anew(self) -> None:
        """A holder begins to tell us everything. What we know stands until it has: it may end before that."""
        self._unconfirmed = {number: set(table) for number, table in self._others.items()}

    def told_everything(self, now_ms: int) -> None:
        """It has; what it did not tell of is no more."""
        for number in list(self._unconfirmed):
            self.told_all(number, now_ms)

    def taken_over(self, now: float) -> None:
        """We are the holder from now on: what the others offer has to be registered anew."""
        self.told_anew()
        self._confirm_by = now + CONFIRM_WITHIN

    def told_all(self, number: int, now_ms: int) -> None:
        """A process has registered all that it has; what it had besides is withdrawn."""
        left = self._unconfirmed.pop(number, set())
        table = self._others.get(number, {})
        for key in left:
            table.pop(key, None)
        if not table:
            self._others.pop(number, None)
        if left:
            self.changed(now_ms)

    def expire(self, now: float, now_ms: int) -> list[int]:
        """Drops, and gives, the processes that did not register anew in time."""
        if not self._unconfirmed or now < self._confirm_by:
            return []
        late = list(self._unconfirmed)
        for number in late:
            self.drop(number, now_ms)
        return late

    @property
    def processes(self) -> list[int]:
        """The other processes that have services here."""
        return list(self._others)

    def _everything(self) -> Iterator[Service]:
        yield from self.registry.everything()
        for table in self._others.values():
            yield from table.values()

    def _service(self, told: Told) -> Service:
        service = introduce(told, self.me, "")
        # Our host's own word, like the registry's; its label follows from who we are now, not from who told it.
        machine = "" if service.remote else self.registry.machine
        label = instance_label(machine, service.endpoint.address, told.port, service.protocol)
        return replace(service, network=None, instance=label)
