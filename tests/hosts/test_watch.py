"""Watching between hosts: how soon a change, a killed program and a vanished host are seen, and nothing else is."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from bed import embedded
from bed.dig import dig
from bed.host import Host
from bed.process import wait_until
from conftest import MakeBed, Measured
from watch_programs import CODE, GONE, SOON, changer, spread

pytestmark = pytest.mark.namespaces


class Onlooker:
    """A program of :mod:`bed.onlooker`: what it was told, and that this was legal."""

    def __init__(self, host: Host) -> None:
        self.process = host.start([sys.executable, "-m", "bed.onlooker"], env={"PYTHONPATH": CODE})

    @property
    def told(self) -> list[dict[str, Any]]:
        """Every event so far."""
        *lines, _ = self.process.stdout.split("\n")
        return [json.loads(line) for line in lines]

    def standing(self) -> dict[str, dict[str, str]]:
        """Labels by endpoint as they are by the events, each of which has to be legal."""
        found: dict[str, dict[str, str]] = {}
        for event in self.told:
            where = event.get("where", "")
            if event["event"] in ("up", "update"):
                assert (where in found) == (event["event"] == "update"), event
                assert found.get(where) != event["labels"], event
                found[where] = event["labels"]
            elif event["event"] == "down":
                del found[where]
        return found

    def ready(self) -> Onlooker:
        """Waits for ``current``."""
        self.process.wait_for('"current"', 20)
        return self

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind."""
        return [event for event in self.told if event["event"] == kind]

    def until(self, condition: Callable[[dict[str, dict[str, str]]], bool], timeout: float = 5.0) -> None:
        """Waits until what stands is so."""
        assert wait_until(lambda: condition(self.standing()), timeout), self.process.stdout + self.process.stderr

    def until_these(self, where: set[str], timeout: float = 5.0) -> None:
        """Waits until these endpoints stand, and no others."""
        wait_until(lambda: self.standing().keys() == where, timeout)
        assert self.standing().keys() == where, self.process.stderr


def test_a_stopped_holder_keeps_nobody_from_hearing_of_the_others(make_bed: MakeBed) -> None:
    """Its connections stand, and say nothing: who watches is told by UDP that there is news, and connects anew."""
    bed = make_bed(["alpha", "bravo"])
    alpha = bed.host("alpha")
    holder, tenant = changer(alpha, 80), changer(alpha, 81, 1, 0.1)
    watcher = Onlooker(bed.host("bravo")).ready()
    watcher.until_these({f"{alpha.ipv4}:80", f"{alpha.ipv4}:81"})
    time.sleep(1)  # sessions are begun behind the first answer
    holder.signal(signal.SIGSTOP)
    tenant.signal(signal.SIGUSR1)
    tenant.wait_for("done")
    watcher.until(lambda standing: bool(standing.get(f"{alpha.ipv4}:81")), 8)
    assert [event["where"] for event in watcher.events("down")] in ([], [f"{alpha.ipv4}:80"])


def test_who_was_stopped_and_takes_over_knows_what_it_was_told_meanwhile(make_bed: MakeBed) -> None:
    """Its timers go off before it has read a word."""
    bed = make_bed(["alpha", "bravo"])
    alpha = bed.host("alpha")
    holder, tenant = changer(alpha, 80, 3, 0.1), changer(alpha, 81)
    tenant.signal(signal.SIGSTOP)
    holder.signal(signal.SIGUSR1)
    holder.wait_for("done")

    def told() -> str:
        answer = dig(bed.host("bravo"), alpha.ipv4, "web.minidisc", "TXT", "+norec").answer
        return next((line for line in answer if "t=" in line), "")

    assert wait_until(lambda: bool(told()))
    last = told()
    holder.signal(signal.SIGSTOP)
    time.sleep(1)  # longer than a holder may be silent
    tenant.signal(signal.SIGCONT)
    heard = {told() for _ in range(10)}
    assert last in heard
    assert heard <= {last, ""}


@pytest.mark.alone
def test_the_first_service_of_a_host_is_seen_at_once_by_hosts_with_a_registry(
    make_bed: MakeBed, measured: Measured
) -> None:
    """Who begins asks everybody, so it is not found by the next look at hosts where nobody was."""
    bed = make_bed(["alpha", "bravo"])
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    embedded.started(bravo, 81)
    watcher = Onlooker(bravo).ready()
    watcher.until_these({f"{bravo.ipv4}:81"})
    for port in range(90, 95):
        time.sleep(1)  # those who refuse are asked less and less often
        newcomer = alpha.start([sys.executable, "-m", "bed.newcomer", str(port)], env={"PYTHONPATH": CODE})
        watcher.until_these({f"{bravo.ipv4}:81", f"{alpha.ipv4}:{port}"})
        newcomer.signal(signal.SIGTERM)
        watcher.until_these({f"{bravo.ipv4}:81"})
    took = [event["at"] - float(event["labels"]["t"]) for event in watcher.events("up") if "t" in event["labels"]]
    measured(f"watching: a host's first service is up after {spread(took)}")
    assert len(took) == 5
    assert max(took) < SOON


@pytest.mark.alone
def test_a_killed_program_is_seen_and_its_own_services_alone(make_bed: MakeBed, measured: Measured) -> None:
    """The holder among three programs of a host, a tenant, the last one that there is."""
    bed = make_bed(["alpha", "bravo"])
    watcher = Onlooker(bed.host("bravo")).ready()
    took = []
    for round_ in range(5):
        ports = [9000 + 10 * round_ + number for number in range(3)]
        programs = {port: embedded.started(bed.host("alpha"), port) for port in ports}
        where = {port: f"{bed.host('alpha').ipv4}:{port}" for port in ports}
        watcher.until_these(set(where.values()), 10)
        for port in (ports[0], ports[2], ports[1]):
            time.sleep(0.5)  # sessions are begun behind the first answer
            begun = time.monotonic()
            programs.pop(port).kill()
            left = {where[each] for each in programs}
            watcher.until_these(left)
            took.append(watcher.events("down")[-1]["at"] - begun)
    measured(f"watching: a killed program's services are down after {spread(took)}")
    assert len(watcher.events("down")) == len(watcher.events("up")) == 15
    assert sorted(took)[len(took) * 99 // 100] < SOON, took


def test_a_vanished_host_is_down_and_up_again(make_bed: MakeBed, measured: Measured) -> None:
    bed = make_bed(["alpha", "bravo", "charlie"])
    for name in ("alpha", "charlie"):
        changer(bed.host(name))
    watcher = Onlooker(bed.host("bravo")).ready()
    watcher.until(lambda standing: len(standing) == 2)
    begun = time.monotonic()
    bed.cut("alpha")
    watcher.until_these({f"{bed.host('charlie').ipv4}:80"}, 12)
    gone = watcher.events("down")[-1]["at"] - begun
    begun = time.monotonic()
    bed.heal("alpha")
    watcher.until(lambda standing: len(standing) == 2, 15)
    back = watcher.events("up")[-1]["at"] - begun
    measured(f"watching: a vanished host is down after {gone:.1f} s, and up {back:.1f} s after it is back")
    assert gone < GONE
    assert len(watcher.events("down")) == 1


@pytest.mark.parametrize("command", [["wait", "web", "--for", "30"], ["watch", "web"]], ids=["wait", "watch"])
def test_who_waits_as_the_machine_boots_waits_for_the_network_too(make_bed: MakeBed, command: list[str]) -> None:
    bed = make_bed(["alpha", "bravo"])
    changer(bed.host("alpha"))
    bravo = bed.host("bravo")
    bravo.tailscaled.stop()
    process = bravo.start(["md", *command])
    process.wait_for("waiting for Tailscale: tailscaled is not running", 20)
    bravo.tailscaled.mode = "starting"
    bravo.tailscaled.start()
    process.wait_for("waiting for Tailscale: Tailscale is starting")
    bravo.tailscaled.mode = "ok"
    process.wait_for("the network is up")
    process.wait_for(f"{bed.host('alpha').ipv4}:80")
    assert process.stderr.count("md: ") == 3


def test_a_lost_session_alone_is_no_event(make_bed: MakeBed) -> None:
    """Alpha resets its TCP connections, and goes on."""
    bed = make_bed(["alpha", "bravo"])
    service = changer(bed.host("alpha"), 80, 3, 0.1)
    watcher = Onlooker(bed.host("bravo")).ready()
    watcher.until(lambda standing: len(standing) == 1)
    before = len(watcher.told)
    for _ in range(3):
        time.sleep(0.3)
        done = bed.host("alpha").run(["ss", "-K", "state", "established", "sport", "=", ":28004"])
        assert ":28004" in done.stdout, done
    time.sleep(1)
    assert len(watcher.told) == before
    service.signal(signal.SIGUSR1)
    service.wait_for("done")
    watcher.until(lambda standing: any(labels for labels in standing.values()))
    assert not watcher.events("down")


def test_a_short_cut_is_no_event(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    changer(bed.host("alpha"))
    watcher = Onlooker(bed.host("bravo")).ready()
    watcher.until(lambda standing: len(standing) == 1)
    before = len(watcher.told)
    bed.cut("alpha")
    time.sleep(2.5)
    bed.heal("alpha")
    time.sleep(6)
    assert len(watcher.told) == before


def test_a_partition_takes_down_whom_one_cannot_reach_and_nobody_else(make_bed: MakeBed) -> None:
    """Bravo is cut off: it loses alpha and charlie, they lose it, and keep each other."""
    bed = make_bed(["alpha", "bravo", "charlie"])
    for host in bed.hosts:
        changer(host)
    watchers = {host.node.name: Onlooker(host).ready() for host in bed.hosts}
    place = {host.node.name: f"{host.ipv4}:80" for host in bed.hosts}
    for watcher in watchers.values():
        watcher.until(lambda standing: len(standing) == 3)
    bed.cut("bravo")
    watchers["bravo"].until_these({place["bravo"]}, 12)
    for name in ("alpha", "charlie"):
        watchers[name].until_these({place["alpha"], place["charlie"]}, 12)
    bed.heal("bravo")
    for name, watcher in watchers.items():
        watcher.until(lambda standing: len(standing) == 3, 15)
        lost = {event["where"] for event in watcher.events("down")}
        assert lost == ({place["alpha"], place["charlie"]} if name == "bravo" else {place["bravo"]})
