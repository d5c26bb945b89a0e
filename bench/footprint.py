"""Measures what a registry costs its program: memory, processor time while idle, and the time of the import."""

from __future__ import annotations

import ipaddress
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from . import HERE
from .build import built
from .peers import Peers, crowd
from .process import CLIENT_CORE, SERVER_CORE, Process, on_core

SERVICES: Final = 100
PEERS: Final = 100
_PORT: Final = 28106
_PROGRAMS: Final = HERE / "programs"
_SETTLE: Final = 3.0  # seconds for the first query to all peers
_IMPORTS: Final = {
    "mddns": "import mddns",
    "standard": "import socket, json, threading",
    "start_registry": "import mddns; mddns.start_registry",
    "resolver": "import mddns; mddns.Resolver",
}


def measure(idle_seconds: float, rounds: int) -> dict[str, Any]:
    """Measures memory and idle time of a registry with 100 services and 100 peers; `rounds` imports of each kind."""
    print("footprint", flush=True)
    return _registry(idle_seconds) | {"imports": _imports(rounds), "rounds": rounds}


def _registry(idle_seconds: float) -> dict[str, Any]:
    people = crowd("serials", PEERS)
    # The peers come after the own address in the status.
    me = str(ipaddress.ip_address(people.live[0]) - 1)
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        sock = folder / "tailscaled.sock"
        if built("peers"):
            running.enter_context(Peers(people.packed, folder, _PORT))
        daemon = running.enter_context(
            Process(
                [sys.executable, _PROGRAMS / "tailscaled.py", sock, me, str(PEERS)],
                folder / "tailscaled.log",
                core=CLIENT_CORE,
            )
        )
        daemon.wait_until(sock.exists)
        bare, registry = (
            running.enter_context(
                Process(
                    [sys.executable, _PROGRAMS / "registry.py", *arguments],
                    folder / f"{key}.log",
                    env={"TS_SOCKET": str(sock)},
                )
            )
            for key, arguments in (("bare", []), ("registry", [str(SERVICES), str(_PORT)]))
        )
        for key, process in (("bare", bare), ("registry", registry)):
            log = folder / f"{key}.log"
            process.wait_until(lambda log=log: log.read_text().startswith("ready"))  # type: ignore[misc]
        time.sleep(_SETTLE)
        before, begun = registry.cpu_seconds(), time.monotonic()
        time.sleep(idle_seconds)
        used, took = registry.cpu_seconds() - before, time.monotonic() - begun
        memory = {"bare_mib": bare.resident_kib() / 1024, "registry_mib": registry.resident_kib() / 1024}
    return {
        "services": SERVICES,
        "peers": PEERS,
        **{key: round(value, 2) for key, value in memory.items()},
        "above_bare_mib": round(memory["registry_mib"] - memory["bare_mib"], 2),
        "idle_seconds": round(took, 1),
        "idle_percent": round(used / took * 100, 4),
    }


def _imports(rounds: int) -> dict[str, Any]:
    taken: dict[str, list[float]] = {name: [] for name in _IMPORTS}
    for number in range(rounds + 1):
        for name, statement in _IMPORTS.items():
            timed = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
            done = subprocess.run(
                [sys.executable, "-c", timed],
                capture_output=True,
                text=True,
                check=True,
                preexec_fn=on_core(SERVER_CORE),
            )
            if number:  # the first run fills caches
                taken[name].append(float(done.stdout))
    base = taken["standard"]
    return {
        name: {
            "ms": round(statistics.median(mine) * 1000, 2),
            "of_standard": round(statistics.median(one / other for one, other in zip(mine, base, strict=True)), 3),
        }
        for name, mine in taken.items()
    }
