"""What others were told while chaos went on, held against the truth: each function gives what was wrong, in words.

The limits are the issue's and the model's: a lookup's answer is as old as the TTL at most, a change is seen at once, a
vanished host within ten seconds. Two processors for dozens of programs make all of it a little later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .truth import FOREVER, Instance, Truth

TTL: Final = 5.0
LATE: Final = 3.0  # seconds in which everybody has heard of a change, also where a holder was stopped meanwhile
ALONE: Final = 5.0  # the same where nobody of one's own host answers: three questions, a second apart, then all others
GONE: Final = 10.0  # seconds in which a host that vanished is down
DROPPED: Final = 30.0  # seconds in which what a silent host has said is dropped by who does not watch
HEALED: Final = 6.0  # seconds in which a host that is back is up
SAMPLE: Final = 0.25  # seconds between two looks at what stands

Told = dict[str, Any]


def illegal(events: list[Told]) -> Iterator[str]:
    """Sequences that no instance can have, and what was told twice."""
    standing: dict[str, tuple[str, object]] = {}
    latest: dict[str, str] = {}
    if sum(event["event"] == "current" for event in events) > 1:
        yield "current, twice"
    for event in events:
        if event["event"] not in ("up", "update", "down"):
            continue
        where, labels = event["where"], event["labels"]
        time = labels.get("t", "0")
        if event["event"] == "down":
            if standing.pop(where, None) is None:
                yield f"{event}, and it was not up"
            continue
        if (where in standing) != (event["event"] == "update"):
            yield f"{event}, and it was {'' if where in standing else 'not '}up"
        # Who lists its services by HTTP, as one does whose DNS is not there yet, does not say since when they are.
        told = time, event.get("since")
        if standing.get(where) == told or float(time) < float(latest.get(where, 0)):
            yield f"{event}, and what was told before was as new"
        standing[where], latest[where] = told, time


def untrue(truth: Truth, host: str, number: int, events: list[Told]) -> Iterator[str]:
    """A ``down`` of what lived in reach; an ``up`` or ``update`` to what was not so."""
    for event in events:
        if event["event"] not in ("up", "update", "down"):
            continue
        where, at = event["where"], event["at"]
        if where not in truth.instances:
            yield f"{event}, and nobody offered that"
        elif truth.is_stopped(number, at - LATE, at, LATE):
            continue  # it reads now what it was told before
        elif event["event"] == "down":
            if truth.must_see(host, where, at - _late(truth, host, at), at, GONE):
                yield f"{event}, and it lived"
        elif not truth.instances[where].may_have_been(event["labels"], at - _known(truth, host, event), at):
            yield f"{event}, and it was not so"


def _known(truth: Truth, host: str, event: Told) -> float:
    """How long ago what is told may have been so: who begins is told what is known of a host that is not gone yet."""
    elsewhere, at = truth.instances[event["where"]].host, event["at"]
    return (
        GONE
        if event["event"] == "up" and truth.is_apart(host, elsewhere, at - GONE, at, 0.0)
        else _late(truth, host, at)
    )


def _late(truth: Truth, host: str, at: float) -> float:
    """In how many seconds those of a host have heard of what is so since then, whatever befell its holder."""
    return ALONE if truth.is_mute(host, at - ALONE, at, 0.0) else LATE


def standing(events: list[Told]) -> dict[str, dict[str, str]]:
    """Labels by endpoint, by the events."""
    found = {}
    for event in events:
        if event["event"] in ("up", "update"):
            found[event["where"]] = event["labels"]
        elif event["event"] == "down":
            found.pop(event["where"], None)
    return found


def late(truth: Truth, host: str, number: int, events: list[Told], until: float) -> Iterator[str]:
    """What stood long after it was gone, and what was there for long and did not stand."""
    current = next((event["at"] for event in events if event["event"] == "current"), FOREVER)
    stands: set[str] = set()
    rest = [event for event in events if "where" in event]
    now = current + LATE
    while now < until:
        while rest and rest[0]["at"] <= now:
            event = rest.pop(0)
            if event["event"] == "down":
                stands.discard(event["where"])
            elif event["event"] in ("up", "update"):
                stands.add(event["where"])
        if not truth.is_stopped(number, now - LATE, now, LATE):
            within = _late(truth, host, now)
            for where, instance in truth.instances.items():
                if where not in stands and instance.ended < now - within:
                    continue
                if where not in stands and truth.must_see(host, where, now - within, now, HEALED):
                    yield f"{where} was there for {within:g} s at {now:.2f} and was not told of"
                elif where in stands and not instance.may_have_lived(now - GONE - within, now):
                    yield f"{where} was gone for {GONE + within:g} s at {now:.2f} and still told of"
        now += SAMPLE


def false(truth: Truth, host: str, number: int, lookups: list[Told]) -> Iterator[str]:
    """Lookups that found what was not there, or did not find what was there for long."""
    for lookup in lookups:
        start, end, found, way = lookup["start"], lookup["end"], lookup["found"], lookup["way"]
        back = _late(truth, host, start) if way == "mirror" else TTL + 1
        if truth.is_stopped(number, start - back, end, LATE):
            continue
        if len(found) != lookup["count"]:
            yield f"{way}, {start:.2f} to {end:.2f}: something found twice"
        said = f"{way}, {start:.2f} to {end:.2f}, silent {lookup['silent']}"
        for where, instance in truth.instances.items():
            if where not in found:
                if instance.ended > start and truth.must_see(host, where, start - back, end, HEALED):
                    yield f"{said}: not {where}, which lived"
            elif not instance.may_have_lived(start - _oldest(truth, host, instance, lookup, back), end):
                yield f"{said}: {where}, which was gone"
        for where in found.keys() - truth.instances.keys():
            yield f"{said}: {where}, which nobody offered"


def _oldest(truth: Truth, host: str, instance: Instance, lookup: Told, back: float) -> float:
    """How long ago what a lookup found may have been so: what a silent host said stands until it is gone."""
    if instance.host in lookup["silent"] and lookup["way"] != "mirror":
        return TTL + DROPPED
    start, end = lookup["start"], lookup["end"]
    apart = truth.is_apart(host, instance.host, start - GONE, end, GONE)
    return GONE + LATE if apart or truth.is_mute(instance.host, start - GONE, end, GONE) else back
