"""Minidisc's own programs on a host of the bed: its Python package, and its `md` if it is installed.

They look for tailscaled only at /var/run/tailscale/tailscaled.sock. `ip netns exec` gives each program a mount
namespace of its own, so another /run can be mounted there without any effect on the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence

from .host import Host
from .process import Process

GO_MD = "MDDNS_TEST_MINIDISC_MD"
"""The path of Minidisc's `md`, the Go program, for tests that run it; without it, tests use recorded exchanges."""

_PLACE = """
[ -n "$TS_SOCKET" ] || exec "$@"  # it is where they look already
mount -t tmpfs none "$(readlink -f /var/run)" || exit 125
mkdir /var/run/tailscale || exit 125
ln -s "$TS_SOCKET" /var/run/tailscale/tailscaled.sock || exit 125
exec "$@"
"""

_REGISTRY = """
import json, sys, time
import minidisc
registry = minidisc.start_registry()
for name, port, labels in json.loads(sys.argv[1]):
    registry.advertise_service(port, name, labels)
print("advertised", flush=True)
time.sleep(3600)
"""

_LIST = """
import json, minidisc
print(json.dumps([[each.name, str(each.endpoint), each.labels] for each in minidisc.list_services()]))
"""

_FIND = """
import json, sys
import minidisc
print(minidisc.find_service(sys.argv[1], json.loads(sys.argv[2])))
"""

Offered = tuple[str, int, Mapping[str, str]]  # name, port, labels


def go_md() -> str | None:
    """Returns the path of the Go program, or None."""
    named = os.environ.get(GO_MD)
    return shutil.which(named) if named else None


def placed(argv: Sequence[str]) -> list[str]:
    """Returns the command that runs `argv` where Minidisc finds the host's tailscaled."""
    return ["sh", "-c", _PLACE, "sh", *argv]


def registry(host: Host, *offered: Offered) -> Process:
    """Starts a Python program with Minidisc's registry; it prints "advertised" after `start_registry` returned."""
    return host.start(placed([sys.executable, "-c", _REGISTRY, json.dumps(offered)]))


def list_services(host: Host, timeout: float = 30.0) -> set[tuple[str, str]]:
    """Returns name and endpoint of all services that Minidisc's Python package finds."""
    done = host.run(placed([sys.executable, "-c", _LIST]), timeout=timeout)
    assert done.returncode == 0, done.stderr
    return {(name, endpoint) for name, endpoint, _ in json.loads(done.stdout)}


def find_service(host: Host, name: str, **labels: str) -> str:
    """Returns the first endpoint that Minidisc's Python package finds."""
    done = host.run(placed([sys.executable, "-c", _FIND, name, json.dumps(labels)]), timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class GoMd:
    """Minidisc's `md` on a host."""

    def __init__(self, program: str) -> None:
        self._program = program

    def advertise(self, host: Host, *offered: Offered) -> Process:
        """Starts `md advertise FILE` in the background."""
        entries = [{"name": name, "address": f":{port}", "labels": labels} for name, port, labels in offered]
        names = "-".join(name for name, _, _ in offered)
        file = host.directory / f"minidisc-{names}.yaml"
        file.write_text(json.dumps({"services": entries}))
        return host.start(placed([self._program, "advertise", str(file)]))

    def run(self, host: Host, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs `md` until it ends."""
        return host.run(placed([self._program, *args]), timeout=30)

    def list(self, host: Host) -> set[tuple[str, str]]:
        """Returns name and endpoint of all services that it lists."""
        done = self.run(host, "list")
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in textwrap.dedent(done.stdout).splitlines()]
        return {(words[1], words[2]) for words in lines}
