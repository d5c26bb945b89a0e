"""Measured programs: each runs on its own core, and its CPU time is read from outside."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

_CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORE: Final = _CORES[-1]
CLIENT_CORE: Final = _CORES[0]  # also handles interrupts, so the measured program gets the other one
_ENDING: Final = 5.0  # seconds that a program has to end after SIGTERM


class Failed(Exception):
    """A program did not start, or ended by itself; its output is in the message."""


def on_core(core: int) -> Callable[[], None]:
    """For `preexec_fn`: keeps the program on one core."""
    return lambda: os.sched_setaffinity(0, {core})


class Process:
    """A program that runs until :meth:`close`."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        *,
        core: int = SERVER_CORE,
        env: Mapping[str, str] | None = None,
        piped: bool = False,
    ) -> None:
        """`log` gets its output; with `piped`, its stdin and stdout are pipes to us instead."""
        self._log = log
        self._core = core
        self.argv = [str(each) for each in argv]
        with log.open("wb") as said:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else said,
                stderr=said,
                env=os.environ | dict(env or {}),
                preexec_fn=on_core(core),
                text=True,
            )

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._popen.pid

    @property
    def pipes(self) -> tuple[IO[str], IO[str]]:
        """Its stdin and stdout if it is `piped`."""
        if self._popen.stdin is None or self._popen.stdout is None:
            raise ValueError("not piped")
        return self._popen.stdin, self._popen.stdout

    def cpu_seconds(self) -> float:
        """The CPU time of all its threads so far, exact to the nanosecond."""
        # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of linux/posix-timers.h; /proc/PID/stat counts in 10 ms.
        return time.clock_gettime(~self.pid << 3 | 2)

    def resident_kib(self) -> int:
        """Its resident memory (VmRSS) in KiB; Failed if it has ended."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise Failed(f"{self.argv[0]} has no VmRSS")

    def wait_until(self, ready: Callable[[], bool], seconds: float = 10.0) -> None:
        """Waits until it is ready; Failed if it ends before, or after the timeout."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._popen.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{' '.join(self.argv)}: {self._log.read_text(errors='replace')[-500:].strip()}")
            time.sleep(0.02)

    def stay(self) -> None:
        """Keeps all its threads on its core: knot spreads its threads over all cores of the machine."""
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {self._core})

    def close(self) -> None:
        """Ends it."""
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
        self._popen.terminate()
        try:
            self._popen.wait(_ENDING)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
