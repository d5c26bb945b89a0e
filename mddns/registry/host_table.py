"""What all processes of a host offer together: our own registry and, by process, everyone else's.

One process of a host, the *holder*, answers for all; the others are its *tenants*. Each knows the whole
table, so that any of them can go on with it. A process is a number that it drew itself. ``now_ms`` is Unix
time in milliseconds, ``now`` seconds of the caller's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ..base.grammar import MAX_SERVICES
from ..base.model import Peer, Service, fold, replace
from ..base.names import Name
from ..codec.answer import Told, introduce
from ..codec.instance import instance_label
from ..codec.update import Change
from ..zone.apex import is_after, next_serial
from .minidisc_delegates import Delegates
from .registry import Registry

CONFIRM_WITHIN: Final = 1.0  # seconds in which tenants register with a new holder

NEIGHBOURS: Final = 0  # stands in the table for Minidisc's programs on this host, as if they were one process
_Instance = tuple[str, str]  # name and instance label, in lower case


class HostTable:
    """The services of one host. ``serial`` goes on where another process left off.

    Each process has one apex, under which it offers what it offers; the serial is of all of them. The table
    is what the host offers under our own apex, :meth:`part` what it does under another.
    """

    def __init__(self, registry: Registry, number: int, apex: Name) -> None:
        self.registry = registry
        self.number = number
        self.apex = apex
        self.on_serial: Callable[[int], None] = lambda serial: None
        self.delegates = Delegates()
        self._serial = registry.serial
        self._changed_ms: int | None = None  # when what nobody was told of has changed
        self._apexes: dict[int, Name] = {}  # of the others
        self._lives: dict[int, str] = {}  # of ours and the others; see `let_in`
        self._others: dict[int, dict[_Instance, Service]] = {}
        self._unconfirmed: dict[int, set[_Instance]] = {}
        self._confirm_by = 0.0

    @property
    def serial(self) -> int:
        """The serial of the host's zone: another one whenever something has changed since it was last read.

        Changes that nobody saw one by one share a serial, so that it does not run ahead of the clock: a holder
        that has forgotten everything starts by the clock, and must not start behind what was told.
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
        """Our own registry has changed."""
        self._changed_ms = now_ms

    def follow(self, serial: int) -> None:
        """The last serial that a holder told of, which ours goes on from."""
        if is_after(serial, self._serial):
            self._serial = serial

    @property
    def apexes(self) -> list[Name]:
        """All that processes of this host register under, ours first, each once."""
        others = (apex for number, apex in self._apexes.items() if number != NEIGHBOURS)
        return list(dict.fromkeys((self.apex, *others)))

    def apex_of(self, number: int) -> Name:
        """What a process registers under. KeyError where it is not known."""
        return self.apex if number == self.number else self._apexes[number]

    def knows(self, number: int) -> bool:
        """Whether a process is one of this host's."""
        return number == self.number or number in self._apexes

    def let_in(self, number: int, apex: Name, life: str = "") -> None:
        """A process is there, which registers under `apex`. `life` is what somebody else may see its end by."""
        self._lives[number] = life
        if number != self.number:
            self._apexes[number] = apex

    def introduced(self) -> dict[str, tuple[str, str]]:
        """Apex and life of every process, by its number: what the holder tells its tenants, who :meth:`meet` by it."""
        everyone = {self.number: self.apex, **self._apexes}
        return {str(number): (str(apex), self._lives.get(number, "")) for number, apex in everyone.items()}

    def meet(self, introduced: Mapping[str, Sequence[str]]) -> None:
        """What another process's :meth:`introduced` says. BadMessage or ValueError for what it cannot say."""
        for number, (apex, life) in introduced.items():
            if int(number) != self.number:
                self.let_in(int(number), Name.parse(apex), life)

    def part(self, apex: Name) -> Part:
        """What the host offers under another apex than ours."""
        return Part(self, apex)

    def services(self, apex: Name | None = None) -> list[Service]:
        """What the host offers under `apex`, or under ours. One endpoint of several processes is one service.

        It is up since the first of them. Minidisc's programs, which know no apexes, offer under each.
        """
        found = self._found(self._under(apex or self.apex))
        for service in self._others.get(NEIGHBOURS, {}).values():
            if len(found) < MAX_SERVICES:
                found.setdefault(service.key, service)
        return list(found.values())

    def ours(self) -> list[Service]:
        """What the host offers under whatever apex, without what Minidisc's programs do."""
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
        """Minidisc's programs of this host offer these, and nothing else: what is new or has changed, what is gone."""
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
        """What processes of the host would offer under `apex`, or under ours, if it passed its check."""
        apex = apex or self.apex
        offered = {service.key for service in self.services(apex)}
        return [service for service in self._under(apex) if service.held and service.key not in offered]

    def of(self, number: int) -> list[Service]:
        """What one process has registered, held back or not."""
        return self.registry.everything() if number == self.number else list(self._others.get(number, {}).values())

    def apply(self, number: int, changes: Iterable[Change], now_ms: int) -> None:
        """A process has told of its services. ValueError, and nothing is done, where a host may not offer so many."""
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
        """A process is gone, and its services with it. Whether it was there."""
        self._unconfirmed.pop(number, None)
        self._lives.pop(number, None)
        left, apex = self._others.pop(number, None), self._apexes.pop(number, None)
        if left:
            self.changed(now_ms)
        return apex is not None

    def moved(self, now_ms: int) -> None:
        """What we know of the others counts no more: they tell anew that they are, and what they offer.

        Our host is somewhere else, or has changed hands without us.
        """
        self._unconfirmed.clear()
        self._apexes.clear()
        if self._others:
            self._others.clear()
            self.changed(now_ms)

    def told_anew(self) -> None:
        """A holder begins to tell us everything. What we know stands until it has: it may end before that."""
        self._unconfirmed = {number: set(self._others.get(number, ())) for number in self._apexes}

    def told_everything(self, now_ms: int) -> None:
        """It has; what it did not tell of is no more."""
        for number in list(self._unconfirmed):
            self.told_all(number, now_ms)

    def only(self, numbers: Iterable[int], now_ms: int) -> None:
        """These are all processes of the host; the others are gone."""
        for number in self._apexes.keys() - set(numbers):
            self.drop(number, now_ms)

    def taken_over(self, now: float) -> None:
        """We are the holder from now on: what the others offer has to be registered anew."""
        self.told_anew()
        if NEIGHBOURS in self._apexes:
            self.let_in(NEIGHBOURS, self.apex)
        self._unconfirmed.pop(NEIGHBOURS, None)  # those are asked, and register with nobody
        self._confirm_by = now + CONFIRM_WITHIN

    def awaits(self, number: int, now: float) -> None:
        """A process has left us to look for another holder. What it offers stands until it should be here again."""
        self._unconfirmed[number] = set(self._others.get(number, ()))
        self._confirm_by = max(self._confirm_by, now + CONFIRM_WITHIN)

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

    def life_of(self, number: int) -> str:
        """What the end of a process may be seen by; "" where it is not known."""
        return self._lives.get(number, "")

    @property
    def unconfirmed(self) -> dict[int, str]:
        """The lives of those whose services have to be registered anew, or told anew."""
        return {number: self.life_of(number) for number in self._unconfirmed}

    def expire(self, now: float, now_ms: int, present: Collection[int], ended: Collection[int]) -> list[int]:
        """Drops, and gives, the processes that have `ended`, or did not come in time to register anew.

        Who is `present` is doing so.
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
        # Our host's own word, like the registry's; its label follows from who we are now, not from who told it.
        machine = "" if service.remote else self.registry.machine
        label = instance_label(machine, service.endpoint.address, told.port, service.protocol)
        return replace(service, network=None, instance=label)


class Part:
    """What the host of `table` offers under `apex`."""

    def __init__(self, table: HostTable, apex: Name) -> None:
        self._table = table
        self._apex = apex

    @property
    def serial(self) -> int:
        """The host's."""
        return self._table.serial

    @property
    def me(self) -> Peer:
        """Our own node."""
        return self._table.me

    def services(self) -> list[Service]:
        """What is offered under this apex, one endpoint of several processes once."""
        return self._table.services(self._apex)

    def held_back(self) -> list[Service]:
        """What would be, if it passed its check."""
        return self._table.held_back(self._apex)
