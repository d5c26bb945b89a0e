"""What was true during a chaos test, and what other hosts could have learned. No I/O; times in seconds.

The truth is a history of certain states, and of the times between them in which either state may be seen: a program
reports each change before and after it.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

TAKEN_OVER: Final = 1.0  # seconds until another program answers for a host, if the next one is stopped
FOREVER: Final = float("inf")
HEALING: Final = 0.5  # seconds to undo a cut, in which hosts may reach each other already
Labels = Mapping[str, str]


@dataclass
class Instance:
    """The history of one service at one endpoint."""

    where: str
    host: str
    program: int
    times: list[float] = field(default_factory=list)
    states: list[tuple[Labels | None, ...]] = field(default_factory=list)  # which states may be seen from that time on

    def will(self, at: float, labels: Labels | None) -> None:
        """Records that from now on the new state may be seen."""
        self._add(at, (*(self.states[-1] if self.states else (None,)), labels))

    def did(self, at: float, labels: Labels | None) -> None:
        """Records that from now on only the new state is true."""
        self._add(at, (labels,))

    def _add(self, at: float, states: tuple[Labels | None, ...]) -> None:
        # A killed program may have printed something after the last moment at which it certainly ran.
        self.times.append(max(at, *self.times[-1:]) if self.times else at)
        self.states.append(states)

    def during(self, begin: float, end: float) -> Iterator[tuple[Labels | None, ...]]:
        """Returns the states that may have been seen at each moment from `begin` to `end`."""
        first = bisect_right(self.times, begin) - 1
        if first < 0:
            yield (None,)
        for index in range(max(first, 0), bisect_right(self.times, end)):
            yield self.states[index]

    def lived(self, begin: float, end: float) -> bool:
        """Whether it certainly existed all the time."""
        return all(None not in states for states in self.during(begin, end))

    def may_have_lived(self, begin: float, end: float) -> bool:
        """Whether it may have existed at some moment."""
        return any(state is not None for states in self.during(begin, end) for state in states)

    def may_have_been(self, labels: Labels, begin: float, end: float) -> bool:
        """Whether it may have had these labels at some moment."""
        return any(state == labels for states in self.during(begin, end) for state in states)


@dataclass
class Span:
    """A span of time."""

    begin: float
    end: float = FOREVER

    def meets(self, begin: float, end: float) -> bool:
        """Whether it overlaps that time."""
        return self.begin <= end and begin <= self.end


@dataclass
class Truth:
    """Everything that happened. Programs and watchers have numbers that are never reused."""

    instances: dict[str, Instance] = field(default_factory=dict)
    apart: list[tuple[frozenset[str], Span]] = field(default_factory=list)  # these hosts are split from all others
    stopped: dict[int, list[Span]] = field(default_factory=dict)
    lives: dict[int, tuple[str, Span]] = field(default_factory=dict)  # programs: their host, and when they ran
    joined: dict[int, float] = field(default_factory=dict)  # since when each was holder or tenant
    _mute: dict[tuple[str, bool], list[Span]] = field(default_factory=dict)
    _outages: dict[tuple[str, str], list[Span]] = field(default_factory=dict)

    def program(self, number: int, host: str, address: str, lines: list[dict[str, Any]], killed: Span | None) -> None:
        """Adds the output of a program of :mod:`bed.restless`, and the moments between which it was killed."""
        mine: dict[str, Instance] = {}
        for line in lines:
            where = f"{address}:{line['port']}"
            instance = mine.setdefault(where, Instance(where, host, number))
            (instance.did if line["done"] else instance.will)(line["at"], line["labels"])
        if lines:
            self.joined[number] = lines[0]["at"]
        if killed:
            for instance in mine.values():
                instance.will(killed.begin, None)
                instance.did(killed.end, None)
        self.instances |= mine

    def forget(self) -> None:
        """Clears cached results, because something else happened."""
        self._mute.clear()
        self._outages.clear()

    def stops(self, number: int) -> list[Span]:
        """Returns when a program or watcher was stopped."""
        return self.stopped.get(number, [])

    def is_stopped(self, number: int, begin: float, end: float) -> bool:
        """Whether a program or watcher was stopped at some time of this period."""
        return _meets(self.stops(number), begin, end)

    def mute(self, host: str, *, surely: bool = False) -> list[Span]:
        """Returns when a host may have had programs of which none could answer. For use after a run.

        A program that starts while the holder is stopped cannot use its sockets until the holder continues. `surely`:
        only the times in which every program was stopped.
        """
        key = host, surely
        if key not in self._mute:
            mine = {number: life for number, (where, life) in self.lives.items() if where == host}
            edges = {edge for life in mine.values() for edge in (life.begin, life.end)}
            edges |= {edge for number in mine for span in self.stops(number) for edge in (span.begin, span.end)}
            ordered = sorted(edges)
            spans = []
            for begin, end in itertools.pairwise(ordered):
                if self._is_mute(mine, begin + 1 if end == FOREVER else (begin + end) / 2, surely):
                    spans.append(Span(begin, end))
            self._mute[key] = _joined(spans)
        return self._mute[key]

    def _is_mute(self, mine: Mapping[int, Span], moment: float, surely: bool) -> bool:
        there = [number for number, life in mine.items() if life.meets(moment, moment)]
        stopped = {n: span.begin for n in there for span in self.stops(n) if span.meets(moment, moment)}
        first = min(stopped.values(), default=FOREVER)

        def is_mute(number: int) -> bool:
            return number in stopped or (not surely and self.joined.get(number, FOREVER) > first)

        return bool(there) and bool(stopped) and all(map(is_mute, there))

    def is_disturbed(self, host: str, begin: float, end: float) -> bool:
        """Whether a program of the host, perhaps the holder, ended or was stopped in this period."""
        mine = [(number, life) for number, (where, life) in self.lives.items() if where == host]
        moments = [life.end for _, life in mine] + [span.begin for number, _ in mine for span in self.stops(number)]
        return any(begin <= moment <= end for moment in moments)

    def changes_hands(self, host: str, begin: float, end: float) -> bool:
        """Whether in that time, or shortly before, one of its programs ended while another one was stopped.

        If the stopped one is next in the succession, the one after it takes over a little later.
        """
        mine = [(number, life) for number, (where, life) in self.lives.items() if where == host]
        gone = [(number, life.end) for number, life in mine]
        gone += [(number, span.begin) for number, _ in mine for span in self.stops(number)]
        return any(
            begin - TAKEN_OVER <= moment <= end
            and any(other != number and self.is_stopped(other, moment, moment) for other, _ in mine)
            for number, moment in gone
        )

    def is_empty(self, host: str, begin: float, end: float) -> bool:
        """Whether the host had no program in that time: its kernel may refuse queries then, with a limited rate."""
        return not any(where == host and life.meets(begin, end) for where, life in self.lives.values())

    def outages(self, seer: str, host: str) -> list[Span]:
        """Returns, in order, the times in which `seer` may have received nothing from `host`."""
        key = seer, host
        if key not in self._outages:
            cuts = [span for hosts, span in self.apart if (seer in hosts) != (host in hosts)]
            self._outages[key] = _joined([*cuts, *self.mute(host)])
        return self._outages[key]

    def sure_outages(self, seer: str, host: str) -> list[Span]:
        """Returns the times in which `seer` certainly received nothing from `host`."""
        cuts = [Span(s.begin, s.end - HEALING) for hosts, s in self.apart if (seer in hosts) != (host in hosts)]
        return _joined([*cuts, *self.mute(host, surely=True)])

    def is_out(self, seer: str, host: str, begin: float, end: float) -> bool:
        """Whether there was an outage at some time of this period."""
        return _meets(self.outages(seer, host), begin, end)


def longest(spans: Iterable[Span], begin: float, end: float) -> float:
    """Returns the length of the longest overlap of any of them with that time."""
    return max((min(span.end, end) - max(span.begin, begin) for span in spans if span.meets(begin, end)), default=0.0)


def first_of(spans: Iterable[Span], at: float) -> float:
    """Returns the begin of the chain of adjacent `spans` that leads to `at`; `at` if there is none."""
    for span in sorted(spans, key=lambda each: each.begin, reverse=True):
        if span.begin < at <= span.end:
            at = span.begin
    return at


def _meets(spans: Iterable[Span], begin: float, end: float) -> bool:
    return any(span.meets(begin, end) for span in spans)


def _joined(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(spans, key=lambda each: each.begin):
        if found and span.begin <= found[-1].end:
            found[-1] = Span(found[-1].begin, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found
