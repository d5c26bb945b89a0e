"""A daemon on a host of the bed, as installed: with its own /etc and /run, and a `systemctl` that controls it.

They are in a mount namespace that ends with the daemon. So what `md setup` or a typed command writes changes no file of
the machine that runs the tests. `sudo` there has no effect, and `killall` only records its call.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType
from typing import Final, Self

from .host import Host
from .process import Process, wait_until

_BOOT: Final = """
set -eu
mount -t tmpfs tmpfs /mnt
cp -a /etc/. /mnt
mount --move /mnt /etc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
{prepare}
while :; do
  {command} &
  echo $! >{tools}/pid
  wait $! || sleep 0.1
done
"""

_SYSTEMCTL: Final = """#!/bin/sh
[ "$1" = --version ] && exec /usr/bin/systemctl --version
echo "systemctl $*" >>{tools}/called
[ "$2" = {unit} ] || {{ echo "Unit $2.service not found." >&2; exit 5; }}
before=$(cat {tools}/pid)
kill "$before"
while [ "$(cat {tools}/pid)" = "$before" ] || ! {ready} >/dev/null 2>&1; do sleep 0.02; done
"""

_KILLALL: Final = """#!/bin/sh
echo "killall $*" >>{tools}/called
"""


class Installed:
    """Runs `argv` until the `with` block ends, after the shell commands of `prepare`.

    `unit` is its name for systemctl; `ready` is a command that succeeds when the daemon responds.
    """

    def __init__(self, host: Host, unit: str, argv: Sequence[str], prepare: str = "", ready: str = "true") -> None:
        self._host = host
        self.tools = tools = host.directory / "tools"
        tools.mkdir(exist_ok=True)
        self._env = {"PATH": f"{tools}{os.pathsep}{host.env['PATH']}"}
        for name, text in (("systemctl", _SYSTEMCTL), ("killall", _KILLALL), ("sudo", '#!/bin/sh\nexec "$@"\n')):
            script = tools / name
            script.write_text(text.format(tools=tools, unit=unit, ready=ready) if "{" in text else text)
            script.chmod(0o755)
        (tools / "called").write_text("")
        (tools / "pid").unlink(missing_ok=True)
        boot = _BOOT.format(tools=tools, prepare=prepare, command=shlex.join(argv))
        self._process = host.start(["unshare", "-m", "sh", "-c", boot], self._env)
        if not wait_until(lambda: (tools / "pid").exists() and self.run(["sh", "-c", ready]).returncode == 0, 15):
            raise AssertionError(f"{unit} does not come up: {self._process.stderr}")

    @property
    def called(self) -> list[str]:
        """The calls of systemctl and killall so far."""
        return (self.tools / "called").read_text().splitlines()

    def run(self, argv: Sequence[str], timeout: float = 20.0) -> CompletedProcess[str]:
        """Runs a program in its mount namespace to its end."""
        return self._host.run(self._beside(argv), timeout, self._env)

    def start(self, argv: Sequence[str]) -> Process:
        """Starts a program in its mount namespace."""
        return self._host.start(self._beside(argv), self._env)

    def shell(self, lines: str) -> str:
        """Runs a command line as a user types it; returns its output. AssertionError if it fails."""
        done = self.run(["sh", "-ec", lines])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def file(self, path: str) -> Path:
        """The path from here of a file of its /etc or /run."""
        return Path(f"/proc/{self._process.pid}/root{path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.close()

    def _beside(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "--mount", f"--target={self._process.pid}", f"--wd={self._host.directory}", "--", *argv]
