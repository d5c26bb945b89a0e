"""A node of the real tailnet: a host of the bed whose tailscaled is the real one.

Its programs see an /etc and a /run of their own: tailscaled writes resolv.conf, and finds no D-Bus by which it could
configure the resolver of the machine that runs the tests.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bed.host import Host
from bed.process import Process, wait_until
from bed.tailnet import Node, Tailnet
from bed.tailscaled import get

from . import control
from .binaries import Binaries

SOCKET: Final = "/var/run/tailscale/tailscaled.sock"
DEVICE: Final = "eth0"

# An /etc of its own, so that it can be written; its hosts file has the control server.
_PLACE: Final = """
set -e
mkdir -p "$1/etc" "$1/run" "$1/var"
cp -a /etc/. "$1/etc" 2>/dev/null || true
rm -f "$1/etc/resolv.conf" "$1/etc/hosts" "$1/etc/hostname"
printf '127.0.0.1 localhost\\n::1 localhost\\n%s %s\\n' "$3" "$4" >"$1/etc/hosts"
: >"$1/etc/resolv.conf"
echo "$2" >"$1/etc/hostname"
printf 'hosts: files dns\\n' >"$1/etc/nsswitch.conf"
for file in hosts resolv.conf hostname; do umount /etc/$file 2>/dev/null || true; done
mount --bind "$1/etc" /etc
mount -t tmpfs none "$(readlink -f /run)"
mkdir -p /run/tailscale "$1/var"
mount --bind "$1/run" /run/tailscale
[ -d /var/run/tailscale ]
hostname "$2"
echo placed
exec sleep infinity
"""


class Machine(Host):
    """One node. It exists before its login, and its tailscaled can be stopped and started."""

    def __init__(self, name: str, number: int, directory: Path, namespace: str, binaries: Binaries) -> None:
        directory.mkdir(parents=True)
        (directory / "cache").mkdir()
        super().__init__(Node(name), Tailnet(), directory, namespace)
        self.namespace: str = namespace
        self.underlay = f"198.51.100.{10 + number}"
        """Its address on the bridge that carries the tailnet."""
        self._binaries = binaries
        self._holder: Process | None = None
        self._daemon: Process | None = None
        self._starts = 0

    @property
    def socket(self) -> Path:
        """The path of its tailscaled's socket, as seen from outside the node."""
        return self.directory / "own" / "run" / "tailscaled.sock"

    @property
    def env(self) -> dict[str, str]:
        """The environment of its programs, which find tailscaled at the default path."""
        return {key: value for key, value in super().env.items() if key != "TS_SOCKET"}

    @property
    def daemon(self) -> Process:
        """The process of its tailscaled."""
        assert self._daemon is not None, f"{self.name} has no tailscaled"
        return self._daemon

    @property
    def command(self) -> str:
        """The path of the program `tailscale`."""
        return str(self._binaries.tailscale)

    @property
    def runs(self) -> bool:
        """Whether its tailscaled runs."""
        return self._daemon is not None

    def place(self) -> None:
        """Makes the mounts, which exist as long as a process that sleeps in them."""
        own = str(self.directory / "own")
        words = ["sh", "-c", _PLACE, "sh", own, self.name, control.ADDRESS, control.NAME]
        argv = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "--uts", *words]
        self._holder = Process(argv, os.environ, self.directory / "holder", self.directory)
        self._holder.wait_for("placed", 20)

    def up(self, certificate: Path, *flags: str) -> None:
        """Starts tailscaled; returns when it responds."""
        self._starts += 1
        argv = [str(self._binaries.tailscaled), "--no-logs-no-support", f"--statedir={self.directory / 'own' / 'var'}"]
        env = {"SSL_CERT_FILE": str(certificate), "TS_NO_LOGS_NO_SUPPORT": "true"}
        log = self.directory / f"tailscaled-{self._starts}"
        argv = self._argv([*argv, f"--socket={SOCKET}", *flags])
        self._daemon = Process(argv, {**self.env, **env}, log, self.directory)
        if not wait_until(lambda: self._answers(), 20):
            raise RuntimeError(f"tailscaled of {self.name} does not answer: {self._daemon.stderr[-2000:]}")

    def down(self, number: int = signal.SIGKILL) -> None:
        """Ends tailscaled by a signal, by default SIGKILL."""
        if self._daemon is not None:
            self._daemon.signal(number)
            self._daemon.wait(20)
            self._daemon.close()
            self._daemon = None

    def login(self, key: str, *flags: str) -> None:
        """Logs in; returns when the node runs and its addresses are known."""
        self.tailscale(
            "up",
            f"--login-server=https://{control.NAME}",
            f"--auth-key={key}",
            f"--hostname={self.name}",
            "--timeout=40s",
            *flags,
            timeout=50,
        )
        self.learn()

    def learn(self) -> None:
        """Reads its addresses from tailscaled."""
        self.node.addresses = tuple(self.status()["TailscaleIPs"])

    def tailscale(self, *words: str, timeout: float = 20) -> str:
        """Runs a command of `tailscale` and returns its output. RuntimeError if it fails."""
        done = self.run([self.command, *words], timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: tailscale {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def reach(self, name: str) -> None:
        """Waits until packets go to another node and back, through the tunnel."""
        self.tailscale("ping", "--tsmp", "-c", "8", "--timeout=3s", "--until-direct=false", name, timeout=40)

    def status(self) -> dict[str, Any]:
        """Returns the status of its tailscaled, with all peers."""
        told: dict[str, Any] = json.loads(self.local("status")[1])
        return told

    def local(self, what: str) -> tuple[int, bytes]:
        """Sends one request to its tailscaled. Returns the HTTP status and the body."""
        code, _, body = get(self.socket, f"/localapi/v0/{what}")
        return code, body

    def peer(self, name: str) -> dict[str, Any] | None:
        """Returns the status of another node in its tailscaled."""
        peers = (self.status().get("Peer") or {}).values()
        return next((each for each in peers if each["HostName"] == name), None)

    def wait_for_peer(self, name: str, timeout: float = 30, **wanted: object) -> dict[str, Any]:
        """Waits until its tailscaled reports these values for another node. AssertionError if it does not."""

        def holds() -> bool:
            told = self.peer(name)
            return told is not None and all(told.get(key) == value for key, value in wanted.items())

        assert wait_until(holds, timeout), f"{self.name} on {name}: not {wanted}, but {self.peer(name)}"
        told = self.peer(name)
        assert told is not None
        return told

    def wait_for_state(self, state: str, timeout: float = 30) -> None:
        """Waits until its tailscaled is in that state."""
        assert wait_until(lambda: self.status()["BackendState"] == state, timeout), self.status()["BackendState"]

    def shut(self, what: str, *more: str) -> None:
        """Drops incoming packets that match an nft expression, such as ``tcp dport 28004``. `calm` undoes it."""
        rules = [f"add rule inet trouble in {each} drop" for each in (what, *more)]
        self._nft("add table inet trouble; add chain inet trouble in { type filter hook input priority 0; }", *rules)

    def calm(self) -> None:
        """Undoes `shut`."""
        self._nft("delete table inet trouble")

    def close(self) -> None:
        """Ends all its programs."""
        super().close()
        for process in (self._daemon, self._holder):
            if process is not None:
                process.close()

    def _nft(self, *rules: str) -> None:
        done = self.run(["nft", "; ".join(rules)])
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: nft: {done.stderr}")

    def _answers(self) -> bool:
        try:
            return self.local("status")[0] == 200
        except OSError:
            return False

    def _argv(self, argv: Sequence[str]) -> list[str]:
        assert self._holder is not None, f"{self.name} has no mounts yet"
        return ["nsenter", "-t", str(self._holder.pid), "--mount", "--net", "--uts", f"--wdns={self.directory}", *argv]
