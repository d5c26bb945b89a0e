"""Compares the events and lookups of a chaos test with the truth. Each function returns the faults as sentences.

The limits are those of the model: the result of a lookup is as old as the TTL at most; watchers see a change at once, a
vanished host within ten seconds, and a host that is back within five. "At once" is a little later here, because dozens
of programs share two processors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from .truth import FOREVER, Instance, Span, Truth, first_of, longest

TTL: Final = 5.0
LATE: Final = 3.0  # seconds within which all watchers see a change, even if a holder was stopped meanwhile
ALONE: Final = 4.5  # the same if no program of the own host answers: a second, three queries, then all peers
GONE: Final = 10.0  # seconds within which a vanished host is down
DROPPED: Final = 30.0  # seconds after which a resolver without a watch drops the services of a silent host
HEALED: Final = 5.0  # seconds within which a host that is back is up, with all that has changed there
THRICE: Final = 4.0  # minimum seconds for three queries, after which a host counts as vanished
BEGUN: Final = 10.0  # seconds within which a new watch has all services
SAMPLE: Final = 0.25  # seconds between two checks of the current services

Told = dict[str, Any]


def illegal(events: list[Told]) -> Iterator[str]:
    """Impossible sequences of events of an instance, and repeated events."""
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
    """Whether only one has `since`: the HTTP list, which serves until DNS is available, lacks it."""
    return (before is None) != (since is None)


def standing(events: list[Told]) -> dict[str, dict[str, str]]:
    """The labels by endpoint that result from the events."""
    found = {}
    for event in events:
        if event["event"] in ("up", "update"):
            found[event["where"]] = event["labels"]
        elif event["event"] == "down":
            found.pop(event["where"], None)
    return found


@dataclass
class Judge:
    """Judges what programs of the `host` saw. `counts` has what was judged, and what was excused and why."""

    truth: Truth
    host: str
    number: int
    began: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)

    # Of watching

    def untrue(self, events: list[Told]) -> Iterator[str]:
        """False events: ``down`` of a service that lived and was reachable, ``up`` or ``update`` to an untrue state."""
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
        """Services that a watch still had long after their end or change, and services that it had not got for long."""
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
        """The time before `at` from which on it may still not have seen changes of reachable hosts."""
        begin = first_of(_and(self.truth.stops(self.number), LATE), at)
        return begin - self._late(begin)

    def _late(self, at: float) -> float:
        """The seconds within which programs of the host see a change, whatever happened to its holder."""
        return LATE + min(ALONE - LATE, longest(self.truth.mute(self.host), at - ALONE, at))

    def _known(self, instance: Instance, at: float) -> float:
        """The earliest time of which data at `at` may be: during an outage no newer data came from the host."""
        outages = self.truth.outages(self.host, instance.host)
        begin = first_of([*_and(outages, HEALED), *_and(self.truth.stops(self.number), LATE)], at)
        return begin - self._late(begin)

    def _is_excused(self, instance: Instance, begin: float, end: float) -> bool:
        """Whether a watcher may lack the service at the end of the period, though it lived."""
        return self.truth.is_stopped(instance.program, begin, end) or self.truth.is_out(
            self.host, instance.host, begin, end
        )

    def _may_be_down(self, instance: Instance, at: float) -> bool:
        """Whether ``down`` is right though the service lives: the watcher may notice the end of an outage late."""
        outages = self.truth.outages(self.host, instance.host)
        since = first_of(_and(outages, LATE), at)
        return self.truth.is_stopped(instance.program, self._heard(at), at) or at - since >= THRICE

    def _has_vanished(self, instance: Instance, now: float) -> bool:
        # A new holder starts again with its three queries, and so does a program that is left without a holder.
        disturbed = self.truth.is_disturbed(self.host, now - GONE - ALONE, now)
        longer = GONE + SAMPLE + (ALONE if disturbed else 0.0)
        if self._stopped(now - longer, now):
            return False  # while stopped it could not receive anything
        return longest(self.truth.sure_outages(self.host, instance.host), now - longer, now) >= longer

    # Of lookups

    def invented(self, lookups: list[Told]) -> Iterator[str]:
        """Lookups that found services that were never offered, or duplicates."""
        for lookup in lookups:
            said = f"{lookup['way']}, {lookup['start']:.2f} to {lookup['end']:.2f}"
            if len(lookup["found"]) != lookup["count"]:
                yield f"{said}: something found twice"
            for where in lookup["found"].keys() - self.truth.instances.keys():
                yield f"{said}: {where}, which nobody offered"

    def false(self, lookups: list[Told]) -> Iterator[str]:
        """Lookups that found services that did not exist, or missed services that had existed for long."""
        for lookup in lookups:
            start, end, found, way = lookup["start"], lookup["end"], lookup["found"], lookup["way"]
            if self._stopped(start, end):
                self.counts["lookups while stopped"] += 1
                continue
            said = f"{way}, {start:.2f} to {end:.2f}, silent {lookup['silent']}"
            self.counts[way] += 1
            back, rest = (TTL + 1, TTL + HEALED) if way == "kept" else (LATE, HEALED)  # it caches responses
            for where, instance in self.truth.instances.items():
                labels = found.get(where)
                if labels is None:
                    if instance.lived(start - back, end):
                        if self._is_excused(instance, start - rest, end):
                            self.counts["not found, out of reach"] += 1
                        elif way == "new" and self.truth.changes_hands(instance.host, start, end):
                            # A new resolver knows no registries yet, so it does not wait for this one.
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
        """The earliest time of which a result may be: the data of a silent host is valid until it counts as gone."""
        start, end = lookup["start"], lookup["end"]
        since = first_of(_and(self.truth.outages(self.host, instance.host), rest), end)
        out = since < end
        if instance.host in lookup["silent"] and (out or self.truth.is_empty(instance.host, start, end)):
            return float(start) - TTL - DROPPED  # perhaps its last response to this program, not to the holder
        kept = TTL if lookup["way"] == "kept" else 0.0  # the data may be cached for as long as this
        return max(since - TTL - 1, start - kept - GONE - LATE) if out else float(start) - TTL - 1


def _and(spans: list[Span], rest: float) -> list[Span]:
    """The spans, each longer by `rest` seconds."""
    return [Span(span.begin, span.end + rest) for span in spans]


def _current(events: list[Told]) -> float:
    return next((event["at"] for event in events if event["event"] == "current"), FOREVER)
