"""Programs of one host that watch share its holder's mirror: one session for each other host, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from bed import embedded
from bed.host import Host
from bed.hosts import Bed
from bed.process import wait_until
from conftest import MakeBed, Measured
from test_hosts_watch import GONE, SOON, changer, spread

_CODE: Final = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parent.parent)))
_UNLIKE: Final = ("at", "who", "event", "rttMs")

pytestmark = pytest.mark.namespaces


class Onlookers:
    """A program of :mod:`bed.onlookers`: what its watchers were told, each of which has to be legal."""

    def __init__(self, host: Host, count: int = 1, *options: str) -> None:
        argv = [sys.executable, "-m", "bed.onlookers", str(count), *options]
        self.count = count
        self.host = host
        self.process = host.start(argv, env={"PYTHONPATH": _CODE})

    @property
    def told(self) -> list[dict[str, Any]]:
        """Every event so far."""
        *lines, _ = self.process.stdout.split("\n")
        return [json.loads(line) for line in lines]

    def standing(self) -> list[dict[str, dict[str, Any]]]:
        """What stands for each watcher, by endpoint."""
        found: list[dict[str, dict[str, Any]]] = [{} for _ in range(self.count)]
        for event in self.told:
            seen, where = found[event["who"]], f"{event.get('name')} {event.get('addrPort')}"
            if event["event"] in ("up", "update"):
                assert (where in seen) == (event["event"] == "update"), event
                told = {key: value for key, value in event.items() if key not in _UNLIKE}
                assert seen.get(where) != told, event
                seen[where] = told
            elif event["event"] == "down":
                del seen[where]
        return found

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of these kinds."""
        return [event for event in self.told if event["event"] in kinds]

    def until(self, condition: Callable[[dict[str, dict[str, Any]]], bool], timeout: float = 20.0) -> Onlookers:
        """Waits until it is so for each watcher."""
        held = wait_until(lambda: all(condition(seen) for seen in self.standing()), timeout)
        assert held, (self.host.name, self.standing(), self.process.stderr)
        return self

    def until_count(self, count: int, timeout: float = 20.0) -> Onlookers:
        """Waits until so many services stand for each."""
        return self.until(lambda seen: len(seen) == count, timeout)

    def ready(self) -> Onlookers:
        """Waits until each is current."""
        assert wait_until(lambda: len(self.events("current")) == self.count, 20), self.process.stderr
        return self


def sessions(host: Host) -> dict[str, int]:
    """How many TCP connections it has made to port 28004, by the address they go to."""
    done = host.run(["ss", "-Htn", "state", "established", "dport", "=", ":28004"])
    found: dict[str, int] = {}
    for line in done.stdout.splitlines():
        address = line.split()[-1].rpartition(":")[0]
        found[address] = found.get(address, 0) + 1
    return found


def shared(bed: Bed, watchers: int) -> bool:
    """Whether each host has one session with each other one, and its watchers theirs with its own holder."""
    everybody = [host.ipv4 for host in bed.hosts]
    return all(
        sessions(host) == {address: watchers if address == host.ipv4 else 1 for address in everybody}
        for host in bed.hosts
    )


def test_ten_hosts_with_ten_watchers_each_have_one_session_a_pair(make_bed: MakeBed, measured: Measured) -> None:
    """And all hundred see each change, and a killed program."""
    bed = make_bed([f"host{number}" for number in range(10)])
    changers = [changer(host, 80, 5, 2.0) for host in bed.hosts]
    victim = embedded.started(bed.hosts[3], 81, name="victim")
    programs = [Onlookers(host, 10) for host in bed.hosts]
    for program in programs:
        program.ready().until_count(11)
    assert wait_until(lambda: shared(bed, 10), 20), [sessions(host) for host in bed.hosts]
    for process in changers:
        process.signal(signal.SIGUSR1)
    for process in changers:
        process.wait_for("done", 60)
    killed = time.monotonic()
    victim.kill()
    took, fell = [], []
    for program in programs:
        program.until_count(10)
        took += [event["at"] - float(event["labels"]["t"]) for event in program.events("update")]
        fell += [event["at"] - killed for event in program.events("down")]
        assert len(program.events("up")) == 110
    assert shared(bed, 10), [sessions(host) for host in bed.hosts]
    total = sum(sum(sessions(host).values()) for host in bed.hosts)
    measured(
        f"10 hosts with 10 watchers each: {total - 100} sessions between hosts (90 ordered pairs), 100 with holders; a "
        f"change is seen after {spread(took)}; a killed program after {spread(fell)}"
    )
    assert len(fell) == 100
    assert len(took) >= 0.9 * 100 * 10 * 5
    assert sorted(took)[len(took) * 99 // 100] < SOON
    assert max(fell) < SOON
