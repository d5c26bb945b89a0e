"""What the tests of other people's programs have in common: pages on two hosts, and a third with `md forward`.

alpha and bravo serve pages that say who they are, each announced by `md run` for as long as it lives. On desk,
where the program under test runs, `md forward` has its default place and resolv.conf names it. The program's
configuration is the very file of docs/clients/.
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

FORWARDER = "127.0.0.1"  # at port 53: where `md forward` is when root starts it
RESOLV_CONF = f"nameserver {FORWARDER}\n"
HERE = Path(__file__).parent
CONFIGURATIONS = HERE.parent / "docs" / "clients"

HOSTS = ("alpha", "bravo", "desk")


def configuration(name: str) -> str:
    """The text of a file of docs/clients."""
    return (CONFIGURATIONS / name).read_text("utf-8")


def serve_page(host: Host, port: int = 8080, name: str = "web", *labels: str, say: str | None = None) -> Process:
    """A page at that port, which answers ``HOST:PORT`` (or `say`), and its service; both end with the process."""
    page = ["python", "-m", "bed.page", host.ipv4, str(port), say or f"{host.name}:{port}"]
    process = host.start(["md", "run", name, f":{port}", *labels, "--", *page], env={"PYTHONPATH": str(HERE)})
    process.wait_for("advertised", timeout=15)
    return process


def forward(host: Host, *argv: str) -> Process:
    """`md forward` as root starts it: at 127.0.0.1 port 53."""
    process = host.start(["md", "forward", *argv])
    process.wait_for("Ctrl-C ends it", timeout=15)
    return process


def fetch(host: Host, url: str, *options: str) -> str:
    """What curl gets there, or an empty text."""
    return host.run(["curl", "-sS", "--max-time", "3", *options, url], timeout=10).stdout.strip()


def fetched(host: Host, url: str, times: int = 8, *options: str) -> set[str]:
    """All that as many fetches get, each by a connection of its own."""
    return {fetch(host, url, *options) for _ in range(times)}


def placed(host: Host, name: str, text: str) -> str:
    """The path of a file of that name and text, in a host's directory."""
    file = host.directory / name
    file.write_text(text, "utf-8")
    return str(file)


def offer_many(host: Host, name: str, count: int) -> Process:
    """So many instances of a service, at ports from 9101 on where nobody listens."""
    services = "".join(f"  - {{name: {name}, address: ':{9100 + n}'}}\n" for n in range(1, count + 1))
    process = host.start(["md", "advertise", placed(host, f"{name}.yaml", f"services:\n{services}")])
    process.wait_for("advertised", timeout=15)
    return process


def last_line(process: Process) -> str:
    """The last whole line that a program has printed so far, or an empty one."""
    return process.stdout.rpartition("\n")[0].rpartition("\n")[2]


def hosts_in(bed: Bed, text: str) -> set[str]:
    """The hosts that a text names, by name or address."""
    return {host.name for host in bed.hosts if re.search(rf"\b({host.name}|{re.escape(host.ipv4)})\b", text)}


def until_all_see(bed: Bed, clients: Mapping[str, Callable[[], str]], hosts: set[str], timeout: float) -> list[str]:
    """Waits until what each client gives out names these hosts and no others; after how long, for each.

    AssertionError after `timeout` seconds, with what those that did not said last.
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
    """Has a page on alpha, then one on bravo too, then that alone, and waits until each client says so.

    How soon after it was advertised they found who joined, and how soon after its end they had forgotten who left.
    """
    with serve_page(bed.host("alpha"), port, name) as first:
        until_all_see(bed, clients, {"alpha"}, 20)
        with serve_page(bed.host("bravo"), port, name):
            joined = until_all_see(bed, clients, {"alpha", "bravo"}, 15)
            first.terminate()
            left = until_all_see(bed, clients, {"bravo"}, 15)
    return ", ".join(joined), ", ".join(left)


def seconds_until(condition: Callable[[], bool], timeout: float) -> float:
    """How long it took until `condition` was true; AssertionError after `timeout` seconds."""
    began = time.monotonic()
    assert wait_until(condition, timeout), f"not within {timeout} s"
    return time.monotonic() - began


def version_of(host: Host, *argv: str) -> str:
    """The first number with dots that a program prints of itself."""
    try:
        done = host.run(argv)
    except subprocess.TimeoutExpired:
        return "?"
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "?"


def office(bed: Bed) -> Bed:
    """Pages on alpha and bravo, `md forward` on desk."""
    for name in ("alpha", "bravo"):
        serve_page(bed.host(name))
    forward(bed.host("desk"))
    return bed


class Traffic:
    """What comes back through a proxy at `url`, which chooses anew for each request; `seen`: all that ever came."""

    def __init__(self, host: Host, url: str, requests: int = 8) -> None:
        self._fetch = lambda: set(fetch(host, f"{url}[1-{requests}]").splitlines())
        self.seen: set[str] = set()

    def until(self, *pages: str) -> float:
        """How many seconds it took until as many requests as that got these pages and nothing else."""

        def all_from_them() -> bool:
            came = self._fetch()
            self.seen |= came
            return came == set(pages)

        return seconds_until(all_from_them, 30)
