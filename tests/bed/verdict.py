"""Compares what programs saw during a chaos test with the truth: each function returns the errors, as text.

The limits are those of the specification: the answer of a lookup is at most as old as the TTL, a change is seen at
once, a vanished host within ten seconds, a host that returns within five. *At once* is a little later in practice,
because dozens of programs share two processors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from .truth import FOREVER, Instance, Span, Truth, first_of, longest

TTL: Final = 5.0
LATE: Final = 3.0  # seconds until all watchers know a change, even if a holder was stopped in the meantime
ALONE: Final = 4.5  # the same if no program of the own host answers: a second, three queries, and then all other hosts
GONE: Final = 10.0  # seconds until a host that vanished is down
DROPPED: Final = 30.0  # seconds until a resolver that does not watch drops the services of a silent host
HEALED: Final = 5.0  # seconds until a host that returns is up, with the changes made there in the meantime
THRICE: Final = 4.0  # seconds that three queries take at least, before a host counts as vanished
BEGUN: Final = 10.0  # seconds until a new watcher knows everything
SAMPLE: Final = 0.25  # seconds between two checks of the current state

Told = dict[str, Any]


def illegal(events: list[Told]) -> Iterator[str]:
    """Yields sequences of events that no instance can have, and duplicate events."""
    standing: dict[str, tuple[str, object]] = {}
    latest: dict[str, str] = {}
    if sum(event["event"] == "current" for event in events) > 1:
        yield "current, twice"
    for event in events:
        if event["event"] not in ("up", "update", "down"):
            continue
        where, labels = event["where"], event["labels"]
        time, since = labels.get("t", "0"), event.get("since")
        if event["event"] == "down":
            if standing.pop(where, None) is None:
                yield f"{event}, and it was not up"
            continue
        if (where in standing) != (event["event"] == "update"):
            yield f"{event}, and it was {'' if where in standing else 'not '}up"
        before = standing.get(where)
        if before is not None and before[0] == time and not _tells_since(before[1], since):
            yield f"{event}, and what was told before was as new"
        if float(time) < float(latest.get(where, 0)):
            yield f"{event}, and what was told before was newer"
        standing[where], latest[where] = (time, since), time


def _tells_since(before: object, since: object) -> bool:
    """Whether only one of two events has the service's start: a list by HTTP, before DNS answers, does not have it."""
    return (before is None) != (since is None)


def standing(events: list[Told]) -> dict[str, dict[str, str]]:
    """Returns labels by endpoint, after these events."""
    found = {}
    for event in events:
        if event["event"] in ("up", "update"):
            found[event["where"]] = event["labels"]
        elif event["event"] == "down":
            found.pop(event["where"], None)
    return found


@dataclass
class Judge:
    """Judges what programs of the `host` saw. `counts` has what was judged, and what was not judged and why."""

    truth: Truth
    host: str
    number: int
    began: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    # Of watching

    def untrue(self, events: list[Told]) -> Iterator[str]:
        """Yields each ``down`` of an instance that existed in reach, and each false ``up`` or ``update``."""
        current = _current(events)
        for event in events:
            kind, at = event["event"], event["at"]
            if kind not in ("up", "update", "down"):
                continue
            instance = self.truth.instances.get(event["where"])
            if instance is None or event["name"] != "web":
                yield f"{event}, and nobody offered that"
            elif kind == "down":
                if instance.lived(self._heard(at), at):
                    if self._may_be_down(instance, at):
                        self.counts["down of what was out of reach"] += 1
                    else:
                        yield f"{event}, and it lived"
                else:
                    self.counts["down"] += 1
            elif not instance.may_have_been(event["labels"], self._heard(at), at):
                if instance.may_have_been(event["labels"], self._known(instance, at), at):
                    self.counts[f"{kind} {'while beginning' if at <= current else 'around an outage'}"] += 1
                else:
                    yield f"{event}, and it was not so"
            else:
                self.counts[kind] += 1

    def late(self, events: list[Told], until: float) -> Iterator[str]:
        """Yields states that a watcher kept long after they ended, and services that it missed for long."""
        truth, current = self.truth, _current(events)
        if (
            current > self.began + BEGUN
            and until > self.began + BEGUN
            and not self._stopped(self.began, self.began + BEGUN)
        ):
            yield f"did not know everything in {BEGUN:g} s"
        stands: dict[str, dict[str, str]] = {}
        rest = [event for event in events if event["event"] in ("up", "update", "down")][::-1]
        now = current + LATE
        while now < until:
            while rest and rest[-1]["at"] <= now:
                event = rest.pop()
                if event["event"] == "down":
                    stands.pop(event["where"], None)
                else:
                    stands[event["where"]] = event["labels"]
            if self._stopped(now - LATE, now):
                self.counts["looks while stopped"] += 1
                now += SAMPLE
                continue
            heard = self._heard(now)
            for where, instance in truth.instances.items():
                labels = stands.get(where)
                if labels is None:
                    if not instance.may_have_lived(heard, now):
                        continue
                    if instance.lived(heard, now):
                        if self._is_excused(instance, min(heard, now - HEALED), now):
                            self.counts["looks at what was out of reach"] += 1
                        else:
                            yield f"{where} was there for {now - heard:g} s at {now:.2f} and was not told of"
                elif not instance.may_have_been(labels, self._known(instance, now), now):
                    was = "as it was" if instance.may_have_lived(heard, now) else "of, and was gone"
                    yield f"{where} was at {now:.2f} still told {was} {now - heard:g} s ago"
                elif self._has_vanished(instance, now):
                    yield f"{where} was at {now:.2f} still told of, and its host has vanished {GONE:g} s ago"
                else:
                    self.counts["looks"] += 1
            now += SAMPLE

    def _stopped(self, begin: float, end: float) -> bool:
        return self.truth.is_stopped(self.number, begin, end)

    def _heard(self, at: float) -> float:
        """Returns the time until which the watcher must know everything that happened in reach."""
        begin = first_of(_and(self.truth.stops(self.number), LATE), at)
        return begin - self._late(begin)

    def _late(self, at: float) -> float:
        """Returns after how many seconds the programs of a host know a change, whatever happened to its holder."""
        return LATE + min(ALONE - LATE, longest(self.truth.mute(self.host), at - ALONE, at))

    def _known(self, instance: Instance, at: float) -> float:
        """Returns the earliest time from which data at a moment can be: in an outage, a host sends nothing."""
        outages = self.truth.outages(self.host, instance.host)
        begin = first_of([*_and(outages, HEALED), *_and(self.truth.stops(self.number), LATE)], at)
        return begin - self._late(begin)

    def _is_excused(self, instance: Instance, begin: float, end: float) -> bool:
        """Whether the watcher need not know it at the end of that time, although it existed."""
        return self.truth.is_stopped(instance.program, begin, end) or self.truth.is_out(
            self.host, instance.host, begin, end
        )

    def _may_be_down(self, instance: Instance, at: float) -> bool:
        """Whether a ``down`` is allowed although it exists: the watcher may have given up at the end of an outage."""
        outages = self.truth.outages(self.host, instance.host)
        since = first_of(_and(outages, LATE), at)
        return self.truth.is_stopped(instance.program, self._heard(at), at) or at - since >= THRICE

    def _has_vanished(self, instance: Instance, now: float) -> bool:
        # A holder that takes over starts again with three queries, and so does a program without a holder.
        disturbed = self.truth.is_disturbed(self.host, now - GONE - ALONE, now)
        longer = GONE + SAMPLE + (ALONE if disturbed else 0.0)
        if self._stopped(now - longer, now):
            return False  # the watcher itself was stopped in the meantime
        return longest(self.truth.sure_outages(self.host, instance.host), now - longer, now) >= longer

    # Of lookups

    def invented(self, lookups: list[Told]) -> Iterator[str]:
        """Yields lookups that found a service that was never offered, or duplicates."""
        for lookup in lookups:
            said = f"{lookup['way']}, {lookup['start']:.2f} to {lookup['end']:.2f}"
            if len(lookup["found"]) != lookup["count"]:
                yield f"{said}: something found twice"
            for where in lookup["found"].keys() - self.truth.instances.keys():
                yield f"{said}: {where}, which nobody offered"

    def false(self, lookups: list[Told]) -> Iterator[str]:
        """Yields lookups that found a service that had ended, or missed one that had existed for long."""
        for lookup in lookups:
            start, end, found, way = lookup["start"], lookup["end"], lookup["found"], lookup["way"]
            if self._stopped(start, end):
                self.counts["lookups while stopped"] += 1
                continue
            said = f"{way}, {start:.2f} to {end:.2f}, silent {lookup['silent']}"
            self.counts[way] += 1
            back, rest = (TTL + 1, TTL + HEALED) if way == "kept" else (LATE, HEALED)  # it caches answers
            for where, instance in self.truth.instances.items():
                labels = found.get(where)
                if labels is None:
                    if instance.lived(start - back, end):
                        if self._is_excused(instance, start - rest, end):
                            self.counts["not found, out of reach"] += 1
                        elif way == "new" and self.truth.changes_hands(instance.host, start, end):
                            # A new resolver knows no registries, and does not wait long for unknown peers.
                            self.counts["not found, its host changes hands"] += 1
                        else:
                            yield f"{said}: not {where}, which lived"
                elif instance.may_have_been(labels, start - TTL - 1, end):
                    self.counts["found"] += 1
                elif instance.may_have_been(labels, self._oldest(instance, lookup, rest), end):
                    self.counts["found, of before an outage"] += 1
                else:
                    was = "as it was" if instance.may_have_lived(start - TTL - 1, end) else "which was gone"
                    yield f"{said}: {where}, {was} {labels}"

    def _oldest(self, instance: Instance, lookup: Told, rest: float) -> float:
        """Returns the earliest time from which found data can be: services of a silent host stay until it is gone."""
        start, end = lookup["start"], lookup["end"]
        since = first_of(_and(self.truth.outages(self.host, instance.host), rest), end)
        out = since < end
        if instance.host in lookup["silent"] and (out or self.truth.is_empty(instance.host, start, end)):
            return float(start) - TTL - DROPPED  # the last answer may have gone to this program, not to its holder
        kept = TTL if lookup["way"] == "kept" else 0.0  # a cached answer may be this old
        return max(since - TTL - 1, start - kept - GONE - LATE) if out else float(start) - TTL - 1


def _and(spans: list[Span], rest: float) -> list[Span]:
    """Returns the spans, each extended by that much."""
    return [Span(span.begin, span.end + rest) for span in spans]


def _current(events: list[Told]) -> float:
    return next((event["at"] for event in events if event["event"] == "current"), FOREVER)
