"""Judges the history of a run. ``python -m bed.judge FILE`` judges a stored history again.

A history is JSON. ``end`` is a time. ``apart`` has pairs: hosts, and begin and end of the time in which they were split
from all others. ``programs`` has for each its ``number``, ``kind`` (its module), ``host``, ``address``, ``life`` (until
the request to end), ``killed`` (the times between which it was killed, or null), ``stopped`` (when it was stopped) and
``said`` (its output).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import verdict
from .truth import FOREVER, Span, Truth

History = dict[str, Any]


def truth_of(history: History) -> Truth:
    """The truth of a history."""
    truth = Truth(apart=[(frozenset(hosts), Span(*span)) for hosts, span in history["apart"]])
    for each in history["programs"]:
        number, said = each["number"], each["said"]
        truth.stopped[number] = [Span(*span) for span in each["stopped"]]
        if each["kind"] == "restless":
            begin, end = each["life"]
            if not each["killed"] and end != FOREVER:
                # A stopped program that gets SIGTERM ends after it continues; it has ended when it prints so.
                end = max([end, *(line["at"] for line in said[-1:])])
            truth.lives[number] = each["host"], Span(begin, end)
            killed = Span(*each["killed"]) if each["killed"] else None
            truth.program(number, each["host"], each["address"], said, killed)
    return truth


class Fault(NamedTuple):
    """A fault in an event or a lookup. `late`: it was true once, or soon after; otherwise it never was."""

    text: str
    late: bool


def wrong(history: History, counts: Counter[str]) -> Iterator[Fault]:
    """The faults in all events and lookups; `counts` gets the numbers of what was judged."""
    truth = truth_of(history)
    for each in history["programs"]:
        if each["kind"] == "restless":
            continue
        said, who = each["said"], f"{each['kind']} {each['number']} on {each['host']}"
        judge = verdict.Judge(truth, each["host"], each["number"], each["life"][0], counts)
        if each["kind"] == "inquirer":
            faults, late = [*judge.invented(said)], judge.false(said)
        else:
            faults, late = (
                [*verdict.illegal(said), *judge.untrue(said)],
                judge.late(said, min(each["life"][1], history["end"])),
            )
            if each["life"][1] == FOREVER and (view := verdict.standing(said)) != (true := last(truth)):
                faults.append(f"at the end {view}, and {true} is true")
        yield from (Fault(f"{who}: {fault}", False) for fault in faults)
        yield from (Fault(f"{who}: {fault}", True) for fault in late)


def last(truth: Truth) -> dict[str, Any]:
    """The services at the end: labels by endpoint. ValueError if that is not certain."""
    found = {}
    for where, instance in truth.instances.items():
        (labels,) = instance.states[-1]
        if labels is not None:
            found[where] = labels
    return found


def befell(history: History) -> dict[str, int]:
    """What happened to programs that may be holders: how often the eldest was hit, or no program was left."""
    counts: Counter[str] = Counter()
    truth = truth_of(history)
    for each in history["programs"]:
        if each["kind"] != "restless":
            continue
        moments = [("kill", each["killed"][0])] if each["killed"] else []
        moments += [("stop", begin) for begin, _ in each["stopped"]]
        for what, moment in moments:
            there = [
                number
                for number, (host, life) in truth.lives.items()
                if host == each["host"] and life.meets(moment, moment) and truth.joined.get(number, FOREVER) <= moment
            ]
            able = [n for n in there if n == each["number"] or not truth.is_stopped(n, moment, moment)]
            if min(able, default=None) == each["number"]:
                counts[f"{what} of the eldest" if len(able) > 1 else f"{what} of the only one"] += 1
            else:
                counts[f"{what} of a younger one"] += 1
    return dict(counts)


def main() -> None:
    """Prints the faults, and what was judged."""
    counts: Counter[str] = Counter()
    faults = [fault.text for fault in wrong(json.loads(Path(sys.argv[1]).read_text()), counts)]
    sys.stdout.write("\n".join([*faults, f"{dict(counts)}", ""]))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
