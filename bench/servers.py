"""Starts the responders that are compared, each with the same 1,000 services at an address of its own."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

import mddns

from . import HERE, SITE, WORK, corpus
from .process import Failed, Process

PORT: Final = 28104  # of all but python-zeroconf; not that of a registry that may run on the machine
_PROGRAMS: Final = HERE / "programs"


@dataclass(frozen=True, slots=True)
class Server:
    """A running responder."""

    name: str
    version: str
    process: Process
    address: str
    port: int = PORT
    echo: bool = False
    apex: str = corpus.APEX
    only: frozenset[str] = field(default_factory=lambda: frozenset(corpus.WORKLOADS))


@dataclass(frozen=True, slots=True)
class Absent:
    """A responder that cannot run here, and why."""

    name: str
    reason: str


Starter = Callable[[str, Path, str], Server]


def start_all(folder: Path) -> tuple[list[Server], list[Absent]]:
    """Starts all responders that are installed, with their files in `folder`."""
    return start(folder, _STARTERS, "127.81.0")


def start(folder: Path, starters: Mapping[str, Starter], block: str) -> tuple[list[Server], list[Absent]]:
    """Starts each at an address of its own in a /24, such as ``127.81.0``; returns those that cannot run as Absent."""
    (folder / block).mkdir()
    servers: list[Server] = []
    absent: list[Absent] = []
    for number, (name, starter) in enumerate(starters.items(), 1):
        place = folder / block / name
        place.mkdir()
        try:
            servers.append(starter(name, place, f"{block}.{number}"))
        except (Failed, OSError) as error:
            absent.append(Absent(name, _without_paths(str(error))))
    return servers, absent


def _without_paths(text: str) -> str:
    return re.sub(r"(/[\w.+-]+){2,}", lambda found: found[0].rpartition("/")[2], text)


def _echo(name: str, place: Path, address: str) -> Server:
    process = Process([sys.executable, _PROGRAMS / "echo.py", address, str(PORT)], place / "log")
    return answering(Server(name, f"Python {sys.version.split()[0]}", process, address, echo=True))


def _mddns(name: str, place: Path, address: str) -> Server:
    (place / "services.yaml").write_text(corpus.yaml_file())
    argv = [sys.executable, "-m", "mddns", "--network", f"static:{corpus.MACHINE}={address}", "--port", str(PORT)]
    process = Process([*argv, "advertise", place / "services.yaml"], place / "log")
    return answering(Server(name, mddns.__version__, process, address))


def _dnsmasq(name: str, place: Path, address: str) -> Server:
    program = found("dnsmasq", "dnsmasq-base")
    (place / "conf").write_text(
        corpus.dnsmasq_file(address)
        + f"port={PORT}\nlisten-address={address}\nbind-interfaces\nno-resolv\nno-hosts\npid-file=\n"
        + ("user=root\n" if os.geteuid() == 0 else "")
    )
    process = Process([program, "--keep-in-foreground", f"--conf-file={place / 'conf'}"], place / "log")
    return answering(Server(name, program_version(program, "--version"), process, address))


def _unbound(name: str, place: Path, address: str) -> Server:
    program = found("unbound", "unbound")
    (place / "zone").write_text(corpus.zone_file(address))
    (place / "conf").write_text(
        f'server:\n interface: {address}\n port: {PORT}\n num-threads: 1\n do-daemonize: no\n chroot: ""\n'
        f' username: ""\n directory: "{place}"\n pidfile: ""\n use-syslog: no\n module-config: "iterator"\n'
        " access-control: 127.0.0.0/8 allow\nremote-control:\n control-enable: no\n"
        f"auth-zone:\n name: {corpus.APEX}.\n zonefile: {place / 'zone'}\n for-downstream: yes\n for-upstream: no\n"
    )
    process = Process([program, "-d", "-c", place / "conf"], place / "log")
    return answering(Server(name, program_version(program, "-V"), process, address))


def _knot(name: str, place: Path, address: str) -> Server:
    program = found("knotd", "knot")
    (place / "zone").write_text(corpus.zone_file(address))
    (place / "conf").write_text(
        f'server:\n  rundir: "{place}"\n  listen: {address}@{PORT}\n  udp-workers: 1\n  tcp-workers: 1\n'
        f'  background-workers: 1\ndatabase:\n  storage: "{place}"\n'
        f'zone:\n  - domain: {corpus.APEX}.\n    storage: "{place}"\n    file: zone\n'
    )
    process = Process([program, "-c", place / "conf"], place / "log")
    return answering(Server(name, program_version(program, "-V"), process, address))


def _coredns(name: str, place: Path, address: str) -> Server:
    program = _go_program("coredns")
    (place / "zone").write_text(corpus.zone_file(address))
    (place / "Corefile").write_text(f"{corpus.APEX}.:{PORT} {{\n bind {address}\n file {place / 'zone'}\n}}\n")
    process = Process([program, "-conf", place / "Corefile"], place / "log", env=_ONE_THREAD)
    return answering(Server(name, _go_version("github.com/coredns/coredns"), process, address))


def _miekg(name: str, place: Path, address: str) -> Server:
    program = _go_program("miekg")
    (place / "zone").write_text(corpus.zone_file(address))
    process = Process([program, f"{address}:{PORT}", place / "zone"], place / "log", env=_ONE_THREAD)
    return answering(Server(name, _go_version("github.com/miekg/dns"), process, address))


def _zeroconf(name: str, place: Path, address: str) -> Server:
    version = site_version("zeroconf")
    argv = [sys.executable, str(_PROGRAMS / "mdns.py"), "127.0.0.1", corpus.LOCAL]
    process = Process([*argv, str(corpus.SERVICES), str(corpus.FIRST_PORT)], place / "log", env=site_env())
    # Multicast DNS has one port and no EDNS, and does not answer a query for a missing name.
    server = Server(name, version, process, "127.0.0.1", 5353, apex=corpus.LOCAL, only=frozenset(("repeated",)))
    return answering(server)


_ONE_THREAD: Final[Mapping[str, str]] = {"GOMAXPROCS": "1"}  # it runs on one core

_STARTERS: Final[dict[str, Starter]] = {
    "echo": _echo,
    "mddns": _mddns,
    "dnsmasq": _dnsmasq,
    "unbound": _unbound,
    "knot": _knot,
    "coredns": _coredns,
    "miekg": _miekg,
    "zeroconf": _zeroconf,
}


def site_env() -> dict[str, str]:
    """Returns the environment in which Python finds the third-party packages."""
    return {"PYTHONPATH": str(SITE)}


def site_version(package: str) -> str:
    """Returns the version that bench/setup installed. Failed if it is not installed."""
    found = next((each.version for each in metadata.distributions(name=package, path=[str(SITE)])), None)
    if found is None:
        raise Failed(f"no {package}: run bench/setup")
    return found


def has_module(name: str) -> bool:
    """Whether this interpreter has a module without the third-party packages."""
    return importlib.util.find_spec(name) is not None


def found(program: str, package: str) -> str:
    """Returns the path of a program of a Debian package. Failed if it is not installed."""
    # Debian's daemons are in folders outside a user's PATH.
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise Failed(f"no {program}: run bench/setup, or install {package}")
    return path


def _go_program(name: str) -> Path:
    program = WORK / "go" / name
    if not program.exists():
        raise Failed(f"{name} is not built: run bench/setup, with Go")
    return program


def _go_version(module: str) -> str:
    found = re.search(rf"^\s*{re.escape(module)} (\S+)", (HERE / "go" / "go.mod").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def program_version(program: str, option: str) -> str:
    """Returns the version that it prints with `option`."""
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def answering(server: Server) -> Server:
    """Returns the server when it answers."""
    name = f"{corpus.service(corpus.SERVICES - 1)}.{server.apex}"
    probe = corpus.question(name, corpus.SRV).octets
    try:
        server.process.wait_until(partial(_answers, server, probe), 15.0)
    except Failed:
        server.process.close()
        raise
    server.process.stay()
    return server


def _answers(server: Server, probe: bytes) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect((server.address, server.port))
        try:
            sock.send(probe)
            reply = sock.recv(4096)
        except OSError:
            return False
    return server.echo or (len(reply) > 12 and reply[7] == 1)
