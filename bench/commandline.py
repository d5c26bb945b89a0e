"""Measures the time of one `md find`, compared with dig and with the start of Python."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from . import corpus
from .process import CLIENT_CORE, SERVER_CORE, Failed, Process

_PORT: Final = 28105
_ADDRESS: Final = "127.82.0.1"
_IMPORTS: Final = "import click, socket, json"


def measure(rounds: int) -> dict[str, Any]:
    """Runs each command `rounds` times, in turn. Returns medians of the milliseconds from start to end."""
    print("command line", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {
            "PATH": os.environ["PATH"],
            "XDG_CACHE_HOME": name,
            "MDDNS_NETWORK": f"static:alpha={_ADDRESS}",
            "MDDNS_PORT": str(_PORT),
        }
        md = [str(Path(sys.executable).with_name("md"))]
        if not Path(md[0]).exists():
            md = [sys.executable, "-m", "mddns"]
        commands = {
            "python": [sys.executable, "-c", "pass"],
            "imports": [sys.executable, "-c", _IMPORTS],
            "md_find": [*md, "find", "web", "env=prod"],
            "md_lookup": [*md, "lookup", "web"],
        }
        if dig := shutil.which("dig"):
            commands["dig"] = [dig, "+short", "SRV", f"web.{corpus.APEX}", f"@{_ADDRESS}", "-p", str(_PORT)]
        holder = Process(
            [*md, "advertise", "web", ":8080", "env=prod"], folder / "holder.log", core=CLIENT_CORE, env=env
        )
        try:
            holder.wait_until(lambda: _run(commands["md_find"], env, folder)[2] == f"{_ADDRESS}:8080\n")
            return _measure(commands, env, folder, rounds) | {"absent": {} if dig else {"dig": "not installed"}}
        finally:
            holder.close()


def _measure(commands: Mapping[str, list[str]], env: Mapping[str, str], folder: Path, rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, argv in commands.items():
            took, used, said = _run(argv, env, folder)
            if name.startswith("md_") and "8080" not in said:
                raise Failed(f"{' '.join(argv[1:])} found nothing")
            if number:  # the first run fills caches
                seconds[name].append(took)
                cpu[name].append(used)
    base = seconds["imports"]
    return {
        "rounds": rounds,
        "imports_are": _IMPORTS,
        "commands": {
            name: {
                "ms": round(statistics.median(mine) * 1000, 2),
                "cpu_ms": round(statistics.median(cpu[name]) * 1000, 2),
                "of_imports": round(statistics.median(one / other for one, other in zip(mine, base, strict=True)), 3),
            }
            for name, mine in seconds.items()
        },
    }


def _run(argv: list[str], env: Mapping[str, str], folder: Path) -> tuple[float, float, str]:
    """Returns elapsed seconds, seconds of processor time, and the output."""
    said = folder / "said"
    # Without subprocess, whose own work takes a large part of the time of dig.
    actions = [
        (os.POSIX_SPAWN_OPEN, 1, str(said), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})  # spawned processes stay there
    begun = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, dict(env), file_actions=actions)
    _, _, use = os.wait4(pid, 0)
    took = time.perf_counter() - begun
    os.sched_setaffinity(0, ours)
    return took, use.ru_utime + use.ru_stime, said.read_text(errors="replace")
