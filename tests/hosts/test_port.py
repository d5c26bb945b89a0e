"""Trouble with the port: programs that have it, and a process that has no file descriptor left."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack

import pytest
from bed.embedded import begin, ports, processor_time, started
from bed.hosts import Bed
from bed.process import wait_until
from conftest import MakeBed, Measured


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def test_where_only_tcp_is_taken_udp_is_answered_and_tcp_when_it_is_free(bed: Bed) -> None:
    """Told in one line, however often it is tried."""
    alpha = bed.host("alpha")
    with alpha.socket_tcp(28004):
        holder = started(alpha, 9001)
        assert ports(bed, "+notcp") == {9001}
        time.sleep(6)  # so that it has been tried again
    assert wait_until(lambda: ports(bed, "+tcp") == {9001}, timeout=10)
    assert holder.stderr.count("in use by another program") == 1
    assert f"TCP {alpha.ipv4}:28004 is in use by another program (pid {os.getpid()}" in holder.stderr


def test_who_waits_for_the_port_has_it_when_it_is_free(bed: Bed) -> None:
    alpha = bed.host("alpha")
    with alpha.socket_udp(28004):
        waiting = begin(alpha, 9001, "wait=30")
        time.sleep(2.5)
        assert waiting.returncode is None
    waiting.wait_for("up", timeout=10)
    assert ports(bed) == {9001}


def test_md_waits_for_the_port_where_it_is_told_to(bed: Bed) -> None:
    alpha = bed.host("alpha")
    with alpha.socket_udp(28004):
        waiting = alpha.start(["md", "advertise", "--wait", "30", "web", ":9001"])
        assert f"pid {os.getpid()}" in waiting.wait_for("waiting for the port", timeout=10)
    waiting.wait_for("advertised", timeout=10)
    assert ports(bed) == {9001}


def test_who_has_waited_long_enough_is_told_who_has_the_port(bed: Bed) -> None:
    alpha = bed.host("alpha")
    with alpha.socket_udp(28004):
        waiting = begin(alpha, 9001, "wait=2")
        assert waiting.wait(timeout=10) == 1
    assert f"PortInUse: UDP {alpha.ipv4}:28004 is in use by another program (pid {os.getpid()}" in waiting.stderr


def test_a_program_that_has_taken_every_descriptor_is_answered_for_still(bed: Bed) -> None:
    """Whoever connects waits, and that keeps no processor busy."""
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    holder = started(alpha, 9001, "hog=1", descriptors=64)
    with ExitStack() as pressing:
        for _ in range(4):
            pressing.enter_context(bravo.connect_tcp(alpha.ipv4))
        before, begun = processor_time(holder), time.monotonic()
        while time.monotonic() < begun + 2.5:
            for rd in ("+norec", "+rec"):
                assert ports(bed, rd, "+notcp") == {9001}
        used = (processor_time(holder) - before) / (time.monotonic() - begun)
    assert used < 0.2
    assert holder.stderr.count("raise the limit of open files") == 1
    assert "Traceback" not in holder.stderr


def test_without_descriptors_udp_goes_on(bed: Bed, measured: Measured) -> None:
    """64 of them, pressed by 100 TCP connections from many addresses and by 100 local ones that say nothing."""
    if not bed.namespaces:
        pytest.skip("loopback hosts have one address each")
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    holder = started(alpha, 9001, descriptors=64)
    sources = [f"100.64.7.{number}" for number in range(1, 26)]
    for source in sources:
        assert bravo.run(["ip", "address", "add", f"{source}/10", "dev", "tailscale0"]).returncode == 0
    with ExitStack() as pressing:
        for number in range(100):
            remote = bravo.call(socket.socket, socket.AF_INET, socket.SOCK_STREAM)
            pressing.enter_context(remote)
            remote.setblocking(False)
            remote.bind((sources[number % len(sources)], 0))
            remote.connect_ex((alpha.ipv4, 28004))
            local = pressing.enter_context(alpha.call(socket.socket, socket.AF_UNIX, socket.SOCK_STREAM))
            local.setblocking(False)
            local.connect_ex(f"\0mddns-{alpha.ipv4}-28004")
        before, begun = processor_time(holder), time.monotonic()
        slowest = 0.0
        while time.monotonic() < begun + 2.5:
            asked = time.monotonic()
            for rd in ("+norec", "+rec"):
                assert ports(bed, rd, "+notcp") == {9001}
            slowest = max(slowest, time.monotonic() - asked)
        used = (processor_time(holder) - before) / (time.monotonic() - begun)
        descriptors = len(os.listdir(f"/proc/{holder.pid}/fd"))
    measured(
        f"64 descriptors, 200 connections: two questions took {1000 * slowest:.0f} ms at most (dig included), "
        f"{100 * used:.0f} % of a processor, {descriptors} descriptors in use"
    )
    assert used < 0.2
    assert len(holder.stderr.splitlines()) <= 4, holder.stderr
    assert wait_until(lambda: ports(bed, "+tcp") == {9001}, timeout=15)
    started(alpha, 9002)
    assert wait_until(lambda: ports(bed) == {9001, 9002}, timeout=10)
