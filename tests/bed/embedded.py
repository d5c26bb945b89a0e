"""Programs of :mod:`bed.program` on a host, and what another host finds of their services."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from .dig import dig
from .forks import Forked
from .host import Host
from .hosts import Bed
from .process import Process

_TESTS = str(Path(__file__).parent.parent)


def begin(host: Host, port: int, *options: str, name: str = "web", descriptors: int = 0, uid: int = 0) -> Process:
    """Starts one; with a limit of `descriptors` and as the user `uid`, if given."""
    argv = [sys.executable, "-m", "bed.program", str(port), name, *options]
    if descriptors:
        argv = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *argv]
    code = [_TESTS, str(Path(_TESTS).parent)]
    if uid:
        # Our Python may be in a folder that other users cannot read.
        code = [str(_copied(host))]
        argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *argv]
    return host.start(argv, env={"PYTHONPATH": os.pathsep.join(code)})


def readable_code(host: Host) -> dict[str, str]:
    """The environment in which any user of a host can read our code and reach tailscaled, which are private else."""
    for path in (host.directory, host.directory.parent):
        path.chmod(0o755)
    code = _copied(host)
    for name in ("click", "dnslib", "yaml"):
        for place in getattr(importlib.util.find_spec(name), "submodule_search_locations", None) or ():
            shutil.copytree(place, code / name, dirs_exist_ok=True)
    return {"PYTHONPATH": str(code)}


def _copied(host: Host) -> Path:
    code = host.directory / "code"
    if not code.exists():
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(_TESTS) / "bed", code / "bed", ignore=without)
        shutil.copytree(Path(_TESTS).parent / "mddns", code / "mddns", ignore=without)
    return code


def started(host: Host, port: int, *options: str, name: str = "web", descriptors: int = 0, uid: int = 0) -> Process:
    """As `begin`; returns when the program has advertised its service."""
    process = begin(host, port, *options, name=name, descriptors=descriptors, uid=uid)
    process.wait_for("up", timeout=20)
    return process


def ports(bed: Bed, *how: str, name: str = "web", domain: str = "minidisc", host: str = "alpha") -> set[int]:
    """The ports of the SRV records that `bravo` gets for a name; with RD=0 unless `how` has other options of dig."""
    reply = dig(bed.host("bravo"), bed.host(host).addresses[0], f"{name}.{domain}", "SRV", *(how or ("+norec",)))
    return {int(line.split()[4]) for line in reply.answer}


def processor_time(process: Process | Forked) -> float:
    """The CPU time of a program in seconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
