"""One host of a bed: its addresses, programs and sockets."""

from __future__ import annotations

import os
import signal
import socket as net  # `Host.socket` is the socket of its tailscaled
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from . import netns
from .netns import kill
from .process import Process
from .tailnet import Node, Tailnet
from .tailscaled import PlayedTailscaled

P = ParamSpec("P")
T = TypeVar("T")

PORT = 28004
"""The port of mddns."""

_families = {4: net.AF_INET, 6: net.AF_INET6}


class Host:
    """One host of a bed. The bed makes it and removes it."""

    def __init__(self, node: Node, tailnet: Tailnet, directory: Path, namespace: str | None) -> None:
        self.node = node
        self.name = node.name
        self.namespace = namespace
        self.directory = directory
        self.tailscaled = PlayedTailscaled(directory / "tailscaled.sock", tailnet, node)
        self._processes: list[Process] = []

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, IPv4 first."""
        return self.node.addresses

    @property
    def ipv4(self) -> str:
        """Its IPv4 address. ValueError if it has none."""
        return self._address(4)

    @property
    def ipv6(self) -> str:
        """Its IPv6 address. ValueError if it has none, as on loopback."""
        return self._address(6)

    @property
    def socket(self) -> Path:
        """The path of its tailscaled's Unix socket."""
        return self.tailscaled.path

    @property
    def env(self) -> dict[str, str]:
        """The environment of its programs: the caller's, with the host's own home, cache and tailscaled."""
        # Without variables that make every program compile its modules again at each start.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MDDNS_", "XDG_", "PYTHONDONTWRITE"))}
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
            "TS_SOCKET": str(self.socket),
        }

    def run(
        self,
        argv: Sequence[str],
        timeout: float = 30.0,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program on this host until it ends. After `timeout` it is killed, with subprocess.TimeoutExpired."""
        with subprocess.Popen(
            self._argv(argv),
            env={**self.env, **(env or {})},
            cwd=self.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as program:
            try:
                out, err = program.communicate(stdin, timeout)
            except BaseException:
                kill(-program.pid, signal.SIGKILL)  # its children too
                raise
        return subprocess.CompletedProcess(list(argv), program.returncode, out, err)

    def start(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Starts a program on this host. It ends with its `with` block, at the latest with the bed."""
        log = self.directory / f"process-{len(self._processes)}"
        process = Process(self._argv(argv), {**self.env, **(env or {})}, log, self.directory)
        self._processes.append(process)
        return process

    def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `fn` on this host, in a thread of its own. Sockets and programs that it opens stay on this host."""
        if self.namespace is None:
            return fn(*args, **kwargs)
        return netns.in_namespace(self.namespace, fn, *args, **kwargs)

    def socket_udp(self, port: int = 0, family: int = 4, timeout: float = 5.0) -> net.socket:
        """Returns a UDP socket bound to its address, at `port` or any free port."""
        return self._bound(net.SOCK_DGRAM, port, family, timeout)

    def socket_tcp(self, port: int = 0, family: int = 4, timeout: float = 5.0) -> net.socket:
        """Returns a TCP socket that listens at its address, at `port` or any free port."""
        listener = self._bound(net.SOCK_STREAM, port, family, timeout)
        listener.listen(128)
        return listener

    def connect_tcp(self, address: str, port: int = PORT, timeout: float = 5.0) -> net.socket:
        """Opens a TCP connection from its address to another host."""
        own = self._address(6 if ":" in address else 4)
        return self.call(net.create_connection, (address, port), timeout, (own, 0))

    def close(self) -> None:
        """Ends its programs and its tailscaled."""
        for process in self._processes:
            process.close()
        self.tailscaled.stop()

    def _bound(self, kind: net.SocketKind, port: int, family: int, timeout: float) -> net.socket:
        made = self.call(net.socket, _families[family], kind)
        try:
            if kind == net.SOCK_STREAM:
                made.setsockopt(net.SOL_SOCKET, net.SO_REUSEADDR, 1)
            made.settimeout(timeout)
            made.bind((self._address(family), port))
        except OSError:
            made.close()
            raise
        return made

    def _address(self, family: int) -> str:
        found = self.node.ipv6 if family == 6 else self.node.ipv4
        if found is None:
            raise ValueError(f"{self.name} has no IPv{family} address, only {', '.join(self.addresses)}")
        return found

    def _argv(self, argv: Sequence[str]) -> list[str]:
        return list(argv) if self.namespace is None else ["ip", "netns", "exec", self.namespace, *argv]
