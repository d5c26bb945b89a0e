"""BIND, Knot and NSD follow a node's zone, through changes, kills and changes of holder, record by record."""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from bed.process import Process, wait_until
from conftest import Measured
from nameservers import ADDRESS, QUICK, Bind, Knot, Nameserver, Nsd, serial_at, zone_at
from places import ROOT, TESTS
from program import free_ports

from mddns.system import clock
from mddns.zone.apex import is_after, next_serial

CHANGES = 100  # of each program; ten are started
ROUNDS = 10


class Programs:
    """Programs of one host."""

    def __init__(self, directory: Path, port: int, seed: int) -> None:
        self.port = port
        self.directory = directory
        self.numbers = itertools.count()
        self.seed = seed
        self.running: list[Process] = []

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def start(self) -> Process:
        number = next(self.numbers)
        return self._start(number, "-m", "bed.churn", str(self.seed + number), str(CHANGES), str(1000 + 10 * number))

    def advertise(self, name: str, *, back: int = 0) -> Process:
        """`md advertise`, whose clock is so many milliseconds late."""
        process = self._start(next(self.numbers), "-c", QUICK, "advertise", name, ":80", back=back)
        process.wait_for("advertised")
        return process

    def _start(self, number: int, *argv: str, back: int = 0) -> Process:
        env = {
            **os.environ,
            "MDDNS_NETWORK": f"static:alpha={ADDRESS}:{self.port}",
            "PYTHONPATH": _path(),
            "XDG_STATE_HOME": str(self.state),
            "BACK": str(back),
        }
        directory = self.directory / f"program-{number}"
        process = Process([sys.executable, *argv], env, directory, TESTS)
        self.running.append(process)
        return process

    def close(self) -> None:
        for process in self.running:
            process.close()


def _path() -> str:
    return os.pathsep.join((str(TESTS), str(ROOT)))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Programs, list[Nameserver]]]:
    ports = free_ports(7)
    with ExitStack() as stack:
        programs = Programs(tmp_path, ports[0], random.randrange(10_000))
        stack.callback(programs.close)
        servers = [
            stack.enter_context(kind(tmp_path, ports[0], ports[1 + n], ports[4 + n]))
            for n, kind in enumerate((Bind, Knot, Nsd))
        ]
        yield programs, servers


def follow(programs: Programs, servers: list[Nameserver]) -> None:
    """Waits until every server has what the node has, and compares."""

    def all_there() -> bool:
        for server in servers:
            if server.serial() != serial_at(programs.port):
                server.notify()
                return False
        return True

    there = wait_until(all_there, 20.0)
    said = {server.program: server.serial() for server in servers}
    logs = "\n".join(server.log[-1500:] for server in servers if server.serial() != serial_at(programs.port))
    assert there, f"seed {programs.seed}: the node has {serial_at(programs.port)}, the others {said}\n{logs}"
    truth = zone_at(programs.port)
    for server in servers:
        assert zone_at(server.port) == truth, f"seed {programs.seed}: {server.program}"


def test_nameservers_follow_a_thousand_changes_and_ten_restarts(
    world: tuple[Programs, list[Nameserver]], measured: Measured
) -> None:
    """What ends the node is, in turn: SIGTERM, a kill of the one process, and a kill of the holder of two."""
    programs, servers = world
    seen: list[int] = []
    holder = programs.start()
    assert wait_until(lambda: serial_at(programs.port) is not None, 10.0)
    for number in range(ROUNDS):
        while "done" not in holder.stdout:
            for server in servers:
                server.notify()
            seen.append(serial_at(programs.port) or 0)
        follow(programs, servers)
        seen.append(serial_at(programs.port) or 0)
        if number % 3 == 2:
            heir = programs.start()
            heir.wait_for("done", 20.0)
            follow(programs, servers)
            holder.kill()
            holder = heir
            follow(programs, servers)
        else:
            holder.kill() if number % 3 else holder.terminate()
            # They change faster than a hundred times a second, and keep nothing: the clock has to catch up.
            caught_up = wait_until(lambda: is_after(next_serial(None, clock.unix_ms()), seen[-1]), 5.0)
            assert caught_up, f"seed {programs.seed}: {seen[-1]} is ahead of the clock"
            holder = programs.start()
            assert wait_until(lambda: serial_at(programs.port) is not None, 10.0)
    holder.wait_for("done", 20.0)
    follow(programs, servers)
    seen.append(serial_at(programs.port) or 0)
    serials = list(dict.fromkeys(filter(None, seen)))
    assert all(0 < (later - earlier) % 2**32 < 2**31 for earlier, later in itertools.pairwise(serials)), (
        f"seed {programs.seed}: the serial went back: {serials}"
    )
    counts = {server.program: server.incremental for server in servers}
    measured(f"nameservers, seed {programs.seed}: {len(serials)} serials seen; incremental transfers {counts}")
    assert all(counts.values())


def test_nameservers_follow_md_advertise_across_a_lost_state_and_wherever_the_clock_stands(
    world: tuple[Programs, list[Nameserver]],
) -> None:
    programs, servers = world
    program = programs.advertise("web")
    follow(programs, servers)
    program.kill()
    (programs.state / "mddns" / "serials.json").unlink()
    since_1970 = int(time.time() * 1000) - 5000
    for number, back in enumerate((0, 3_600_000, since_1970, 0)):
        program = programs.advertise(f"web-{number}", back=back)
        follow(programs, servers)
        program.terminate()
