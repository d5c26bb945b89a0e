"""BIND, Knot, NSD and Unbound as secondaries of a real `md forward` over three nodes, record by record."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dns.zone
import pytest
from bed.process import Process, wait_until
from conftest import Measured
from nameservers import ADDRESS, QUICK, ZONE, Bind, Knot, Nameserver, Nsd, Unbound, serial_at, zone_at
from program import MD, World, free_ports

import mddns

CHANGES = 50
PROGRAMS = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"}
NAMES = ("web", "db", "Café", "a-name-that-is-rather-longer-than-others")


class Network:
    """Three nodes with services that change, a forwarder, and its secondaries."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.seed = random.randrange(10_000)
        self.dice = random.Random(self.seed)
        self.world = stack.enter_context(World(directory, ("alpha", "bravo", "charlie")))
        self.registries = [
            stack.enter_context(mddns.start_registry(network=self.world.spec(node))) for node in self.world.ports
        ]
        self.standing: dict[int, mddns.Advertised] = {}
        ports = free_ports(9)
        self.port = ports[0]
        self.servers: list[Nameserver] = [
            stack.enter_context(kind(directory, self.port, ports[1 + n], ports[5 + n]))
            for n, kind in enumerate((Bind, Knot, Nsd, Unbound))
        ]

    def forward(self, *, quick: bool = True, back: int = 0) -> Process:
        """A forwarder whose clock is so many milliseconds late."""
        notify = [argument for server in self.servers for argument in ("--notify", f"{ADDRESS}#{server.port}")]
        argv = [sys.executable, "-c", QUICK] if quick else MD
        process = Process(
            [*argv, "forward", "--listen", f"{ADDRESS}:{self.port}", "--upstream", "192.0.2.1", *notify],
            {**self.world.env(), "BACK": str(back)},
            self.world.directory / f"forward-{len(self.world.processes)}",
            self.world.directory,
        )
        self.world.processes.append(process)
        process.wait_for("Ctrl-C ends it")
        return process

    def change(self, number: int) -> None:
        """Somebody offers something else."""
        dice = self.dice
        port = 1000 + dice.randrange(12)
        labels = {"n": str(number), **({"env": dice.choice("ab")} if dice.random() < 0.5 else {})}
        if port not in self.standing:
            registry = dice.choice(self.registries)
            self.standing[port] = registry.advertise_service(port, dice.choice(NAMES), labels)
        elif dice.random() < 0.3:
            self.standing.pop(port).withdraw()
        else:
            self.standing[port].update(labels)

    def followed(self, before: int | None, timeout: float = 20.0) -> int:
        """The serial at which all are, when that is another than `before`."""

        def all_there() -> bool:
            ours = serial_at(self.port)
            return ours not in (None, before) and all(server.serial() == ours for server in self.servers)

        there = wait_until(all_there, timeout)
        said = {server.program: server.serial() for server in self.servers}
        logs = "\n".join(server.log[-3000:] for server in self.servers if server.serial() != serial_at(self.port))
        assert there, (
            f"seed {self.seed}: after {before} the forwarder has {serial_at(self.port)}, others {said}\n{logs}"
        )
        return serial_at(self.port) or 0

    def compare(self) -> int:
        """Every record of each secondary is one of the forwarder's, and the reverse; how many there are."""
        truth = zone_at(self.port)
        for server in self.servers:
            assert server.records(truth) == truth, f"seed {self.seed}: {server.program}"
        return len(truth)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with ExitStack() as stack:
        yield Network(tmp_path, stack)


def test_secondaries_follow_fifty_changes_and_a_restart(network: Network, measured: Measured) -> None:
    forwarder = network.forward()
    serial = network.followed(None)
    serials = [serial]
    for number in range(CHANGES):
        network.change(number)
        serial = network.followed(serial)
        serials.append(serial)
        if number % 10 == 9:
            network.compare()
        if number == CHANGES // 2:
            assert forwarder.terminate() == 0
            network.change(CHANGES)
            forwarder = network.forward()
            serial = network.followed(serial)
            network.compare()
            serials.append(serial)
    assert all(0 < (after - before) % 2**32 < 2**31 for before, after in itertools.pairwise(serials))
    count = network.compare()
    told = {server.program: server.incremental for server in network.servers}
    measured(f"secondaries, seed {network.seed}: {len(serials)} serials, {count} records; incremental transfers {told}")
    assert all(told.values())


def test_secondaries_follow_across_a_restart_with_the_clock_set_back(network: Network) -> None:
    forwarder = network.forward()
    network.change(0)
    before = network.followed(None)
    assert forwarder.terminate() == 0
    network.change(1)
    network.forward(back=3_600_000)
    after = network.followed(before)
    assert 0 < (after - before) % 2**32 < 2**31
    network.compare()


def test_secondaries_follow_a_forwarder_that_has_lost_its_state(network: Network) -> None:
    forwarder = network.forward()
    network.change(0)
    before = network.followed(None)
    assert forwarder.terminate() == 0
    (network.world.directory / ".local" / "state" / "mddns" / "serials.json").unlink()
    network.change(1)
    network.forward()
    network.followed(before)
    network.compare()


def test_secondaries_follow_at_the_usual_pace(network: Network) -> None:
    network.forward(quick=False)
    serial = network.followed(None)
    for number in range(2):
        network.change(number)
        serial = network.followed(serial)
    network.compare()


def test_the_zone_that_md_lists_is_the_forwarders_and_loads_into_name_servers(network: Network) -> None:
    """But for what is of whoever answers: the serial, and the name server's address."""
    for number in range(20):
        network.change(number)
    network.forward()
    network.followed(None)
    listed = network.world.md("list", "-o", "zone").stdout
    file = network.world.directory / "minidisc.zone"
    file.write_text(listed)

    def services(records: Iterable[str]) -> set[str]:
        return {line.lower() for line in records if line.split()[2].upper() != "SOA" and not line.startswith("ns.")}

    read = dns.zone.from_text(listed, relativize=False)
    printed = [f"{name} {ttl} {rdata.rdtype.name} {rdata}" for name, ttl, rdata in read.iterate_rdatas()]
    assert services(printed) == services(zone_at(network.port))
    for argv in (["named-checkzone", ZONE, file], ["nsd-checkzone", ZONE, file]):
        done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False, env=PROGRAMS)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_transfer_in_a_file_is_read_as_the_services_that_it_was_made_of(network: Network) -> None:
    for number in range(20):
        network.change(number)
    network.forward()
    network.followed(None)
    dig = ["dig", f"@{ADDRESS}", "-p", str(network.port), ZONE, "AXFR"]
    transfer = subprocess.run(dig, capture_output=True, text=True, check=True, env=PROGRAMS).stdout
    listed = network.world.md("list", "-o", "zone").stdout
    for text in (transfer, listed):
        done = network.world.md("check", "-", stdin=text)
        assert done.returncode == 0, done.stderr
        told = {line.partition("  #")[0] for line in done.stdout.splitlines()}
        assert len(told) == len(network.standing)
        assert all(f":{port}" in " ".join(told) for port in network.standing)
