"""Random changes, kills of any process, stops, cuts and partitions: what each host is told is legal and true.

The seed is printed; `MDDNS_CHAOS_SEED` and `MDDNS_CHAOS_SECONDS` set it, and how long it goes on (in CI a short form).
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from bed import judge, verdict
from bed.host import Host
from bed.hosts import Bed
from bed.process import Process, wait_until
from bed.truth import FOREVER, Span
from conftest import MakeBed, Measured
from watch_programs import CODE

SECONDS: Final = float(os.environ.get("MDDNS_CHAOS_SECONDS", "30"))
SEED: Final = int(os.environ.get("MDDNS_CHAOS_SEED") or random.randrange(1_000_000))
KEEP: Final = os.environ.get("MDDNS_CHAOS_KEEP")  # a file for all of it
HOSTS: Final = ("alpha", "bravo", "charlie", "delta")
MOST: Final = 3  # programs of a host
MOST_AT_ONCE: Final = 2  # cuts and partitions; the same for what is stopped
LONG: Final = 300.0  # seconds in which everything happens
JUDGED: Final = ("up", "update", "down", "looks", "found", "kept", "new", "mirror")  # of each there is some
SHOWN: Final = 40  # lines of what was wrong

# How often each is done, of their sum.
WHAT: Final = {
    "start": 10,  # so that most hosts have several, one of which takes over
    "kill": 4,
    "end": 2,
    "stop": 3,
    "cut": 3,
    "split": 1,
    "kill watcher": 1,
    "stop watcher": 1,
    "kill inquirer": 1,
    "stop inquirer": 1,
}
STOPS: Final = (0.1, 0.5, 1.5, 4.0, 8.0)  # seconds
CUTS: Final = (0.5, 3.0, 9.0, 15.0)

pytestmark = [pytest.mark.namespaces, pytest.mark.alone]


@dataclass
class Program:
    """A process, and what it said until now. `kind` is its module's name."""

    number: int
    kind: str
    host: Host
    process: Process
    address: str
    life: Span
    killed: Span | None = None
    stopped: list[Span] = field(default_factory=list)

    def said(self) -> list[dict[str, Any]]:
        """Its lines of JSON."""
        *lines, _ = self.process.stdout.split("\n")
        return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass
class Chaos:
    """What happens, by the dice."""

    bed: Bed
    dice: random.Random
    programs: list[Program] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    apart: set[str] = field(default_factory=set)  # hosts that are cut or split off
    parted: list[tuple[list[str], Span]] = field(default_factory=list)
    stopped: set[int] = field(default_factory=set)

    def living(self, kind: str, host: Host | None = None) -> list[Program]:
        """The programs of that kind that nobody has told to end."""
        return [p for p in self.programs if p.kind == kind and p.life.end == FOREVER and host in (None, p.host)]

    def start(self, kind: str, host: Host) -> None:
        """One more."""
        number = next(self.numbers)
        args = [str(number), str(9000 + 10 * number)] if kind == "restless" else []
        begun = time.monotonic()
        process = host.start([sys.executable, "-m", f"bed.{kind}", *args], env={"PYTHONPATH": CODE})
        self.programs.append(Program(number, kind, host, process, host.ipv4, Span(begun)))

    def until_ready(self) -> None:
        """Waits until every program has begun."""
        for program in self.programs:
            if program.life.end == FOREVER:
                program.process.wait_for("up" if program.kind == "restless" else "current", 30)

    def step(self) -> None:
        """Something happens."""
        self.undo(time.monotonic())
        what = self.dice.choices([*WHAT], [*WHAT.values()])[0]
        host = self.dice.choice(self.bed.hosts)
        if told := self.act(what, host):
            self.tally[what] += 1
            self.done.append(f"{time.monotonic():.2f} {what} {told}")
        wake = time.monotonic() + self.dice.uniform(0.0, 1.0)
        while (left := wake - time.monotonic()) > 0:
            time.sleep(min(left, max(0.0, self.later[0][0] - time.monotonic())) if self.later else left)
            self.undo(time.monotonic())

    def act(self, what: str, host: Host) -> str:
        """Does it; what it was done to, nothing where it cannot be done now."""
        kind = {"watcher": "onlooker", "inquirer": "inquirer"}.get(what.partition(" ")[2], "restless")
        living = self.living(kind, host)
        if what == "start" and len(living) < MOST:
            self.start("restless", host)
            return f"{self.programs[-1].number} on {host.name}"
        if what.startswith(("kill", "end")) and living:
            victim = self.dice.choice(living)
            self.end(victim, signal.SIGTERM if what == "end" else signal.SIGKILL)
            if kind != "restless":
                self.start(kind, host)
            return f"{victim.number} on {host.name}"
        if what.startswith("stop"):
            living = [each for each in living if each.number not in self.stopped]
            if living and len(self.stopped) < MOST_AT_ONCE:
                victim = self.dice.choice(living)
                return f"{victim.number} on {host.name} for {self.stop(victim)} s"
        if what in ("cut", "split") and host.name not in self.apart and len(self.apart) < 2 * MOST_AT_ONCE - 1:
            return f"{host.name} {self.part(what, host)} s"
        return ""

    def end(self, victim: Program, number: int) -> None:
        """Ends one."""
        begun = time.monotonic()
        victim.process.signal(number)
        victim.life.end = begun
        if number == signal.SIGKILL:
            victim.process.wait()
            victim.killed = Span(begun, time.monotonic())

    def stop(self, victim: Program) -> float:
        """Stops one for a while."""
        span, seconds = Span(time.monotonic()), self.dice.choice(STOPS)
        victim.stopped.append(span)
        self.stopped.add(victim.number)
        victim.process.signal(signal.SIGSTOP)

        def go_on() -> None:
            if victim.killed is None:
                victim.process.signal(signal.SIGCONT)
            span.end = time.monotonic()
            self.stopped.discard(victim.number)

        self.in_(seconds, go_on)
        return seconds

    def part(self, what: str, host: Host) -> str:
        """Cuts a host off, or two of them together, for a while."""
        names = [host.name]
        if what == "split" and (others := [name for name in HOSTS if name not in {host.name, *self.apart}]):
            names.append(self.dice.choice(others))
        span, seconds = Span(time.monotonic()), self.dice.choice(CUTS)
        together = len(names) > 1 and not self.apart
        self.parted += [(each, span) for each in ([names] if together else [[name] for name in names])]
        self.apart.update(names)
        if together:
            self.bed.split(*names)
        else:
            for name in names:
                self.bed.cut(name)

        def heal() -> None:
            for name in names:
                self.bed.heal(name)
            span.end = time.monotonic()
            self.apart.difference_update(names)

        self.in_(seconds, heal)
        return f"{'and ' + names[1] if names[1:] else ''} for {seconds}"

    def in_(self, seconds: float, what: Callable[[], None]) -> None:
        """Does something later."""
        heapq.heappush(self.later, (time.monotonic() + seconds, next(self.numbers), what))

    def undo(self, now: float) -> None:
        """Does what was to be done by now."""
        while self.later and self.later[0][0] <= now:
            heapq.heappop(self.later)[2]()

    def history(self) -> judge.History:
        """All that happened and was told until now."""
        return {
            "seed": SEED,
            "done": self.done,
            "end": time.monotonic(),
            "apart": [[hosts, [span.begin, span.end]] for hosts, span in self.parted],
            "programs": [
                {
                    "number": each.number,
                    "kind": each.kind,
                    "host": each.host.name,
                    "address": each.address,
                    "life": [each.life.begin, each.life.end],
                    "killed": each.killed and [each.killed.begin, each.killed.end],
                    "stopped": [[span.begin, span.end] for span in each.stopped],
                    "said": each.said(),
                }
                for each in self.programs
            ],
        }


def looked_up(host: Host) -> dict[str, dict[str, str]] | str:
    """What a program there finds that has just begun; what it says where that is nothing."""
    result = host.run(["md", "lookup", "web", "-o", "json"])
    if result.returncode != 0:
        return result.stderr
    return {each["addrPort"]: each["labels"] for each in json.loads(result.stdout)}


def test_through_everything_each_host_is_told_what_is_legal_and_true(make_bed: MakeBed, measured: Measured) -> None:
    measured(f"watching through chaos: seed {SEED}, {SECONDS:g} s")
    bed = make_bed(HOSTS)
    chaos = Chaos(bed, random.Random(SEED))
    for host in bed.hosts:
        for kind in ("restless", "onlooker", "inquirer"):
            chaos.start(kind, host)
    chaos.until_ready()
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        chaos.step()
    chaos.undo(FOREVER)
    chaos.until_ready()
    living = chaos.living("restless")
    for each in chaos.programs:
        if each.life.end != FOREVER:
            each.process.wait(10)
    for each in living:
        each.process.signal(signal.SIGUSR1)
    for each in living:
        each.process.wait_for("resting", 10)
    last = judge.last(judge.truth_of(chaos.history()))
    assert last, "nothing is left to be seen"
    views = {each.host.name: each for each in chaos.living("onlooker")}
    wait_until(lambda: all(verdict.standing(each.said()) == last for each in views.values()), 15)
    left = {name: verdict.standing(each.said()) for name, each in views.items()}
    history = chaos.history()
    if KEEP:
        Path(KEEP).write_text(json.dumps(history))
    found = wait_until(lambda: looked_up(bed.hosts[0]) == last, 15)
    ended = [each for each in chaos.programs if each.life.end == FOREVER and each.process.returncode is not None]
    judged: Counter[str] = Counter()
    wrong = [*judge.wrong(history, judged)]
    told = Counter(event.get("event", event.get("way")) for each in chaos.programs for event in each.said())
    instances = len(judge.truth_of(history).instances)
    measured(f"{dict(chaos.tally)} happened to {len(chaos.programs)} processes, {instances} instances")
    measured(f"of these: {judge.befell(history)}")
    measured(f"told: {dict(told)}")
    measured(f"judged: {dict(judged)}")
    assert all(judged[each] for each in JUDGED), judged
    assert SECONDS < LONG or set(chaos.tally) == set(WHAT), chaos.tally
    assert not ended, (SEED, ended)
    late = sum(fault.late for fault in wrong)
    measured(f"wrong: {len(wrong) - late}; late: {late}")
    assert not wrong, "\n".join(
        [f"seed {SEED}, {len(wrong)} faults:", *(fault.text for fault in wrong[:SHOWN]), *chaos.done]
    )
    assert left == dict.fromkeys(HOSTS, last), (SEED, chaos.done)
    assert found, (SEED, looked_up(bed.hosts[0]), last, chaos.done)
