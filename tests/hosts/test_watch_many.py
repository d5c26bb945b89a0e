"""Watching on 2, 10 and 50 hosts: how soon each watcher sees a change, a killed program and a vanished host."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

import pytest
from bed import verdict
from bed.embedded import processor_time
from bed.forks import Forked, Forks
from bed.process import wait_until
from conftest import MakeBed, Measured
from watch_programs import GONE, SOON, spread

CHANGES: Final = 60  # about, in all
SPACING: Final = 0.020  # seconds between two of them, and for each host more: every watcher hears of each
A_HOST_MORE: Final = 0.010
UNEVEN: Final = 0.25  # of that, more or less
KILLED: Final = 5  # programs, at most
MOST_OF_OTHERS: Final = 0.25  # of the processors' time: with more of it, the limit in ms is not held against us
LIMITED: Final = 10  # hosts; fifty have a hundred processes, which two processors carry only just: told, not asserted
PATIENCE: Final = 90.0  # seconds for a hundred processes to begin, on a machine that others keep busy too
SETTLED_WITHIN: Final = 30.0

pytestmark = [pytest.mark.namespaces, pytest.mark.alone]


class Neighbours:
    """How much of the processors others have while we measure: with much of it, times are theirs."""

    def __init__(self, ours: list[Forked]) -> None:
        self._ours = ours
        self._busy, self._own, self._begun = busy(), self._used(), time.monotonic()

    def _used(self) -> float:
        return sum(os.times()[:2]) + sum(processor_time(each) for each in self._ours)

    def share(self) -> float:
        """Theirs, since this was made."""
        available = (time.monotonic() - self._begun) * (os.cpu_count() or 1)
        return (busy() - self._busy - (self._used() - self._own)) / available


def busy() -> float:
    """Seconds for which the machine's processors were busy."""
    user, nice, system, _idle, _wait, *others = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


def until_settled(ours: list[Forked]) -> None:
    """Waits until they need no more than a fifth of the processors, for a second; goes on if they never do."""

    def used() -> float:
        return sum(map(processor_time, ours))

    def settled() -> bool:
        before, begun = used(), time.monotonic()
        time.sleep(1)
        return used() - before < 0.2 * (os.cpu_count() or 1) * (time.monotonic() - begun)

    wait_until(settled, SETTLED_WITHIN)


def told(watcher: Forked) -> list[dict[str, Any]]:
    """Every event so far."""
    *lines, _ = watcher.stdout.split("\n")
    return [json.loads(line) for line in lines]


def until_all_see(watchers: list[Forked], where: set[str]) -> None:
    """Waits until for every watcher these endpoints stand, and no others."""

    def those() -> list[int]:
        return [n for n, each in enumerate(watchers) if verdict.standing(told(each)).keys() != where]

    assert wait_until(lambda: not those(), PATIENCE), [told(watchers[number])[-5:] for number in those()[:3]]


def since(watchers: list[Forked], where: str, begun: float) -> list[float]:
    """Seconds after which each was told that it is down."""
    downs = ([e["at"] for e in told(each) if e["event"] == "down" and e["where"] == where] for each in watchers)
    return [at - begun for (at,) in downs]


@pytest.mark.parametrize("count", [2, 10, 50])
def test_everybody_sees_a_change_a_killed_program_and_a_vanished_host_in_time(
    make_bed: MakeBed, measured: Measured, count: int
) -> None:
    bed = make_bed([f"host{number}" for number in range(count)])
    each_changes, pause = max(1, CHANGES // count), SPACING + count * A_HOST_MORE
    command = "bed.changer", "80", str(each_changes), str(count * pause), str(UNEVEN / count)
    with Forks() as forks:
        changers = {}
        for host in bed.hosts:  # one after the other: all at once would take each other's processor
            process = forks.start(host, *command)
            changers[f"{host.ipv4}:80"] = process
            process.wait_for("up", PATIENCE)
        watchers = [forks.start(host, "bed.onlooker") for host in bed.hosts]
        until_all_see(watchers, set(changers))
        until_settled([*changers.values(), *watchers])  # sessions are begun behind the first answer
        neighbours = Neighbours([*changers.values(), *watchers])
        for process in changers.values():  # one after the other: what is told is how long one change takes
            process.signal(signal.SIGUSR1)
            time.sleep(pause)
        for process in changers.values():
            process.wait_for("done", PATIENCE)
        changes = each_changes * count
        seen: list[dict[str, Any]] = []

        def all_seen() -> bool:
            seen[:] = [event for each in watchers for event in told(each) if event["event"] == "update"]
            return len(seen) == changes * count

        assert wait_until(all_seen, PATIENCE), (len(seen), changes * count)
        took = sorted(event["at"] - float(event["labels"]["t"]) for event in seen)
        measured(f"watching, {count} hosts, each with a watcher: a change is seen after {spread(took)}")
        others = neighbours.share()
        died = []
        left = dict(changers)
        for where in [*changers][1 : 1 + KILLED]:
            begun = time.monotonic()
            left.pop(where).signal(signal.SIGKILL)
            time.sleep(count * pause / 25)  # reading what all have been told takes a processor from them
            until_all_see(watchers, set(left))
            died += since(watchers, where, begun)
        measured(f"watching, {count} hosts: a killed program is down after {spread(died)}")
        (*_, vanishing) = left
        host = next(host for host in bed.hosts if f"{host.ipv4}:80" == vanishing)
        begun = time.monotonic()
        bed.cut(host.name)
        left.pop(vanishing)
        left_behind = [each for each, at in zip(watchers, bed.hosts, strict=True) if at is not host]
        until_all_see(left_behind, set(left))
        gone = since(left_behind, vanishing, begun)
        measured(f"watching, {count} hosts: a vanished host is down after {max(gone):.1f} s at the latest")
        for each in watchers:
            assert not [*verdict.illegal(told(each))]
    if others > MOST_OF_OTHERS:
        measured(f"watching, {count} hosts: other programs had {others:.0%} of the processors, so this says little")
    elif count <= LIMITED:
        assert took[len(took) * 99 // 100] < SOON
        assert sorted(died)[len(died) * 99 // 100] < SOON
    assert max(gone) < GONE
