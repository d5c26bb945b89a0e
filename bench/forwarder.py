"""Compares forwarders that answer from their caches, each with the same upstream."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import mddns

from . import corpus
from .load import generator_name
from .process import Failed, Process
from .responder import WINDOW, rates
from .servers import PORT, Server, answering, found, program_version, start

WORKLOADS: Final = ("stub", "dig")  # queries as libc and as dig send them, both with RD=1
_UPSTREAM: Final = "127.83.0.1"
_TTL: Final = 3600  # longer than a run


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Measures each forwarder and workload `rounds` times for `seconds`, in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "knot").mkdir()
        try:
            upstream = _knot("knot", folder / "knot", _UPSTREAM)
        except (Failed, OSError) as error:
            return {"absent": {"knot": str(error)}, "workloads": {}}
        servers, absent = start(folder, {"mddns": _mddns, "dnsmasq": _dnsmasq, "unbound": _unbound}, "127.83.1")
        try:
            workloads = {}
            for workload in WORKLOADS:
                print(f"forwarder, {workload}", flush=True)
                file = corpus.write(workload, corpus.APEX, folder)
                workloads[workload] = rates(servers, {each.name: file for each in servers}, rounds, seconds)
        finally:
            for server in (upstream, *servers):
                server.process.close()
    return {
        "about": {each: corpus.WORKLOADS[each][0] for each in WORKLOADS},
        "generator": generator_name(),
        "window": WINDOW,
        "rounds": rounds,
        "seconds_a_round": seconds,
        "upstream": f"knot {upstream.version}",
        "versions": {server.name: server.version for server in servers},
        "absent": {each.name: each.reason for each in absent},
        "workloads": workloads,
    }


def _knot(name: str, place: Path, address: str) -> Server:
    program = found("knotd", "knot")
    (place / "zone").write_text(corpus.zone_file(address).replace("$TTL 5\n", f"$TTL {_TTL}\n"))
    (place / "conf").write_text(
        f'server:\n  rundir: "{place}"\n  listen: {address}@{PORT}\n  udp-workers: 1\n  tcp-workers: 1\n'
        f'  background-workers: 1\ndatabase:\n  storage: "{place}"\n'
        f'zone:\n  - domain: {corpus.APEX}.\n    storage: "{place}"\n    file: zone\n'
    )
    process = Process([program, "-c", place / "conf"], place / "log")
    return answering(Server(name, program_version(program, "-V"), process, address))


def _mddns(name: str, place: Path, address: str) -> Server:
    # Its own domain is another one, so the queries are for names of the upstream.
    argv = [sys.executable, "-m", "mddns", "--network", f"static:{address}", "--domain", "elsewhere.internal"]
    argv += ["forward", "--listen", f"{address}:{PORT}", "--upstream", f"{_UPSTREAM}#{PORT}"]
    return answering(Server(name, mddns.__version__, Process(argv, place / "log"), address))


def _dnsmasq(name: str, place: Path, address: str) -> Server:
    program = found("dnsmasq", "dnsmasq-base")
    (place / "conf").write_text(
        f"port={PORT}\nlisten-address={address}\nbind-interfaces\nno-resolv\nno-hosts\npid-file=\ncache-size=10000\n"
        f"server={_UPSTREAM}#{PORT}\n" + ("user=root\n" if os.geteuid() == 0 else "")
    )
    process = Process([program, "--keep-in-foreground", f"--conf-file={place / 'conf'}"], place / "log")
    return answering(Server(name, program_version(program, "--version"), process, address))


def _unbound(name: str, place: Path, address: str) -> Server:
    program = found("unbound", "unbound")
    (place / "conf").write_text(
        f'server:\n interface: {address}\n port: {PORT}\n num-threads: 1\n do-daemonize: no\n chroot: ""\n'
        f' username: ""\n directory: "{place}"\n pidfile: ""\n use-syslog: no\n module-config: "iterator"\n'
        " do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow_snoop\nremote-control:\n control-enable: no\n"
        # A forward-zone needs an upstream that offers recursion.
        f"stub-zone:\n name: {corpus.APEX}.\n stub-addr: {_UPSTREAM}@{PORT}\n"
    )
    process = Process([program, "-d", "-c", place / "conf"], place / "log")
    return answering(Server(name, program_version(program, "-V"), process, address))
