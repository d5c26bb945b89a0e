"""Common parts of the tests of third-party programs: pages on two hosts, and a third host with `md forward`.

alpha and bravo serve pages with their own name, each advertised by `md run` while it runs. The program under test
runs on desk, where `md forward` has its default address and resolv.conf names it. The program's configuration is
the file in docs/clients/.
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

FORWARDER = "127.0.0.1"  # at port 53: the default address of `md forward` for root
RESOLV_CONF = f"nameserver {FORWARDER}\n"
HERE = Path(__file__).parent
CONFIGURATIONS = HERE.parent / "docs" / "clients"

HOSTS = ("alpha", "bravo", "desk")


def configuration(name: str) -> str:
    """Returns the text of a file in docs/clients."""
    return (CONFIGURATIONS / name).read_text("utf-8")


def serve_page(host: Host, port: int = 8080, name: str = "web", *labels: str, say: str | None = None) -> Process:
    """Starts a page at that port that says ``HOST:PORT`` (or `say`), and its service; both end with the process."""
    page = ["python", "-m", "bed.page", host.ipv4, str(port), say or f"{host.name}:{port}"]
    process = host.start(["md", "run", name, f":{port}", *labels, "--", *page], env={"PYTHONPATH": str(HERE)})
    process.wait_for("advertised", timeout=15)
    return process


def forward(host: Host, *argv: str) -> Process:
    """Starts `md forward` as root does: at 127.0.0.1 port 53."""
    process = host.start(["md", "forward", *argv])
    process.wait_for("Ctrl-C ends it", timeout=15)
    return process


def fetch(host: Host, url: str, *options: str) -> str:
    """Fetches a URL by curl. Returns the body, or an empty text."""
    return host.run(["curl", "-sS", "--max-time", "3", *options, url], timeout=10).stdout.strip()


def fetched(host: Host, url: str, times: int = 8, *options: str) -> set[str]:
    """Returns the set of bodies of that many fetches, each on a connection of its own."""
    return {fetch(host, url, *options) for _ in range(times)}


def placed(host: Host, name: str, text: str) -> str:
    """Writes a file of that name and text into the host's directory. Returns its path."""
    file = host.directory / name
    file.write_text(text, "utf-8")
    return str(file)


def offer_many(host: Host, name: str, count: int) -> Process:
    """Advertises that many instances of a service, at ports from 9101 on, where no program listens."""
    services = "".join(f"  - {{name: {name}, address: ':{9100 + n}'}}\n" for n in range(1, count + 1))
    process = host.start(["md", "advertise", placed(host, f"{name}.yaml", f"services:\n{services}")])
    process.wait_for("advertised", timeout=15)
    return process


def last_line(process: Process) -> str:
    """Returns the last complete line that a program has printed so far, or an empty text."""
    return process.stdout.rpartition("\n")[0].rpartition("\n")[2]


def hosts_in(bed: Bed, text: str) -> set[str]:
    """Returns the hosts that a text names, by name or address."""
    return {host.name for host in bed.hosts if re.search(rf"\b({host.name}|{re.escape(host.ipv4)})\b", text)}


def until_all_see(bed: Bed, clients: Mapping[str, Callable[[], str]], hosts: set[str], timeout: float) -> list[str]:
    """Waits until the output of each client names exactly these hosts. Returns the seconds until then, for each.

    AssertionError after `timeout` seconds, with the last output of each client that did not.
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
    """Runs a page on alpha, then one on bravo too, then that one alone, and waits each time until all clients see it.

    Returns, for each client, the seconds until it found the page that joined and until it dropped the one that left.
    """
    with serve_page(bed.host("alpha"), port, name) as first:
        until_all_see(bed, clients, {"alpha"}, 20)
        with serve_page(bed.host("bravo"), port, name):
            joined = until_all_see(bed, clients, {"alpha", "bravo"}, 15)
            first.terminate()
            left = until_all_see(bed, clients, {"bravo"}, 15)
    return ", ".join(joined), ", ".join(left)


def seconds_until(condition: Callable[[], bool], timeout: float) -> float:
    """Returns the seconds until `condition` was true. AssertionError after `timeout` seconds."""
    began = time.monotonic()
    assert wait_until(condition, timeout), f"not within {timeout} s"
    return time.monotonic() - began


def version_of(host: Host, *argv: str) -> str:
    """Returns the version that a program prints: the first number with dots."""
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
    """Responses through a proxy at `url` that chooses a server for each request. `seen` has all bodies so far."""

    def __init__(self, host: Host, url: str, requests: int = 8) -> None:
        self._fetch = lambda: set(fetch(host, f"{url}[1-{requests}]").splitlines())
        self.seen: set[str] = set()

    def until(self, *pages: str) -> float:
        """Returns the seconds until that many requests in a row got only these pages."""

        def all_from_them() -> bool:
            came = self._fetch()
            self.seen |= came
            return came == set(pages)

        return seconds_until(all_from_them, 30)
