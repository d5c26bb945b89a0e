"""The services of all processes of a host: our own registry and, by process, those of the others.

One process of a host, the *holder*, answers for all; the others are its *tenants*. Each process keeps the whole
table, so that any of them can become the holder. A process is identified by a random number of its own choice.
``now_ms`` is Unix time in milliseconds, ``now`` seconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ..base.model import Peer, Service, fold, replace
from ..base.names import Name
from ..base.validation import MAX_SERVICES
from ..codec.answer import Told, introduce
from ..codec.instance_records import instance_label
from ..codec.update import Change
from ..zone.apex import is_after, next_serial
from .minidisc_delegates import Delegates
from .registry import Registry

CONFIRM_WITHIN: Final = 1.0  # seconds in which tenants register with a new holder

NEIGHBOURS: Final = 0  # the number of Minidisc's programs on this host, which the table keeps as one process
_Instance = tuple[str, str]  # name and instance label, in lower case


class HostTable:
    """The services of one host. ``serial`` continues from the serial of the previous holder.

    Each process has one apex, under which it offers its services; all apexes share the serial. The table itself
    is what the host offers under our own apex, :meth:`part` under another one.
    """

    def __init__(self, registry: Registry, number: int, apex: Name) -> None:
        self.registry = registry
        self.number = number
        self.apex = apex
        self.on_serial: Callable[[int], None] = lambda serial: None
        self.delegates = Delegates()
        self._serial = registry.serial
        self._changed_ms: int | None = None  # time of the last change since `serial` was read; None: no change
        self._apexes: dict[int, Name] = {}  # of the other processes
        self._lives: dict[int, str] = {}  # of our process and the others; see `let_in`
        self._others: dict[int, dict[_Instance, Service]] = {}
        self._unconfirmed: dict[int, set[_Instance]] = {}
        self._confirm_by = 0.0

    @property
    def serial(self) -> int:
        """The serial of the host's zone. Reading it gives a new serial if something has changed since the last read.

        Changes between two reads share a serial, so that serials do not run ahead of the clock: a holder that has
        lost its state starts from the clock, and must not start below a serial that was already published.
        """
        if self._changed_ms is not None:
            self._serial, self._changed_ms = next_serial(self._serial, self._changed_ms), None
            self.on_serial(self._serial)
        return self._serial

    @property
    def me(self) -> Peer:
        """Our own node."""
        return self.registry.me

    def changed(self, now_ms: int) -> None:
        """Records that our own registry has changed."""
        self._changed_ms = now_ms

    def follow(self, serial: int) -> None:
        """Continues from `serial`, the last serial that a holder published, if it is after ours."""
        if is_after(serial, self._serial):
            self._serial = serial

    @property
    def apexes(self) -> list[Name]:
        """The apexes of all processes of this host, ours first, each once."""
        others = (apex for number, apex in self._apexes.items() if number != NEIGHBOURS)
        return list(dict.fromkeys((self.apex, *others)))

    def apex_of(self, number: int) -> Name:
        """The apex of a process. KeyError if the process is not known."""
        return self.apex if number == self.number else self._apexes[number]

    def knows(self, number: int) -> bool:
        """Whether a process is known on this host."""
        return number == self.number or number in self._apexes

    def let_in(self, number: int, apex: Name, life: str = "") -> None:
        """Adds a process, which registers under `apex`. Other processes can see by `life` whether it has ended."""
        self._lives[number] = life
        if number != self.number:
            self._apexes[number] = apex

    def introduced(self) -> dict[str, tuple[str, str]]:
        """Apex and life of every process, by its number. The holder sends it to its tenants, for their :meth:`meet`."""
        everyone = {self.number: self.apex, **self._apexes}
        return {str(number): (str(apex), self._lives.get(number, "")) for number, apex in everyone.items()}

    def meet(self, introduced: Mapping[str, Sequence[str]]) -> None:
        """Takes the :meth:`introduced` of another process. Raises BadMessage or ValueError if it is malformed."""
        for number, (apex, life) in introduced.items():
            if int(number) != self.number:
                self.let_in(int(number), Name.parse(apex), life)

    def part(self, apex: Name) -> Part:
        """The services of the host under an apex other than ours."""
        return Part(self, apex)

    def services(self, apex: Name | None = None) -> list[Service]:
        """The services of the host under `apex`, by default ours. One endpoint of several processes is one service.

        Its `since` is the earliest of theirs. Minidisc's programs know no apexes, so they offer under each.
        """
        found = self._found(self._under(apex or self.apex))
        for service in self._others.get(NEIGHBOURS, {}).values():
            if len(found) < MAX_SERVICES:
                found.setdefault(service.key, service)
        return list(found.values())

    def ours(self) -> list[Service]:
        """The services of the host under all apexes, without those of Minidisc's programs."""
        return list(self._found(service for apex in self.apexes for service in self._under(apex)).values())

    @staticmethod
    def _found(services: Iterable[Service]) -> dict[tuple[str, str, str], Service]:
        found: dict[tuple[str, str, str], Service] = {}
        for service in services:
            if service.held:
                continue
            other = found.setdefault(service.key, service)
            if other is not service and (service.since or 0) < (other.since or 0):
                found[service.key] = service
        return found

    def neighbours(
        self, told: Iterable[Told], admit: Callable[[Service], bool], now_ms: int
    ) -> tuple[list[Service], list[Service]]:
        """Sets the services of Minidisc's programs on this host. Returns the new or changed, and the withdrawn."""
        now: dict[_Instance, Service] = {}
        for each in told:
            service = self._service(each)
            if len(now) < MAX_SERVICES and admit(service):
                now.setdefault((fold(service.name), fold(service.instance)), service)
        before = self._others.pop(NEIGHBOURS, {})
        if now:
            self._others[NEIGHBOURS] = now
            self.let_in(NEIGHBOURS, self.apex)
        added = [service for key, service in now.items() if before.get(key) != service]
        withdrawn = [service for key, service in before.items() if key not in now]
        if added or withdrawn:
            self.changed(now_ms)
        return added, withdrawn

    def held_back(self, apex: Name | None = None) -> list[Service]:
        """The services under `apex`, by default ours, that are held back because their check has not passed."""
        apex = apex or self.apex
        offered = {service.key for service in self.services(apex)}
        return [service for service in self._under(apex) if service.held and service.key not in offered]

    def of(self, number: int) -> list[Service]:
        """The services that one process has registered, held back or not."""
        return self.registry.everything() if number == self.number else list(self._others.get(number, {}).values())

    def apply(self, number: int, changes: Iterable[Change], now_ms: int) -> None:
        """Applies changes of a process's services. Raises ValueError, and applies none, if they are too many."""
        if number == self.number:
            return
        before = self._others.get(number, {})
        table = dict(before)
        changed = {(fold(change.name), fold(change.instance)): change.told for change in changes}
        for key, told in changed.items():
            if told is None:
                table.pop(key, None)
            else:
                table[key] = self._service(told)
        others = [len(other) for process, other in self._others.items() if process not in (number, NEIGHBOURS)]
        elsewhere = 0 if number == NEIGHBOURS else len(self.registry.registrations()) + sum(others)
        if len(table) > len(before) and elsewhere + len(table) > MAX_SERVICES:
            raise ValueError(f"a host offers at most {MAX_SERVICES} services")
        self._others[number] = table
        self._unconfirmed.get(number, set()).difference_update(changed)
        self.changed(now_ms)

    def drop(self, number: int, now_ms: int) -> bool:
        """Removes a process with its services. Returns whether it was known."""
        self._unconfirmed.pop(number, None)
        self._lives.pop(number, None)
        left, apex = self._others.pop(number, None), self._apexes.pop(number, None)
        if left:
            self.changed(now_ms)
        return apex is not None

    def moved(self, now_ms: int) -> None:
        """Forgets the other processes; those that still run register again.

        For when our host has moved to another address, or got another holder without us.
        """
        self._unconfirmed.clear()
        self._apexes.clear()
        if self._others:
            self._others.clear()
            self.changed(now_ms)

    def told_anew(self) -> None:
        """A holder begins to send the whole table. Ours stays until it is complete: the holder may end before."""
        self._unconfirmed = {number: set(self._others.get(number, ())) for number in self._apexes}

    def told_everything(self, now_ms: int) -> None:
        """The holder has sent the whole table: what it did not contain is removed."""
        for number in list(self._unconfirmed):
            self.told_all(number, now_ms)

    def only(self, numbers: Iterable[int], now_ms: int) -> None:
        """Removes all processes except `numbers` (and our own)."""
        for number in self._apexes.keys() - set(numbers):
            self.drop(number, now_ms)

    def taken_over(self, now: float) -> None:
        """We have become the holder: the other processes have to register their services with us."""
        self.told_anew()
        if NEIGHBOURS in self._apexes:
            self.let_in(NEIGHBOURS, self.apex)
        self._unconfirmed.pop(NEIGHBOURS, None)  # Minidisc's programs do not register: the holder queries them
        self._confirm_by = now + CONFIRM_WITHIN

    def awaits(self, number: int, now: float) -> None:
        """A process has left to look for another holder. Its services stay until its time to register again is over."""
        self._unconfirmed[number] = set(self._others.get(number, ()))
        self._confirm_by = max(self._confirm_by, now + CONFIRM_WITHIN)

    def told_all(self, number: int, now_ms: int) -> None:
        """A process has registered all its services: the ones that it did not repeat are withdrawn."""
        left = self._unconfirmed.pop(number, set())
        table = self._others.get(number, {})
        for key in left:
            table.pop(key, None)
        if not table:
            self._others.pop(number, None)
        if left:
            self.changed(now_ms)

    def life_of(self, number: int) -> str:
        """The life of a process (see :meth:`let_in`); "" if it is not known."""
        return self._lives.get(number, "")

    @property
    def unconfirmed(self) -> dict[int, str]:
        """The processes whose services are not yet registered, or received, again: number and life."""
        return {number: self.life_of(number) for number in self._unconfirmed}

    def expire(self, now: float, now_ms: int, present: Collection[int], ended: Collection[int]) -> list[int]:
        """Removes the processes that have `ended` or did not register again in time, and returns their numbers.

        A process that is `present` is registering now, so it is kept.
        """
        away = self._unconfirmed.keys() - set(present)
        late = [number for number in away if number in ended or now >= self._confirm_by]
        for number in late:
            self.drop(number, now_ms)
        return late

    @property
    def processes(self) -> list[int]:
        """The other processes that have services here."""
        return list(self._others)

    def _under(self, apex: Name) -> Iterator[Service]:
        for number in (self.number, *self._others):
            if number != NEIGHBOURS and self.apex_of(number) == apex:
                yield from self.of(number)

    def _service(self, told: Told) -> Service:
        service = introduce(told, self.me, "")
        # It is a service of our own host, as in the registry, so its label is made from our current name.
        machine = "" if service.remote else self.registry.machine
        label = instance_label(machine, service.endpoint.address, told.port, service.protocol)
        return replace(service, network=None, instance=label)


class Part:
    """The services of the host of `table` under `apex`."""

    def __init__(self, table: HostTable, apex: Name) -> None:
        self._table = table
        self._apex = apex

    @property
    def serial(self) -> int:
        """The serial of the host."""
        return self._table.serial

    @property
    def me(self) -> Peer:
        """Our own node."""
        return self._table.me

    def services(self) -> list[Service]:
        """The services under this apex, one endpoint of several processes once."""
        return self._table.services(self._apex)

    def held_back(self) -> list[Service]:
        """The services under this apex that are held back because their check has not passed."""
        return self._table.held_back(self._apex)
