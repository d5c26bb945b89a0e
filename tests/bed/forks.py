"""Starts programs of this package on many hosts, without the time to start a hundred interpreters.

``with Forks() as forks: forks.start(host, "bed.changer", "80")``. One process has everything loaded. Every program is
a fork of it that moves into its host's namespace, and is then a process of its own that can be killed or stopped.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from .host import Host
from .netns import enter, kill
from .process import wait_until

_CODE: Final = os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2))
_LOADED: Final = ("mddns.sync", "mddns.sync_watch", "mddns.watching.watcher", "mddns.node", "mddns.aio_watch")


class Forked:
    """A program that was started by a fork."""

    def __init__(self, pid: int, said: Path) -> None:
        self.pid = pid
        self._said = said

    @property
    def stdout(self) -> str:
        """Its output on stdout so far."""
        return (self._said / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """Its output on stderr so far."""
        return (self._said / "stderr").read_text()

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        kill(self.pid, number)

    def wait_for(self, text: str, timeout: float) -> None:
        """Waits until it has printed the text."""
        found = wait_until(lambda: text in self.stdout, timeout)
        assert found, f"not {text!r} within {timeout} s, but {self.stdout}{self.stderr}"


class Forks:
    """The programs; they end with the ``with`` block."""

    def __init__(self) -> None:
        self._count = 0

    def __enter__(self) -> Self:
        self._mother = subprocess.Popen(
            [sys.executable, "-m", "bed.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": _CODE},
            start_new_session=True,
        )
        return self

    def start(self, host: Host, module: str, *args: str) -> Forked:
        """Starts a module as a program on a host."""
        self._count += 1
        said = host.directory / f"forked-{self._count}"
        said.mkdir()
        for stream in ("stdout", "stderr"):
            (said / stream).touch()
        job = {"namespace": host.namespace, "argv": [module, *args], "env": host.env, "said": str(said)}
        assert self._mother.stdin
        assert self._mother.stdout
        self._mother.stdin.write(json.dumps(job) + "\n")
        self._mother.stdin.flush()
        return Forked(int(self._mother.stdout.readline()), said)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill(-self._mother.pid, signal.SIGKILL)
        self._mother.communicate()


def main() -> None:
    """The parent process: forks for each line of JSON, and prints the pid."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in _LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        if pid := os.fork():
            print(pid, flush=True)
        else:
            _become(json.loads(line))


def _become(job: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    enter(job["namespace"])
    os.environ.clear()
    os.environ.update(job["env"])
    for number, stream in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(os.path.join(job["said"], stream), os.O_WRONLY | os.O_APPEND), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = job["argv"]
    try:
        runpy.run_module(job["argv"][0], run_name="__main__")
    finally:
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
