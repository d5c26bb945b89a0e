"""Random starts, changes, kills, stops, cuts and partitions, watched by every host: what is told is legal and true.

The seed is printed; `MDDNS_CHAOS_SEED` and `MDDNS_CHAOS_SECONDS` set it, and how long it goes on (in CI a short form).
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from typing import Final

import pytest
from bed.host import Host
from bed.hosts import Bed
from bed.process import Process
from conftest import MakeBed, Measured
from test_hosts_watch import GONE, Onlooker, changer

SECONDS: Final = float(os.environ.get("MDDNS_CHAOS_SECONDS", "30"))
SEED: Final = int(os.environ.get("MDDNS_CHAOS_SEED") or random.randrange(1_000_000))
MOST: Final = 3  # programs of a host
LONGEST_STOP: Final = 1.5  # seconds; a host whose only program is stopped for longer has vanished
_FOREVER: Final = float("inf")

pytestmark = pytest.mark.namespaces


@dataclass
class Program:
    """A program, and what is true of it: written before it is made so, and after."""

    process: Process
    where: str
    host: str
    born: float
    ending: float = _FOREVER  # when it began to end


@dataclass
class Chaos:
    """What happens, by the dice."""

    bed: Bed
    dice: random.Random
    programs: list[Program] = field(default_factory=list)
    cuts: list[tuple[str, float, float]] = field(default_factory=list)  # host, from, until
    ports: int = 9000
    done: list[str] = field(default_factory=list)

    def living(self, host: str | None = None) -> list[Program]:
        """Those that run."""
        return [each for each in self.programs if each.ending == _FOREVER and host in (None, each.host)]

    def start(self, host: Host) -> None:
        """One more, which changes its labels all the while."""
        self.ports += 1
        process = changer(host, self.ports, 1_000_000, 0.3)
        process.signal(signal.SIGUSR1)
        self.programs.append(Program(process, f"{host.ipv4}:{self.ports}", host.node.name, time.monotonic()))

    def step(self) -> None:
        """Something happens."""
        host = self.dice.choice(self.bed.hosts)
        living = self.living(host.node.name)
        what = self.dice.choice(["start", "start", "kill", "kill", "end", "stop", "cut", "rest"])
        self.done.append(f"{time.monotonic():.3f} {what} {host.node.name}")
        if what == "start" and len(living) < MOST:
            self.start(host)
        elif what in ("kill", "end") and living:
            victim = self.dice.choice(living)
            self.done[-1] += f" {victim.where}"
            victim.ending = time.monotonic()
            victim.process.signal(signal.SIGKILL if what == "kill" else signal.SIGTERM)
        elif what == "stop" and living:
            victim = self.dice.choice(living)
            self.done[-1] += f" {victim.where}"
            victim.process.signal(signal.SIGSTOP)
            time.sleep(self.dice.uniform(0.1, LONGEST_STOP))
            victim.process.signal(signal.SIGCONT)
        elif what == "cut":
            self.bed.cut(host.node.name)
            begun = time.monotonic()
            time.sleep(self.dice.choice([0.5, 3.0, 9.0]))
            self.bed.heal(host.node.name)
            self.cuts.append((host.node.name, begun, time.monotonic()))
        time.sleep(self.dice.uniform(0.0, 0.5))

    def was_cut(self, moment: float, *hosts: str) -> bool:
        """Whether one of these was out of reach not long before."""
        return any(host in hosts and begun <= moment <= end + GONE for host, begun, end in self.cuts)


def test_through_everything_each_watcher_is_told_what_is_legal_and_true(make_bed: MakeBed, measured: Measured) -> None:
    measured(f"watching through chaos: seed {SEED}, {SECONDS:g} s")
    bed = make_bed(["alpha", "bravo", "charlie", "delta"])
    chaos = Chaos(bed, random.Random(SEED))
    for host in bed.hosts:
        chaos.start(host)
    watchers = {host.node.name: Onlooker(host).ready() for host in bed.hosts}
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        chaos.step()
    living = {each.where for each in chaos.living()}
    ended = {each.where: each.process.returncode for each in chaos.living() if each.process.returncode is not None}
    assert not ended, (SEED, chaos.done)
    truth = {each.where: each for each in chaos.programs}
    wrong = []
    for name, watcher in watchers.items():
        watcher.until_these(living, 15)
        for event in watcher.events("down"):
            program, at = truth[event["where"]], event["at"]
            if at < program.ending and not chaos.was_cut(at, name, program.host):
                wrong.append(f"{name} was told {event}, and it lived (until {program.ending})")
    assert not wrong, (SEED, wrong, chaos.done)
    told = sum(len(watcher.told) for watcher in watchers.values())
    measured(f"{len(chaos.done)} things happened, {len(chaos.programs)} programs, {told} events told")
