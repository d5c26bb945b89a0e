"""BIND, Knot, NSD and Unbound as secondaries of a node or a forwarder, on loopback, each in its own directory.

with Bind(directory, primary_port=28004, port=5301) as bind:
    bind.notify()
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rdatatype
import dns.rrset
import dns.xfr
import dns.zone
from bed.process import Process

ADDRESS = "127.0.0.1"
ZONE = "minidisc."

Records = frozenset[str]


class Nameserver(ABC):
    """A name server that is a secondary of the primary at `primary_port`."""

    program: ClassVar[str]

    def __init__(self, directory: Path, primary_port: int, port: int, control_port: int) -> None:
        self.port = port
        path = shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert path, f"{self.program} is not installed; .ci/run says from which package it comes"
        self._directory = directory / self.program
        self._directory.mkdir()
        argv = self._configure(self._directory, primary_port, control_port)
        self._process = Process([path, *argv], os.environ, self._directory / "log", self._directory)

    @abstractmethod
    def _configure(self, directory: Path, primary: int, control: int) -> list[str]:
        """Writes its configuration. Returns its arguments."""

    @property
    def log(self) -> str:
        """Its log so far."""
        return self._process.stdout + self._process.stderr

    @property
    @abstractmethod
    def incremental(self) -> int:
        """How many incremental transfers it has applied, by its log."""

    def notify(self) -> None:
        """Sends it a NOTIFY (RFC 1996), and does not wait for the response."""
        message = dns.message.make_query(ZONE, "SOA")
        message.set_opcode(dns.opcode.NOTIFY)
        message.flags |= dns.flags.AA
        with contextlib.suppress(dns.exception.Timeout, OSError):
            dns.query.udp(message, ADDRESS, port=self.port, timeout=0.2)

    def serial(self) -> int | None:
        """Returns the serial that it serves; None if it does not serve the zone."""
        return serial_at(self.port)

    def records(self, names: Records) -> Records:
        """Returns all its records. A server without transfers is queried for each of the expected `names`."""
        return zone_at(self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()


class Bind(Nameserver):
    program = "named"

    def _configure(self, directory: Path, primary: int, control: int) -> list[str]:
        (directory / "named.conf").write_text(f"""
options {{
    directory "{directory}"; pid-file none; session-keyfile none; managed-keys-directory "{directory}";
    listen-on port {self.port} {{ {ADDRESS}; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; allow-transfer {{ any; }}; allow-notify {{ any; }}; notify no;
    serial-query-rate 1000; min-refresh-time 1; max-retry-time 1; tcp-clients 10;
}};
controls {{ }};
zone "{ZONE}" {{
    type secondary; primaries {{ {ADDRESS} port {primary}; }}; file "zone"; masterfile-format text; request-ixfr yes;
}};
""")
        return ["-g", "-d", "1", "-n", "1", "-c", str(directory / "named.conf")]

    @property
    def incremental(self) -> int:
        return small(re.findall(r"Transfer completed: .* (\d+) bytes", self.log))


class Knot(Nameserver):
    program = "knotd"

    def _configure(self, directory: Path, primary: int, control: int) -> list[str]:
        (directory / "knot.conf").write_text(f"""
server:
    rundir: "{directory}"
    listen: {ADDRESS}@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "{directory}"
    journal-db-max-size: 64M
    kasp-db-max-size: 16M
    timer-db-max-size: 16M
control:
    listen: "{directory}/control"
remote:
  - id: node
    address: {ADDRESS}@{primary}
acl:
  - id: all
    address: {ADDRESS}
    action: [transfer, notify]
zone:
  - domain: {ZONE}
    storage: "{directory}"
    master: node
    acl: all
    zonefile-sync: -1
    retry-max-interval: 1
""")
        return ["-c", str(directory / "knot.conf")]

    @property
    def incremental(self) -> int:
        return sum("IXFR, incoming" in line and "finished" in line for line in self.log.splitlines())


class Nsd(Nameserver):
    program = "nsd"

    def _configure(self, directory: Path, primary: int, control: int) -> list[str]:
        (directory / "nsd.conf").write_text(f"""
server:
    ip-address: {ADDRESS}@{self.port}
    username: ""
    zonesdir: "{directory}"
    database: ""
    xfrdir: "{directory}"
    xfrdfile: "{directory}/xfrd.state"
    zonelistfile: "{directory}/zone.list"
    pidfile: "{directory}/pid"
    cookie-secret-file: "{directory}/cookies"
    server-count: 1
    verbosity: 2
    xfrd-reload-timeout: 0
remote-control:
    control-enable: no
zone:
    name: {ZONE}
    zonefile: "zone"
    request-xfr: {ADDRESS}@{primary} NOKEY
    allow-notify: {ADDRESS} NOKEY
    provide-xfr: {ADDRESS} NOKEY
    max-refresh-time: 2
    max-retry-time: 1
""")
        return ["-d", "-c", str(directory / "nsd.conf")]

    @property
    def incremental(self) -> int:
        return small(re.findall(r"from \S+ of (\d+) bytes", self.log))


class Unbound(Nameserver):
    """A resolver that holds the zone (auth-zone). It serves no transfers."""

    program = "unbound"

    def _configure(self, directory: Path, primary: int, control: int) -> list[str]:
        (directory / "unbound.conf").write_text(f"""
server:
    interface: {ADDRESS}@{self.port}
    port: {self.port}
    access-control: 127.0.0.0/8 allow_snoop
    do-daemonize: no
    use-syslog: no
    chroot: ""
    username: ""
    directory: "{directory}"
    pidfile: ""
    num-threads: 1
    verbosity: 4
    module-config: "iterator"
    minimal-responses: no
auth-zone:
    name: {ZONE}
    primary: {ADDRESS}@{primary}
    for-upstream: yes
    for-downstream: yes
    zonefile: "zone"
""")
        return ["-d", "-c", str(directory / "unbound.conf")]

    @property
    def incremental(self) -> int:
        # Differences that do not fit its zone make it transfer the whole zone.
        return self.log.count("last IXFR packet") - 10 * self.log.count("IXFR did not apply cleanly")

    def records(self, names: Records) -> Records:
        found: set[str] = set()
        for name, rtype in {(line.split()[0], line.split()[2]) for line in names}:
            query = dns.message.make_query(name, rtype, use_edns=0, payload=4096)
            for rrset in dns.query.udp(query, ADDRESS, port=self.port, timeout=2.0).answer:
                found |= _lines(rrset)
        return frozenset(found)


def small(sizes: list[str]) -> int:
    """Counts the transfers that must have been incremental, by their size: whole zones are many times as large."""
    octets = [int(size) for size in sizes]
    return sum(size < max(octets) / 4 for size in octets)


def serial_at(port: int) -> int | None:
    """Queries a name server for the zone's serial."""
    query = dns.message.make_query(ZONE, "SOA", flags=0)
    try:
        answer = dns.query.udp(query, ADDRESS, port=port, timeout=0.1).answer
    except (dns.exception.Timeout, OSError):
        return None
    return int(answer[0][0].serial) if answer else None


def zone_at(port: int) -> Records:
    """Transfers the zone from a name server. Returns every record with TTL and serial, in lower case, because
    compression may change the case of names."""
    found: set[str] = set()
    for message in dns.query.xfr(ADDRESS, ZONE, port=port, relativize=False, timeout=5.0, lifetime=10.0):
        for rrset in message.answer:
            found |= _lines(rrset)
    return frozenset(found)


def _lines(rrset: dns.rrset.RRset) -> set[str]:
    return {f"{rrset.name} {rrset.ttl} {rrset.rdtype.name} {rdata}".lower() for rdata in rrset}


# The same program with short timers, so that the tests do not wait seconds each time.
QUICK = """
import sys
import os, time
from mddns.forward import notify
from mddns.system import clock
from mddns.__main__ import main
notify.AT_MOST_EVERY = 0.05
clock.unix_ms = lambda: int(time.time() * 1000) - int(os.environ.get("BACK", "0"))
sys.argv[0] = "md"
sys.exit(main())
"""
