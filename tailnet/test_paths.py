"""Packet paths, and errors without a path: relays, unplugged nodes, refusals, and an `Online` that is wrong."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bed.dig import dig

from .likeness import check_likeness
from .looking import md, offer, tcp, udp, until_seen
from .net import RealTailnet

WEB, DB = "100.64.0.1:8080", "100.64.0.2:5432"


@pytest.fixture(scope="module", autouse=True)
def services(net: RealTailnet, whole: None) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(offer(net["alpha"], "web", ":8080"))
        stack.enter_context(offer(net["bravo"], "db", ":5432"))
        yield


def test_a_node_without_a_registry_refuses_at_once(net: RealTailnet) -> None:
    """ICMP errors come back through the tunnel, for both families, and TCP connections are reset."""
    for address in net["delta"].addresses:
        assert (udp(net["alpha"], address), tcp(net["alpha"], address)) == ("ECONNREFUSED", "ECONNREFUSED")


def test_an_address_of_nobody_is_unreachable_or_silent(net: RealTailnet) -> None:
    """IPv4 has a route for each node, IPv6 one for all of them, and tailscaled sends no error for dropped packets."""
    assert (udp(net["alpha"], "100.64.0.77"), tcp(net["alpha"], "100.64.0.77")) == ("ENETUNREACH", "ENETUNREACH")
    assert (udp(net["alpha"], "fd7a:115c:a1e0::4d"), tcp(net["alpha"], "fd7a:115c:a1e0::4d")) == ("silent", "silent")


def test_a_path_is_direct_and_falls_back_to_the_relay(net: RealTailnet) -> None:
    delta, bravo = net["delta"], net["bravo"]
    until_seen(delta, WEB, DB)
    delta.tailscale("ping", "-c", "20", "--timeout=3s", "bravo", timeout=60)  # ends when there is a direct path
    told = delta.peer("bravo")
    assert told is not None
    assert (told["CurAddr"].partition(":")[0], told["Relay"]) == (bravo.underlay, "bed")
    check_likeness(delta)

    bravo.shut("iifname eth0 meta l4proto udp")
    try:
        # bravo is silent until tailscaled gives up the path.
        until_seen(delta, WEB, DB, timeout=40)
        told = delta.peer("bravo")
        assert told is not None
        assert (told["CurAddr"], told["Relay"], told["Online"]) == ("", "bed", True)
        assert dig(delta, bravo.ipv4, "db.minidisc").rcode == "NOERROR"
        assert "bravo-5432.db.minidisc." in dig(delta, bravo.ipv4, "minidisc", "AXFR").text
    finally:
        bravo.calm()


def test_online_is_still_told_of_who_is_cut_off(net: RealTailnet) -> None:
    """The control server notices it late, if at all; `md` says at once which node is silent."""
    until_seen(net["delta"], WEB, DB)
    net.cut("bravo")
    try:
        done = md(net["delta"], "list", "-o", "name")
        assert (done.returncode, done.stdout.split()) == (0, [WEB])
        assert "silent: bravo" in done.stderr
        told = net["delta"].peer("bravo")
        assert told is not None
        assert told["Online"] is True
    finally:
        net.heal("bravo")
    until_seen(net["delta"], WEB, DB, timeout=40)


CALL = """
import socket, sys, time
sock = socket.socket(type=socket.SOCK_DGRAM)
while True:
    sock.sendto(b"x", (sys.argv[1], 9))
    time.sleep(0.2)
"""


def test_who_has_lost_the_control_server_alone_is_found_all_the_same(net: RealTailnet, tmp_path: Path) -> None:
    """`Online` is false then. Traffic keeps the path alive, because the relay is lost with the control server."""
    delta, bravo = net["delta"], net["bravo"]
    until_seen(delta, WEB, DB)
    with bravo.start([sys.executable, "-c", CALL, delta.ipv4]), delta.start([sys.executable, "-c", CALL, bravo.ipv4]):
        bravo.tailscale("ping", "-c", "20", "--timeout=3s", "delta", timeout=60)
        net.control.turn_away(bravo.underlay)
        try:
            delta.wait_for_peer("bravo", 40, Online=False)
            until_seen(delta, WEB, DB, timeout=5)
            # A node that has never queried it finds it too.
            done = delta.run(["md", "list", "-o", "name"], env={"XDG_CACHE_HOME": str(tmp_path)}, timeout=20)
            assert set(done.stdout.split()) == {WEB, DB}
        finally:
            net.control.calm()
        delta.wait_for_peer("bravo", 60, Online=True)


def test_offline_is_told_ten_seconds_after_the_end_of_a_daemon(net: RealTailnet) -> None:
    net["charlie"].down(signal.SIGKILL)
    try:
        told = net["delta"].wait_for_peer("charlie", 30, Online=False)
        assert told["LastSeen"] == "0001-01-01T00:00:00Z", "news that comes as a difference has no time"
        check_likeness(net["delta"])
        assert md(net["delta"], "list").stderr == "", "who was no registry is not missed"
    finally:
        net.start("charlie")
        net["charlie"].wait_for_state("Running")
        net["delta"].wait_for_peer("charlie", 30, Online=True)
