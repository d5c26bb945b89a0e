"""Runs the real `md` on its own network: nodes on 127.0.0.1, each at a free port, without Tailscale.

    world = World(tmp_path)                 # gives its nodes names, starts none
    world.start("advertise", "web", ":80", node="alpha").wait_for("advertised")
    world.md("list", "-o", "json")

In a static network, the first address of this machine is the node itself. So each node gets its own address first;
a program that only queries gets an address that is not in the network.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bed.netns import kill
from bed.process import Process

MD = [sys.executable, "-m", "mddns"]
ADDRESS = "127.0.0.1"


class World:
    """The nodes of a network by name, and their programs. Everything ends with the `with` block."""

    def __init__(self, directory: Path, nodes: Sequence[str] = ("alpha", "bravo")) -> None:
        self.directory = directory
        self.ports = dict(zip(nodes, free_ports(len(nodes)), strict=True))
        self.processes: list[Process] = []
        self._numbers = itertools.count()

    def spec(self, first: str | None = None) -> str:
        """Returns the network in the form of `--network`, with `first` in front."""
        names = sorted(self.ports, key=lambda name: name != first)
        return "static:" + ",".join(f"{name}={ADDRESS}:{self.ports[name]}" for name in names)

    def env(self, node: str | None = None, more: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """Returns the environment of a program of this network. A value of None in `more` removes a variable."""
        ours = ("MDDNS_", "XDG_", "LC_", "LANG", "PYTHONIO", "PYTHONU", "_MD", "NO_COLOR", "COLUMNS")
        env: dict[str, str | None] = {
            **{key: value for key, value in os.environ.items() if not key.startswith(ours)},
            "HOME": str(self.directory),
            "TERM": "xterm",
            "TS_SOCKET": "/nowhere/tailscaled.sock",
            "MDDNS_NETWORK": self.spec(node),
            "MDDNS_TIMEOUT": "5",
            **(more or {}),
        }
        return {key: value for key, value in env.items() if value is not None}

    def md(
        self,
        *args: str,
        env: Mapping[str, str | None] | None = None,
        stdin: str = "",
        timeout: float = 20.0,
        **more: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `md` until it ends. After `timeout` it is killed, with subprocess.TimeoutExpired."""
        return subprocess.run(
            [*MD, *args],
            env=self.env(None, env),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=self.directory,
            **more,
        )

    def shell(self, script: str, env: Mapping[str, str | None] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a bash script in which `md` is the program."""
        define = f'md() {{ "{sys.executable}" -m mddns "$@"; }}\n'
        return subprocess.run(
            ["bash", "--norc", "-c", define + script],
            env=self.env(None, env),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            cwd=self.directory,
            errors="surrogateescape",
        )

    def start(self, *args: str, node: str | None = None, env: Mapping[str, str | None] | None = None) -> Process:
        """Starts `md` in the background, as the node of that name."""
        log = self.directory / f"process-{next(self._numbers)}"
        process = Process([*MD, *args], self.env(node, env), log, self.directory)
        self.processes.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            kill(process.pid, signal.SIGCONT)
            process.close()


class Deaf:
    """A socket that receives queries and never answers: a silent node."""

    def __init__(self) -> None:
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, 0))
        self.socket.settimeout(20)
        self.network = f"static:deaf={ADDRESS}:{self.socket.getsockname()[1]}"

    def forget(self) -> None:
        """Drops the queries received so far."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recvfrom(512)
        self.socket.settimeout(20)

    def wait_for_question(self) -> None:
        """Waits until a query arrives: then its sender waits for the answer."""
        self.socket.recvfrom(512)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


def free_ports(count: int) -> list[int]:
    """Returns ports of 127.0.0.1 that are free for UDP and for TCP."""
    found: dict[int, list[socket.socket]] = {}
    try:
        while len(found) < count:
            tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
            tcp.bind((ADDRESS, 0))
            port = tcp.getsockname()[1]
            found[port] = [tcp, udp]
            try:
                udp.bind((ADDRESS, port))
            except OSError:
                for each in found.pop(port):
                    each.close()
        return list(found)
    finally:
        for pair in found.values():
            for each in pair:
                each.close()


def as_nobody(*args: str) -> list[str]:
    """Returns the command that runs `md` as a user without permissions, who cannot load further modules."""
    loaded = f"import encodings.ascii, encodings.idna, mddns.__main__ as md, mddns.cli.{args[0]}"
    loaded += ", mddns.setup.dnsmasq, mddns.networks.tailscale"
    drop = "import os; os.geteuid() or (os.setgroups([]), os.setresgid(*[65534] * 3), os.setresuid(*[65534] * 3))"
    return [sys.executable, "-c", f"{loaded}; {drop}; md.main()", *args]
