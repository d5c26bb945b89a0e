"""A program that a test started on a host: its output and its end. No process of it remains."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .netns import kill

PATIENCE = 20.0  # seconds for a step that is short, but may be slow on a busy machine
_POLL = 0.01  # seconds between two checks of a condition


def wait_until(condition: Callable[[], bool], timeout: float = PATIENCE) -> bool:
    """Polls until the condition holds or the time is up; returns whether it held."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


class Process:
    """A started program in its own process group, whose output goes to files.

    Files instead of pipes: no thread has to read them, and a test can read the output so far at any time. The exit
    status is read without reaping the process until `close`, so that its pid, and with it the group, is not reused.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], directory: Path, cwd: Path) -> None:
        self.argv = list(argv)
        self._files = (directory / "stdout", directory / "stderr")
        directory.mkdir(parents=True)
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        self._closed = False

    @property
    def pid(self) -> int:
        """Its pid, which is also its process group (`ip netns exec` becomes the program that it runs)."""
        return self._popen.pid

    @property
    def stdout(self) -> str:
        """Its output on stdout so far."""
        return self._files[0].read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """Its output on stderr so far."""
        return self._files[1].read_text(errors="replace")

    @property
    def returncode(self) -> int | None:
        """The exit status as in subprocess: None while it runs; minus the signal if a signal ended it."""
        if self._closed:
            return self._popen.returncode
        state = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if state is None:
            return None
        return state.si_status if state.si_code == os.CLD_EXITED else -state.si_status

    def wait_for(self, text: str, timeout: float = PATIENCE) -> str:
        """Waits until `text` appears on stdout or stderr; returns its line. AssertionError if it does not."""

        def line() -> str | None:
            said = (self.stdout + "\n" + self.stderr).splitlines()
            return next((one for one in said if text in one), None)

        wait_until(lambda: self.returncode is not None or line() is not None, timeout)
        found = line()  # checked again after its end: it may have printed it last
        if found is None:
            raise AssertionError(f"{text!r} was not said within {timeout} s by {self._told()}")
        return found

    def wait(self, timeout: float = PATIENCE) -> int:
        """Waits for its end; returns the exit status. AssertionError if it does not end."""
        wait_until(lambda: self.returncode is not None, timeout)
        status = self.returncode
        if status is None:
            raise AssertionError(f"still running after {timeout} s: {self._told()}")
        return status

    def signal(self, number: int) -> None:
        """Sends a signal to the program alone (SIGSTOP and SIGCONT too). After SIGSTOP, returns when it has stopped."""
        if not self._closed:
            kill(self.pid, number)
            if number == signal.SIGSTOP:
                wait_until(self._has_stopped)

    def _has_stopped(self) -> bool:
        """Whether all threads have stopped: the kernel signals one thread, which stops the others when it runs."""
        states = []
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):  # the thread has ended
                states.append(stat.read_text().rpartition(") ")[2][0])
        return set(states) <= {"T", "Z", "X"}

    def terminate(self, timeout: float = PATIENCE) -> int:
        """Sends SIGTERM; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> int:
        """Sends SIGKILL to the program alone and returns the exit status."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def close(self) -> None:
        """Kills the whole group at once; does nothing if it has ended or was closed."""
        if not self._closed:
            kill(-self.pid, signal.SIGKILL)
            self._popen.wait()
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _told(self) -> str:
        state = "running" if self.returncode is None else f"exit {self.returncode}"
        return f"{' '.join(self.argv)} ({state})\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}"
