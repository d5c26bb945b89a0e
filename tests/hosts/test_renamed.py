"""A machine or a whole tailnet is renamed: what is offered stands, so watchers hear of an update and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from bed.host import Host
from bed.hosts import Bed
from bed.process import Process
from conftest import MakeBed

pytestmark = pytest.mark.namespaces
HOSTS = ["alpha", "bravo", "charlie"]


def events(process: Process) -> list[dict[str, object]]:
    *lines, _ = process.stdout.split("\n")
    return [json.loads(line) for line in lines]


def one_machine(bed: Bed) -> None:
    bed.host("alpha").node.name = "omega"


def the_tailnet(bed: Bed) -> None:
    bed.tailnet.suffix = "other-name.ts.net"


def two_swap(bed: Bed) -> None:
    alpha, bravo = bed.host("alpha").node, bed.host("bravo").node
    alpha.name, bravo.name = bravo.name, alpha.name


def all_machines(bed: Bed) -> None:
    for number, host in enumerate(bed.hosts):
        host.node.name = f"machine{number}"


@pytest.mark.parametrize("beside_a_registry", [False, True])
@pytest.mark.parametrize("rename", [one_machine, the_tailnet, two_swap, all_machines])
def test_nothing_is_down_and_the_leader_stays(
    rename: Callable[[Bed], None], beside_a_registry: bool, make_bed: MakeBed
) -> None:
    bed = make_bed(HOSTS)
    for name in ("alpha", "bravo"):
        bed.host(name).start(["md", "advertise", "web", ":8080"]).wait_for("advertised")
    charlie = bed.host("charlie")
    if beside_a_registry:
        charlie.start(["md", "advertise", "other", ":81"]).wait_for("advertised")
    watch = charlie.start(["md", "watch", "web", "-o", "jsonl"])
    watch.wait_for('"current"', 20)
    forwarder = charlie.start(["md", "forward", "--listen", f"{charlie.ipv4}:5353", "--upstream", "127.0.0.1#9"])
    forwarder.wait_for("Ctrl-C ends it")
    _until_two(charlie)
    before = len(events(watch))
    rename(bed)
    for host in bed.hosts:
        host.tailscaled.ring()
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert _answers(charlie) == 2
    told = events(watch)[before:]
    assert {each["event"] for each in told} <= {"update"}, told


def _answers(host: Host) -> int:
    argv = ["dig", "+short", "+tries=1", "+time=2", "SRV", "web.minidisc", f"@{host.ipv4}", "-p", "5353"]
    return len(host.run(argv).stdout.splitlines())


def _until_two(host: Host) -> None:
    until = time.monotonic() + 10
    while _answers(host) != 2:
        assert time.monotonic() < until
        time.sleep(0.05)
