"""Programs of one host that cannot reach each other's Unix socket: they race for the port, and none is lost."""

from __future__ import annotations

import signal
import statistics
import sys
import time

import pytest
from bed.embedded import ports, processor_time, started
from bed.hosts import Bed
from bed.process import Process, wait_until
from conftest import MakeBed, Measured

ROUNDS = 8
SQUATTER = "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1].replace('@', chr(0))); "
SQUATTER += "s.listen(99); print('bound', flush=True); time.sleep(600)"


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    return make_bed(["alpha", "bravo"])


def start(bed: Bed, port: int, *options: str) -> Process:
    return started(bed.host("alpha"), port, *options)


def test_when_the_winner_ends_the_next_ones_service_is_there_within_a_second(bed: Bed, measured: Measured) -> None:
    """Killed and closed in turn; the others stand by all the while, and none of them spins."""
    running = {port: start(bed, port, "apart=1") for port in range(9000, 9003)}
    took = []
    for number in range(ROUNDS):
        (winner,) = ports(bed)
        process = running.pop(winner)
        begun = time.monotonic()
        process.signal(signal.SIGTERM if number % 2 else signal.SIGKILL)
        assert wait_until(lambda: bool(ports(bed) & running.keys()), timeout=5)
        took.append(1000 * (time.monotonic() - begun))
        for how in (("+norec", "+tcp"), ("+rec",), ("+rec", "+tcp")):
            assert ports(bed, *how) == ports(bed)
        process.wait()
        running[9010 + number] = start(bed, 9010 + number, "apart=1")
    measured(
        f"the race for the port: the next one's service after {statistics.median(took):.0f} ms (median of {ROUNDS}), "
        f"{max(took):.0f} ms at most, dig included"
    )
    assert max(took) <= 1000
    before = {port: processor_time(process) for port, process in running.items()}
    time.sleep(2)
    used = {port: processor_time(process) - before[port] for port, process in running.items()}
    assert max(used.values()) < 0.2, used


def test_who_stands_by_is_told_so(bed: Bed) -> None:
    start(bed, 9001, "apart=1")
    other = start(bed, 9002, "apart=1")
    assert f"another registry has {bed.host('alpha').ipv4}:28004" in other.stderr
    assert "standing by" in other.stderr


def test_another_domain_is_told_apart_from_a_foreign_program_too(bed: Bed) -> None:
    start(bed, 9001, "apart=1")
    assert "standing by" in start(bed, 9002, "apart=1", "domain=minidisc.internal").stderr


def test_a_unix_socket_that_somebody_else_has_keeps_nobody_from_answering(bed: Bed) -> None:
    """The holder answers for itself, the others stand by, and all are there when the Unix socket is free."""
    alpha = bed.host("alpha")
    squatter = alpha.start([sys.executable, "-c", SQUATTER, f"@mddns-{alpha.ipv4}-28004"])
    squatter.wait_for("bound")
    holder, other = start(bed, 9001), start(bed, 9002)
    assert ports(bed) == {9001}
    assert "cannot join" in holder.stderr
    assert "standing by" in other.stderr
    squatter.kill()
    assert wait_until(lambda: ports(bed) == {9001, 9002}, timeout=10)


def test_who_comes_while_the_holder_is_stopped_waits_for_it(bed: Bed) -> None:
    holder = start(bed, 9001)
    holder.signal(signal.SIGSTOP)
    other = start(bed, 9002)
    assert "standing by" in other.stderr
    holder.signal(signal.SIGCONT)
    assert wait_until(lambda: ports(bed) == {9001, 9002}, timeout=10)
