"""The properties of the machine of a run, without host name and paths."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .process import CLIENT_CORE, SERVER_CORE


def facts() -> dict[str, Any]:
    """Processor, cores, memory, kernel, Python, and the socket buffer, which limits how many responses can wait."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in (_field("/proc/cpuinfo", "flags") or "").split(),
        "memory_gib": round(int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()}",
        "distribution": (_field("/etc/os-release", "PRETTY_NAME", "=") or "unknown").strip('"'),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": _first_line(["cc", "--version"]),
        "go": _go(),
        "receive_buffer": _number("/proc/sys/net/core/rmem_default"),
        "measured_core": SERVER_CORE,
        "asking_core": CLIENT_CORE,
    }


def load() -> float:
    """The load average. If it is above the number of cores, all rates are too low."""
    return round(os.getloadavg()[0], 2)


def _field(path: str, name: str, sign: str = ":") -> str | None:
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{re.escape(name)}\s*{sign}\s*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _first_line(argv: list[str]) -> str | None:
    if shutil.which(argv[0]) is None:
        return None
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0] or None


def _go() -> str | None:
    told = _first_line(["go", "version"])
    return told.split()[2] if told else None
