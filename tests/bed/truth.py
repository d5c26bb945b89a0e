"""What was true while chaos went on, and what that allows others to have been told. No I/O; times in seconds.

The truth is a history of states that are certain, and of the moments between them when either may be seen: whoever
changes something says so before and after.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

BEGINS: Final = 2.0  # seconds in which a program has begun
FOREVER: Final = float("inf")
Labels = Mapping[str, str]


@dataclass
class Instance:
    """One service at one endpoint, through all that happened to it."""

    where: str
    host: str
    program: int
    times: list[float] = field(default_factory=list)
    states: list[tuple[Labels | None, ...]] = field(default_factory=list)  # what may be seen from that time on

    def will(self, at: float, labels: Labels | None) -> None:
        """From now on it may be so already."""
        self._add(at, (*(self.states[-1] if self.states else (None,)), labels))

    def did(self, at: float, labels: Labels | None) -> None:
        """From now on it is so."""
        self._add(at, (labels,))

    def _add(self, at: float, states: tuple[Labels | None, ...]) -> None:
        self.times.append(at)
        self.states.append(states)

    @property
    def ended(self) -> float:
        """When it certainly was no more."""
        return self.times[-1] if self.states[-1] == (None,) else FOREVER

    def during(self, begin: float, end: float) -> Iterator[tuple[Labels | None, ...]]:
        """What may have been seen at each moment from `begin` to `end`."""
        first = bisect_right(self.times, begin) - 1
        if first < 0:
            yield (None,)
        for index in range(max(first, 0), bisect_right(self.times, end)):
            yield self.states[index]

    def lived(self, begin: float, end: float) -> bool:
        """Whether it certainly was there all the time."""
        return all(None not in states for states in self.during(begin, end))

    def may_have_lived(self, begin: float, end: float) -> bool:
        """Whether it may have been there at some moment."""
        return any(state is not None for states in self.during(begin, end) for state in states)

    def may_have_been(self, labels: Labels, begin: float, end: float) -> bool:
        """Whether it may have been there so at some moment."""
        return any(state == labels for states in self.during(begin, end) for state in states)


@dataclass
class Span:
    """A time in which something was so."""

    begin: float
    end: float = FOREVER

    def meets(self, begin: float, end: float) -> bool:
        """Whether any of it was in that time."""
        return self.begin <= end and begin <= self.end


@dataclass
class Truth:
    """All that happened. Programs and watchers are named by numbers that are never used again."""

    instances: dict[str, Instance] = field(default_factory=dict)
    apart: list[tuple[frozenset[str], Span]] = field(default_factory=list)  # these hosts from all others
    stopped: dict[int, list[Span]] = field(default_factory=dict)
    lives: dict[int, tuple[str, Span]] = field(default_factory=dict)  # programs: their host, and when they ran

    def program(self, number: int, host: str, address: str, lines: list[dict[str, Any]], killed: Span | None) -> None:
        """Takes in what a program of :mod:`bed.restless` said; and where it was killed, between which moments."""
        mine: dict[str, Instance] = {}
        for line in lines:
            where = f"{address}:{line['port']}"
            instance = mine.setdefault(where, Instance(where, host, number))
            (instance.did if line["done"] else instance.will)(line["at"], line["labels"])
        if killed:
            for instance in mine.values():
                instance.will(killed.begin, None)
                instance.did(killed.end, None)
        self.instances |= mine

    def is_stopped(self, number: int, begin: float, end: float, rest: float = 0.0) -> bool:
        """Whether a program or watcher was stopped in that time, or in the `rest` seconds before."""
        return any(span.meets(begin - rest, end) for span in self.stopped.get(number, ()))

    def is_apart(self, one: str, other: str, begin: float, end: float, rest: float) -> bool:
        """Whether two hosts could not hear each other in that time, or in the `rest` seconds before."""
        return any((one in hosts) != (other in hosts) and span.meets(begin - rest, end) for hosts, span in self.apart)

    @functools.cached_property
    def _changes(self) -> dict[str, list[float]]:
        """The moments at which somebody of a host began, ended, was stopped or went on. Asked when all is over."""
        found: dict[str, list[float]] = {}
        for number, (host, _) in self.lives.items():
            found.setdefault(host, []).extend(self._edges(number))
        return {host: sorted(moments) for host, moments in found.items()}

    def is_mute(self, host: str, begin: float, end: float, rest: float) -> bool:
        """Whether at some moment nobody of that host could answer, though somebody was there.

        Who begins while the holder is stopped has no part in its sockets until that goes on.
        """
        begin -= rest
        moments = self._changes.get(host, [])
        for moment in (begin, *moments[bisect_left(moments, begin) : bisect_right(moments, end)]):
            there = [n for n, (h, life) in self.lives.items() if h == host and life.meets(moment, moment)]
            holds = [span.begin for n in there for span in self.stopped.get(n, ()) if span.meets(moment, moment)]
            late = min(holds, default=FOREVER) - BEGINS
            if there and all(self.is_stopped(n, moment, moment) or self.lives[n][1].begin > late for n in there):
                return True
        return False

    def _edges(self, number: int) -> Iterator[float]:
        life = self.lives[number][1]
        yield from (life.begin, life.end)
        for span in self.stopped.get(number, ()):
            yield from (span.begin, span.end)

    def must_see(self, seer: str, where: str, begin: float, end: float, rest: float) -> bool:
        """Whether it lived all the time, on a host in reach of `seer`, also in the `rest` seconds before."""
        instance = self.instances[where]
        return (
            instance.lived(begin, end)
            and not self.is_stopped(instance.program, begin, end, rest)
            and not self.is_apart(seer, instance.host, begin, end, rest)
            and not self.is_mute(instance.host, begin, end, rest)
        )
