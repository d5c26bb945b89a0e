"""Helpers to test other client programs: web pages on two hosts, and a third host with `md forward`.

alpha and bravo serve pages that contain their names; `md run` advertises each page while it runs. On desk, where the
program under test runs, `md forward` has its default address, which resolv.conf names. The program's configuration is
the file of docs/clients/.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bed.host import Host
from bed.hosts import Bed
from bed.process import Process, wait_until

FORWARDER = "127.0.0.1"  # at port 53: the default of `md forward` for root
RESOLV_CONF = f"nameserver {FORWARDER}\n"
HERE = Path(__file__).parent
CONFIGURATIONS = HERE.parent / "docs" / "clients"

HOSTS = ("alpha", "bravo", "desk")


def configuration(name: str) -> str:
    """The text of a file of docs/clients."""
    return (CONFIGURATIONS / name).read_text("utf-8")


def serve_page(host: Host, port: int = 8080, name: str = "web", *labels: str, say: str | None = None) -> Process:
    """Serves a page with the text ``HOST:PORT`` (or `say`) and advertises it; both end with the process."""
    page = ["python", "-m", "bed.page", host.ipv4, str(port), say or f"{host.name}:{port}"]
    process = host.start(["md", "run", name, f":{port}", *labels, "--", *page], env={"PYTHONPATH": str(HERE)})
    process.wait_for("advertised", timeout=15)
    return process


def forward(host: Host, *argv: str) -> Process:
    """Starts `md forward` at its default for root, 127.0.0.1 port 53."""
    process = host.start(["md", "forward", *argv])
    process.wait_for("Ctrl-C ends it", timeout=15)
    return process


def fetch(host: Host, url: str, *options: str) -> str:
    """What curl gets from `url`; an empty text if it fails."""
    return host.run(["curl", "-sS", "--max-time", "3", *options, url], timeout=10).stdout.strip()


def fetched(host: Host, url: str, times: int = 8, *options: str) -> set[str]:
    """The different results of `times` fetches, each with its own connection."""
    return {fetch(host, url, *options) for _ in range(times)}


def placed(host: Host, name: str, text: str) -> str:
    """Writes a file into a host's directory and returns its path."""
    file = host.directory / name
    file.write_text(text, "utf-8")
    return str(file)


def offer_many(host: Host, name: str, count: int) -> Process:
    """Offers `count` instances of a service at ports from 9101 on, where no program listens."""
    services = "".join(f"  - {{name: {name}, address: ':{9100 + n}'}}\n" for n in range(1, count + 1))
    process = host.start(["md", "advertise", placed(host, f"{name}.yaml", f"services:\n{services}")])
    process.wait_for("advertised", timeout=15)
    return process


def last_line(process: Process) -> str:
    """The last complete line that a program has printed so far, or an empty text."""
    return process.stdout.rpartition("\n")[0].rpartition("\n")[2]


def hosts_in(bed: Bed, text: str) -> set[str]:
    """The hosts that a text names, by name or address."""
    return {host.name for host in bed.hosts if re.search(rf"\b({host.name}|{re.escape(host.ipv4)})\b", text)}


def until_all_see(bed: Bed, clients: Mapping[str, Callable[[], str]], hosts: set[str], timeout: float) -> list[str]:
    """Waits until the output of each client names exactly these hosts; returns how long each took.

    AssertionError after `timeout` seconds, with the last output of the clients that are late.
    """
    began, late = time.monotonic(), dict(clients)
    took: list[str] = []

    def all_see() -> bool:
        for name, ask in list(late.items()):
            if hosts_in(bed, ask()) == hosts:
                took.append(f"{name} {time.monotonic() - began:.1f} s")
                del late[name]
        return not late

    assert wait_until(all_see, timeout), {name: ask() for name, ask in late.items()}
    return took


def follow(bed: Bed, clients: Mapping[str, Callable[[], str]], name: str, port: int) -> tuple[str, str]:
    """Serves a page on alpha, then also on bravo, then only there; waits each time until all clients see it.

    Returns how soon the clients found the new page, and how soon they dropped the one that ended.
    """
    with serve_page(bed.host("alpha"), port, name) as first:
        until_all_see(bed, clients, {"alpha"}, 20)
        with serve_page(bed.host("bravo"), port, name):
            joined = until_all_see(bed, clients, {"alpha", "bravo"}, 15)
            first.terminate()
            left = until_all_see(bed, clients, {"bravo"}, 15)
    return ", ".join(joined), ", ".join(left)


def seconds_until(condition: Callable[[], bool], timeout: float) -> float:
    """The seconds until `condition` was true; AssertionError after `timeout` seconds."""
    began = time.monotonic()
    assert wait_until(condition, timeout), f"not within {timeout} s"
    return time.monotonic() - began


def version_of(host: Host, *argv: str) -> str:
    """The version of a program: the first number with dots that it prints."""
    try:
        done = host.run(argv)
    except subprocess.TimeoutExpired:
        return "?"
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "?"


def office(bed: Bed) -> Bed:
    """Starts pages on alpha and bravo, and `md forward` on desk."""
    for name in ("alpha", "bravo"):
        serve_page(bed.host(name))
    forward(bed.host("desk"))
    return bed


class Traffic:
    """Requests through a proxy at `url`, which selects a server for each; `seen` has all pages so far."""

    def __init__(self, host: Host, url: str, requests: int = 8) -> None:
        self._fetch = lambda: set(fetch(host, f"{url}[1-{requests}]").splitlines())
        self.seen: set[str] = set()

    def until(self, *pages: str) -> float:
        """The seconds until a run of requests got exactly these pages."""

        def all_from_them() -> bool:
            came = self._fetch()
            self.seen |= came
            return came == set(pages)

        return seconds_until(all_from_them, 30)
