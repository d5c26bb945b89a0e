"""A tailnet policy that blocks the port of mddns: what programs report, and that the doctor's advice fixes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bed.process import wait_until

from .control import OPEN
from .looking import doctor, md, offer, seen, tcp, udp, until_seen
from .net import RealTailnet

WEB, WWW = "100.64.0.1:8080", "100.64.0.3:80"
SHUT_AT_CHARLIE = {
    "acls": [
        {"action": "accept", "src": ["*"], "dst": ["100.64.0.1/32:*", "100.64.0.2/32:*", "100.64.0.4/32:*"]},
        {"action": "accept", "src": ["*"], "dst": ["100.64.0.3/32:1-28003", "100.64.0.3/32:28005-65535"]},
    ]
}
WEB_ALONE = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["tcp:80"]}]}


@pytest.fixture(scope="module", autouse=True)
def services(net: RealTailnet, whole: None) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(offer(net["alpha"], "web", ":8080"))
        stack.enter_context(offer(net["charlie"], "www", ":80"))
        yield


@pytest.fixture
def shut_at_charlie(net: RealTailnet) -> Iterator[None]:
    until_seen(net["delta"], WEB, WWW)
    until_seen(net["alpha"], WEB, WWW)
    net.control.policy(SHUT_AT_CHARLIE)
    try:
        assert wait_until(lambda: udp(net["delta"], net["charlie"].ipv4) == "silent", 20)
        yield
    finally:
        net.control.policy(OPEN)
        assert wait_until(lambda: udp(net["delta"], net["charlie"].ipv4) == "answered", 20)


def test_a_node_behind_a_policy_is_silent(net: RealTailnet, shut_at_charlie: None) -> None:
    """Neither kernel nor tailscaled reports it: for UDP and TCP the node looks offline. Its other ports refuse."""
    delta, charlie = net["delta"], net["charlie"]
    assert [udp(delta, each) for each in charlie.addresses] == ["silent", "silent"]
    assert [tcp(delta, each) for each in charlie.addresses] == ["silent", "silent"]
    assert (udp(delta, charlie.ipv4, 28003), tcp(delta, charlie.ipv4, 28003)) == ("ECONNREFUSED", "ECONNREFUSED")

    # `md` names the silent node, and that is not a failure; in the other direction the port is open.
    listed = md(delta, "list", "-o", "name")
    assert (listed.returncode, set(listed.stdout.split())) == (0, {WEB})
    assert "1 of 3 peers was silent: charlie" in listed.stderr
    assert md(delta, "--strict", "list").returncode == 4
    assert WEB in seen(net["charlie"])

    found = doctor(delta)["peers"]
    assert found["state"] == "warn", found
    assert "1 silent: charlie (was a registry). A firewall or policy probably blocks" in found["message"]
    assert found["fix"].startswith("add to the grants of the tailnet's policy")


def test_a_program_on_a_host_with_a_registry_is_told_who_is_silent(net: RealTailnet, shut_at_charlie: None) -> None:
    """The program queries that registry, which waits for charlie each time its data has become stale."""
    for _ in range(12):
        done = md(net["alpha"], "list", "-o", "name")
        assert WWW in done.stdout.split() or "silent: charlie" in done.stderr, done


def test_the_grant_that_the_doctor_prints_mends_it(net: RealTailnet) -> None:
    delta = net["delta"]
    until_seen(delta, WEB, WWW)
    net.control.policy(WEB_ALONE)
    try:
        assert wait_until(lambda: {udp(delta, net[each].ipv4) for each in ("alpha", "charlie")} == {"silent"}, 20)
        assert md(delta, "list").returncode == 3
        found = doctor(delta)["peers"]
        assert found["state"] == "fail"
        printed = re.search(r"\{.*\}", found["fix"])
        assert printed is not None, found
        net.control.policy({"grants": [*WEB_ALONE["grants"], json.loads(printed[0])]})
        until_seen(delta, WEB, WWW)
        assert doctor(delta)["peers"]["state"] == "ok"
    finally:
        net.control.policy(OPEN)
        assert wait_until(lambda: tcp(delta, net["alpha"].ipv4, 9) == "ECONNREFUSED", 20)
