"""Userspace networking: charlie's tailscaled has no device. Tests what the README and docs/operate.md say about it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bed.dig import dig
from bed.process import wait_until

from .likeness import check_likeness
from .looking import doctor, md, offer, tcp, udp, until_seen
from .machine import Machine
from .net import RealTailnet

WEB = "100.64.0.1:8080"

ECHO = """
import socket, time
stream = socket.create_server(("127.0.0.1", 7000))
datagrams = socket.socket(type=socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 7000))
print("up", flush=True)
connection, source = stream.accept()
print("tcp %s:%s" % source, flush=True)
_, source = datagrams.recvfrom(99)
print("udp %s:%s" % source, flush=True)
time.sleep(3600)
"""

CALL = """
import socket, sys, time
stream = socket.create_connection((sys.argv[1], 7000))
socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", (sys.argv[1], 7000))
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def charlie(net: RealTailnet, whole: None) -> Iterator[Machine]:
    charlie = net["charlie"]
    charlie.down(signal.SIGTERM)
    net.start("charlie", "--tun=userspace-networking", "--socks5-server=localhost:1055")
    charlie.wait_for_state("Running")
    net["delta"].wait_for_peer("charlie", Online=True)
    net["delta"].reach("charlie")
    with ExitStack() as stack:
        stack.enter_context(offer(net["alpha"], "web", ":8080"))
        stack.enter_context(net["alpha"].start([sys.executable, "-m", "http.server", "8080", "--bind", "100.64.0.1"]))
        stack.enter_context(charlie.start([sys.executable, "-m", "http.server", "8081", "--bind", "127.0.0.1"]))
        stack.enter_context(offer(charlie, "www", ":8081"))
        until_seen(net["delta"], WEB, f"{charlie.ipv4}:8081")
        yield charlie
    charlie.down(signal.SIGTERM)


def curl(node: Machine, *words: str) -> str:
    return node.run(["curl", "-sS", "-m", "8", "-o", "/dev/null", "-w", "%{http_code}", *words], timeout=20).stdout


def test_there_is_no_device_and_no_resolver(charlie: Machine) -> None:
    assert charlie.status()["TUN"] is False
    check_likeness(charlie)
    assert "tailscale0" not in charlie.run(["ip", "-brief", "link"]).stdout
    assert charlie.run(["cat", "/etc/resolv.conf"]).stdout == ""


def test_what_it_offers_is_found_and_reached(net: RealTailnet, charlie: Machine) -> None:
    found = md(net["delta"], "find", "www").stdout.strip()
    assert found == f"{charlie.ipv4}:8081"
    assert wait_until(lambda: curl(net["delta"], f"http://{found}/") == "200", 10)


def test_a_peer_is_told_what_it_offers_and_nothing_merged(net: RealTailnet, charlie: Machine) -> None:
    """All queries seem to be local, so the node cannot check which clients have access."""
    assert dig(net["delta"], charlie.ipv4, "www.minidisc", "SRV", "+norec").rcode == "NOERROR"
    assert dig(net["delta"], charlie.ipv6, "www.minidisc", "SRV", "+norec", "+tcp").rcode == "NOERROR"
    assert dig(net["delta"], charlie.ipv4, "www.minidisc", "SRV").rcode == "REFUSED"


def test_a_port_of_nobody_is_silent_over_udp_and_refused_over_tcp(net: RealTailnet, charlie: Machine) -> None:
    assert (udp(net["delta"], charlie.ipv4, 29999), tcp(net["delta"], charlie.ipv4, 29999)) == (
        "silent",
        "ECONNREFUSED",
    )


def test_other_machines_services_are_not_found_and_the_doctor_says_why(charlie: Machine) -> None:
    done = md(charlie, "list", "-o", "name")
    assert (done.returncode, done.stdout.split()) == (0, [f"{charlie.ipv4}:8081"]), done.stderr
    assert "userspace networking, so md cannot find services of other machines" in done.stderr
    found = doctor(charlie)
    assert "userspace networking" in found["addresses"]["message"]
    assert "Userspace networking cannot reach them" in found["peers"]["message"]
    assert (found["port"]["state"], found["port"]["data"]["registry"]) == ("ok", True)


def test_programs_go_out_by_socks(net: RealTailnet, charlie: Machine) -> None:
    """By address and by the node's name; also HTTP to a registry's port, which lists the services of that node."""
    by = ["--socks5-hostname", "localhost:1055"]
    assert curl(charlie, *by, f"http://{WEB}/") == "200"
    assert curl(charlie, *by, "http://alpha:8080/") == "200"
    listed = charlie.run(["curl", "-sS", "-m", "8", *by, "http://100.64.0.1:28004/services"], timeout=20).stdout
    assert [each["addrPort"] for each in json.loads(listed)] == [WEB]


def test_whois_knows_who_is_behind_a_forwarded_connection(net: RealTailnet, charlie: Machine) -> None:
    with charlie.start([sys.executable, "-c", ECHO]) as echo:
        echo.wait_for("up")
        with net["delta"].start([sys.executable, "-c", CALL, charlie.ipv4]):
            for kind in ("tcp", "udp"):
                source = echo.wait_for(kind, 10).split()[1]
                assert source.startswith("127.0.0.1:")
                code, body = charlie.local(f"whois?addr={source}&proto={kind}")
                assert (code, json.loads(body)["Node"]["ComputedName"]) == (200, "delta")
