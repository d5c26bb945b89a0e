"""Registries, `md`, dig and Minidisc on a real tailnet: what users do, from another node each time."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bed import minidisc
from bed.asker import Asker, Heard, faults
from bed.dig import dig
from bed.embedded import begin
from bed.process import Process, wait_until

from .looking import doctor, md, offer, seen, until_seen, until_unseen
from .net import RealTailnet

WEB, DB = "100.64.0.1:8080", "100.64.0.2:5432"


@pytest.fixture(scope="module", autouse=True)
def services(net: RealTailnet, whole: None) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(offer(net["alpha"], "web", ":8080", "env=prod"))
        stack.enter_context(offer(net["bravo"], "db", ":5432"))
        yield


@pytest.mark.parametrize("name", ["alpha", "bravo", "charlie", "delta"])
def test_every_node_lists_all(net: RealTailnet, name: str) -> None:
    until_seen(net[name], WEB, DB)


def test_a_service_tells_whose_it_is(net: RealTailnet) -> None:
    (web,) = json.loads(md(net["charlie"], "lookup", "web", "env=prod", "-o", "json").stdout)
    expected = {"addrPort": WEB, "host": "alpha", "owner": "ada@example.com", "network": "tailscale", "tags": []}
    assert {key: web[key] for key in expected} == expected


def test_find_gives_one_endpoint_and_nothing_found_is_1(net: RealTailnet) -> None:
    found = md(net["delta"], "find", "db")
    assert (found.returncode, found.stdout.strip()) == (0, DB)
    assert md(net["delta"], "find", "nosuch").returncode == 1


def test_an_ordinary_user_may_look(net: RealTailnet) -> None:
    """All users may read the socket of tailscaled."""
    # Loads all modules before, as other users cannot read the folder of the code.
    load = "import os, mddns, mddns.networks.tailscale, mddns.default, mddns.lookup.sockets; "
    drop = "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3); "
    ask = "print(mddns.find_service('db'))"
    done = net["delta"].run([sys.executable, "-c", load + drop + ask])
    assert done.stdout.strip() == DB, done.stderr


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("peer", ["alpha", "bravo"])
def test_dig_is_told_of_all_by_any_node(net: RealTailnet, peer: str, family: int) -> None:
    server = net[peer].ipv6 if family == 6 else net[peer].ipv4
    reply = dig(net["delta"], server, "web.minidisc", "SRV")
    assert reply.rcode == "NOERROR"
    assert reply.answer == {"web.minidisc. SRV 10 10 8080 alpha-8080.web.minidisc."}
    assert "alpha-8080.web.minidisc. A 100.64.0.1" in reply.additional


def test_without_recursion_a_node_tells_its_own(net: RealTailnet) -> None:
    assert dig(net["delta"], net["bravo"].ipv4, "web.minidisc", "SRV", "+norec").rcode == "NXDOMAIN"
    assert dig(net["delta"], net["bravo"].ipv4, "db.minidisc", "SRV", "+norec").rcode == "NOERROR"


def test_a_zone_is_transferred(net: RealTailnet) -> None:
    said = dig(net["charlie"], net["bravo"].ipv4, "minidisc", "AXFR").text
    assert "bravo-5432.db.minidisc." in said


def test_who_watches_is_told_at_once(net: RealTailnet) -> None:
    with net["charlie"].start(["md", "watch", "-o", "jsonl"]) as watching:
        watching.wait_for('"current"', 20)
        with offer(net["bravo"], "late", ":7777") as late:
            assert "100.64.0.2:7777" in watching.wait_for('"late"', 20)
            late.kill()
            assert wait_until(
                lambda: any("down" in line and "late" in line for line in watching.stdout.splitlines()), 20
            )


def test_minidiscs_programs_and_ours_find_each_other(net: RealTailnet) -> None:
    with minidisc.registry(net["charlie"], ("theirs", 6006, {"lang": "python"})) as theirs:
        theirs.wait_for("advertised", 20)
        until_seen(net["delta"], "100.64.0.3:6006")
        assert {("web", WEB), ("db", DB), ("theirs", "100.64.0.3:6006")} <= minidisc.list_services(net["delta"])
        assert minidisc.find_service(net["delta"], "web", env="prod") == WEB
    until_unseen(net["delta"], "100.64.0.3:6006")


def test_a_holder_that_is_killed_costs_no_survivors_answer(net: RealTailnet) -> None:
    programs = {port: begin(net["charlie"], port) for port in range(9001, 9006)}
    with ExitStack() as stack:
        for program in map(stack.enter_context, programs.values()):
            program.wait_for("up", 20)
        asker = Asker(net["delta"], net["charlie"])
        running = dict(programs)
        with asker.running():
            for _ in range(3):
                port, holder = _holder(running)
                del running[port]
                holder.kill()
                _holder(running)
        survivors = set(running)
        assert faults(asker.heard, lambda _: survivors, _nobody) == []


def test_the_doctor_finds_nothing_wrong(net: RealTailnet) -> None:
    found = doctor(net["alpha"])
    for check in ("tailscaled", "addresses", "port", "peers", "versions", "live"):
        assert found[check]["state"] == "ok", found[check]


def test_what_is_gone_is_not_listed(net: RealTailnet) -> None:
    with offer(net["charlie"], "brief", ":4444"):
        until_seen(net["delta"], "100.64.0.3:4444")
    assert "100.64.0.3:4444" not in seen(net["delta"])


def _holder(running: dict[int, Process]) -> tuple[int, Process]:
    """The process that now answers for the host."""

    def holders() -> list[int]:
        places = {port: [w for w in each.stdout.split() if w in ("holder", "tenant")] for port, each in running.items()}
        return [port for port, said in places.items() if said[-1:] == ["holder"]]

    assert wait_until(lambda: len(holders()) == 1, 10), holders()
    port = holders()[0]
    return port, running[port]


def _nobody(_: Heard) -> set[int]:
    return set()
