"""What changed in a zone from one serial to the next: the content of incremental transfers (RFC 1995).

States are compared by service, and records are rendered only for the names whose services have changed. A state
that was never sent out has no step, because no secondary can have it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..dns.message import PTR
from ..dns.writer import RR
from .apex import Apex
from .zone import Placed, Zone

MOST_STEPS: Final = 1_000
MOST_OCTETS: Final = 256 << 10
_RR_OCTETS: Final = 12  # of a record besides owner and RDATA; counted for what it costs in memory


class Step(NamedTuple):
    """The change from one serial to the next: the SOA records before and after, the records deleted and added.

    `names` are the service names, in lower case, under which something has changed.
    """

    serial: int
    before: RR
    after: RR
    deleted: tuple[RR, ...]
    added: tuple[RR, ...]
    names: frozenset[bytes]

    @property
    def octets(self) -> int:
        """Its size in octets, without name compression."""
        return sum(
            _RR_OCTETS + len(owner) + len(fixed) + len(name or b"")
            for owner, _, (fixed, name) in (self.before, self.after, *self.deleted, *self.added)
        )


class Journal:
    """The last steps of one zone, oldest first."""

    def __init__(self) -> None:
        self._steps: deque[tuple[Step, int]] = deque()
        self._octets = 0

    def add(self, step: Step) -> None:
        """Adds a step, and drops the oldest steps while there are too many or they are too large."""
        octets = step.octets
        self._steps.append((step, octets))
        self._octets += octets
        while self._octets > MOST_OCTETS or len(self._steps) > MOST_STEPS:
            self._octets -= self._steps.popleft()[1]

    def since(self, serial: int) -> list[Step] | None:
        """The steps from `serial` to the current one, oldest first; None if the journal does not go back that far."""
        found = []
        for step, _ in reversed(self._steps):
            found.append(step)
            if step.serial == serial:
                return found[::-1]
        return None


def difference(before: tuple[Apex, Zone], after: tuple[Apex, Zone]) -> Step:
    """The step from one state to another."""
    deleted, added = set(before[0].records()), set(after[0].records())
    names = set()
    was, now = before[1].groups(), after[1].groups()
    for name in was.keys() | now.keys():
        if _same(was.get(name, ()), now.get(name, ())):
            continue
        names.add(name)
        # An unchanged service is mostly the same object, and comparing identities is fast.
        left, right = was.get(name, ()), now.get(name, ())
        same = set(map(id, left)) & set(map(id, right))
        gone, come = ([each for each in group if id(each) not in same] for group in (left, right))
        less, more = set(before[1].shared_records(name, gone)), set(after[1].shared_records(name, come))
        if len(gone) < len(left):
            stayed = [each for each in left if id(each) in same]
            kept = set(after[1].shared_records(name, _sharing(stayed, gone, come)))
            # shared_records() gives the PTR records of all instances, so they say nothing about the unchanged ones.
            kept = {each for each in kept if each[1] != PTR}
            less, more = less - kept, more - kept
        deleted.update(less)
        added.update(more)
        old, new = ({(each.service, each.instance): each for each in group} for group in (gone, come))
        for key in old.keys() - new.keys():
            deleted.update(before[1].records_of(old[key]))
        for key in new.keys() - old.keys():
            added.update(after[1].records_of(new[key]))
    return Step(
        before[0].serial,
        before[0].soa_record,
        after[0].soa_record,
        tuple(deleted - added),
        tuple(added - deleted),
        frozenset(names),
    )


def _sharing(stayed: Iterable[Placed], gone: Iterable[Placed], come: Iterable[Placed]) -> list[Placed]:
    """The members of `stayed` with labels or an address that the changed services only lose, or only gain."""
    texts = {_labels(each) for each in gone} ^ {_labels(each) for each in come}
    addresses = {address for each in gone for address in each.service.addresses}
    addresses ^= {address for each in come for address in each.service.addresses}
    return [
        each
        for each in stayed
        if _labels(each) in texts or (addresses and not addresses.isdisjoint(each.service.addresses))
    ]


def _labels(placed: Placed) -> frozenset[tuple[str, str]]:
    return frozenset(placed.service.labels.items())


def _same(group: Sequence[Placed], other: Sequence[Placed]) -> bool:
    return len(group) == len(other) and all(
        one is two or (one.service == two.service and one.instance == two.instance)
        for one, two in zip(group, other, strict=True)
    )
