"""Programs of one host that watch share its holder's mirror: one session for each other host, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from bed import embedded
from bed.embedded import ports
from bed.freshness import seen_by_questions
from bed.host import Host
from bed.hosts import Bed
from bed.process import Process, wait_until
from bed.tailnet import Node
from conftest import MakeBed, Measured
from places import ROOT, TESTS
from watch_programs import GONE, SOON, changer, spread

_CODE: Final = os.pathsep.join((str(TESTS), str(ROOT)))
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


def holder_of(programs: list[Process]) -> Process:
    """Which of a host's programs answers for it."""

    def holding() -> list[Process]:
        return [each for each in programs if each.stdout.split()[-1] == "holder"]

    assert wait_until(lambda: bool(holding()))
    return holding()[0]


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


def test_what_a_service_says_is_what_it_says_directly(make_bed: MakeBed) -> None:
    """Remote ones, of two hosts, of a host of nobody; with owner, tags, labels, aliases, numbers and RTT."""
    phone = Node("phone", os="android")
    bed = make_bed([Node("alpha", tags=("tag:web",)), Node("bravo", user="grace@example.com"), "charlie"], [phone])
    alpha, bravo, charlie = bed.hosts
    remote = f"{phone.ipv4}:5432"
    alpha.start(
        ["md", "advertise", "Café", ":80", "env=prod", "x=", "--priority", "3", "--srv", "cafe", "--srv", "http"]
    )
    alpha.start(["md", "advertise", "db", remote, "by=alpha"]).wait_for("advertised", 20)
    bravo.start(["md", "advertise", "db", remote, "by=bravo"])
    bravo.start(["md", "advertise", "lan", "192.0.2.7:1"])
    bravo.start(["md", "advertise", "syslog", ":514", "--protocol", "udp"]).wait_for("advertised", 20)
    charlie.start(["md", "advertise", "own", ":1"]).wait_for("advertised", 20)
    by_mirror, direct = Onlookers(charlie), Onlookers(charlie, 1, "direct=1")
    for each in (by_mirror, direct):
        each.ready().until_count(5)
    assert by_mirror.standing() == direct.standing()
    assert len(sessions(charlie)) == 3
    seen = by_mirror.standing()[0]
    assert seen[f"db {remote}"]["remote"]
    assert seen[f"db {remote}"]["labels"] == {"by": "alpha"}
    assert (seen[f"Café {alpha.ipv4}:80"]["tags"], seen[f"Café {alpha.ipv4}:80"]["host"]) == (["tag:web"], "alpha")
    assert all(isinstance(event["rttMs"], float) for event in by_mirror.events("up"))


ENDS: Final = {"kill": signal.SIGKILL, "close": signal.SIGTERM, "stop": signal.SIGSTOP}


@pytest.mark.parametrize("how", ENDS)
def test_when_the_holder_goes_its_successor_mirrors_and_nothing_is_told_twice(make_bed: MakeBed, how: str) -> None:
    """Three times; meanwhile something changes elsewhere."""
    bed = make_bed(["alpha", "bravo", "charlie"])
    alpha, bravo, charlie = bed.hosts
    elsewhere = changer(charlie, 80, 1000, 0.05)
    programs = [embedded.started(alpha, 9000 + number) for number in range(4)]
    embedded.started(bravo, 81)
    watchers = Onlookers(alpha, 3).ready().until_count(6)
    assert wait_until(lambda: sessions(alpha) == {alpha.ipv4: 3, bravo.ipv4: 1, charlie.ipv4: 1}), sessions(alpha)
    elsewhere.signal(signal.SIGUSR1)
    for left in (5, 4, 3):
        holder = holder_of(programs)
        programs.remove(holder)
        holder.signal(ENDS[how])
        watchers.until_count(left, 10)
        holder_of(programs)
        before = len(watchers.events("update"))
        assert wait_until(lambda: len(watchers.events("update")) > before + 30, 10)  # noqa: B023 - called at once
    elsewhere.signal(signal.SIGKILL)
    watchers.until_count(2)
    assert len(watchers.events("up")) == 3 * 6
    assert len(watchers.events("down")) == 3 * 4


def test_without_a_holder_every_host_is_asked_and_with_a_new_one_none(make_bed: MakeBed) -> None:
    """The last program of the host ends, another one begins: nothing of other hosts is told again."""
    bed = make_bed(["alpha", "bravo", "charlie"])
    alpha, bravo, charlie = bed.hosts
    for host in (bravo, charlie):
        embedded.started(host, 81)
    watchers = Onlookers(alpha, 3).ready().until_count(2)
    direct = {bravo.ipv4: 3, charlie.ipv4: 3}
    assert wait_until(lambda: sessions(alpha) == direct), sessions(alpha)
    for end in (signal.SIGKILL, signal.SIGTERM):
        holder = embedded.started(alpha, 82)
        watchers.until_count(3)
        shared = {alpha.ipv4: 3, bravo.ipv4: 1, charlie.ipv4: 1}
        assert wait_until(lambda: sessions(alpha) == shared, 10), sessions(alpha)  # noqa: B023 - called at once
        holder.signal(end)
        watchers.until_count(2)
        assert wait_until(lambda: sessions(alpha) == direct, 10), sessions(alpha)
    assert len(watchers.events("up")) == 3 * (2 + 2)
    assert len(watchers.events("down")) == 3 * 2


def test_a_vanished_host_is_down_by_the_mirror_too_and_up_when_it_is_back(
    make_bed: MakeBed, measured: Measured
) -> None:
    bed = make_bed(["alpha", "bravo", "charlie"])
    for number, host in enumerate(bed.hosts):
        embedded.started(host, 80 + number)
    watchers = Onlookers(bed.host("alpha"), 3).ready().until_count(3)
    begun = time.monotonic()
    bed.cut("bravo")
    watchers.until_count(2, 12)
    gone = max(event["at"] for event in watchers.events("down")) - begun
    bed.heal("bravo")
    watchers.until_count(3, 15)
    measured(f"watching by a mirror: a vanished host is down after {gone:.1f} s")
    assert gone < GONE
    assert len(watchers.events("down")) == 3


def test_a_program_that_answers_for_its_host_and_watches_shares_its_own_mirror(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    alpha, bravo = bed.hosts
    embedded.started(bravo, 81)
    watchers = Onlookers(alpha, 2, "registry=80").ready().until_count(2)
    assert wait_until(lambda: sessions(alpha) == {alpha.ipv4: 2, bravo.ipv4: 1}), sessions(alpha)
    watchers.process.terminate()


def test_whoever_asks_a_host_that_watches_is_told_what_it_watches(make_bed: MakeBed, measured: Measured) -> None:
    """RD=1, of the whole network: each change at once, though answers else are as old as their TTL; and nobody is asked
    for it, so that one who says nothing does not hold it up.
    """
    bed = make_bed(["alpha", "bravo", "charlie"])
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    process = changer(alpha, 80, 100, 0.05)
    bravo.start(["md", "advertise", "db", ":5432"]).wait_for("advertised")
    onlookers = Onlookers(bravo).ready().until_count(2)
    process.signal(signal.SIGUSR1)
    took = bed.host("charlie").call(seen_by_questions, bravo.ipv4, 99, 28004)
    measured(f"RD=1 to a host that watches: a change on another one is in the answer after {spread(took)}")
    assert len(took) >= 90
    assert sorted(took)[len(took) * 99 // 100] < SOON
    process.wait_for("done", 20)
    assert ports(bed, "+rec", "+tcp", host="bravo", name="db") == {5432}
    process.kill()
    onlookers.until_count(1)
    assert ports(bed, "+rec", host="bravo") == set()


def test_each_domain_has_a_mirror_and_each_watcher_its_own_policy(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    alpha, bravo = bed.hosts
    for host, port in ((alpha, 80), (bravo, 81)):
        embedded.started(host, port)
        embedded.started(host, port + 10, "domain=other", name="far")
    bravo.start(["md", "advertise", "lan", "192.0.2.7:1"]).wait_for("advertised", 20)
    ours = Onlookers(alpha, 2).ready().until_count(3)
    local = Onlookers(alpha, 2, "policy=local").ready().until_count(2)
    other = Onlookers(alpha, 2, "domain=other").ready().until_count(2)
    assert wait_until(lambda: sessions(alpha) == {alpha.ipv4: 6, bravo.ipv4: 2}), sessions(alpha)
    names = [{where.split()[0] for where in each.standing()[0]} for each in (ours, local, other)]
    assert names == [{"web", "lan"}, {"web"}, {"far"}]
