"""Sends one burst of load to a responder, from a separate process on the other core."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import HERE
from .build import built
from .process import CLIENT_CORE, Failed, on_core


@dataclass(frozen=True, slots=True)
class Load:
    """The result of one burst. Times in seconds, latencies in microseconds."""

    sent: int
    received: int
    bad: int
    lost: int
    seconds: float
    cpu_seconds: float
    mean_octets: float
    p50_us: float
    p99_us: float
    p999_us: float

    @property
    def rate(self) -> float:
        """Right responses per second."""
        return self.received / self.seconds

    @property
    def generator_us(self) -> float:
        """The generator's own CPU time for each query, in microseconds."""
        return self.cpu_seconds / self.sent * 1e6 if self.sent else 0.0


def generator() -> list[str]:
    """The command of the generator: the C program, or without a compiler the Python one."""
    program = built("load")
    return [str(program)] if program else [sys.executable, "-m", "bench.generator"]


def generator_name() -> str:
    """The name of the generator, for the results."""
    return "C, sendmmsg/recvmmsg" if built("load") else "Python (no C compiler: these rates are mostly the generator's)"


def load(
    address: str,
    port: int,
    corpus: Path,
    seconds: float,
    *,
    window: int | None = None,
    rate: float | None = None,
    seed: int = 1,
    echo: bool = False,
    command: list[str] | None = None,
) -> Load:
    """Sends queries for `seconds`: with at most `window` in flight, or at a fixed `rate` per second."""
    mode, amount = ("rate", rate) if rate else ("window", window or 64)
    argv = [*(command or generator()), address, str(port), str(corpus), str(seconds), mode, str(amount), str(seed)]
    done = subprocess.run(
        [*argv, "echo" if echo else "dns"],
        capture_output=True,
        text=True,
        cwd=HERE.parent,
        preexec_fn=on_core(CLIENT_CORE),
        timeout=seconds + 60,
    )
    if done.returncode:
        raise Failed(f"load on {address}:{port}: {done.stderr.strip()[-500:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return Load(**told)
