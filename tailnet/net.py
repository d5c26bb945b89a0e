"""The tailnet: a control server and nodes, each in its own network namespace, on a bridge with no way out.

    with RealTailnet(["alpha", "bravo"], split={"minidisc": ["100.64.0.1"]}) as net:
        net["alpha"].run(["md", "list"])

The bridge is in the control server's namespace, and no node has a default route, so tailscaled cannot send a single
packet to outside addresses. Names of namespaces are those of the bed, so the next run removes what a killed one left.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from bed import netns
from bed.process import wait_until

from . import binaries
from .control import ADDRESS, Control
from .machine import DEVICE, Machine

_nets = itertools.count(1)


class RealTailnet:
    """Nodes by name. Addresses are assigned in this order: 100.64.0.1 and fd7a:115c:a1e0::1 first."""

    def __init__(self, names: Sequence[str], split: Mapping[str, Sequence[str]] | None = None) -> None:
        self.resolv_conf = Path("/etc/resolv.conf").read_bytes()
        """The resolv.conf of this machine as it was before."""
        self._programs = binaries.find()
        self._prefix = f"md{os.getpid()}.t{next(_nets)}-"
        self._names = list(names)
        self._split = split or {}
        self._machines: dict[str, Machine] = {}
        self._directory: Path | None = None

    def __getitem__(self, name: str) -> Machine:
        """The node of this name."""
        return self._machines[name]

    def __enter__(self) -> Self:
        netns.sweep()
        try:
            self._up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cut(self, name: str) -> None:
        """Unplugs a node: no packets come in or go out, and no other node gets an error."""
        netns.ip([f"link set {self._port(name)} nomaster"], self._prefix + "-control")

    def heal(self, name: str) -> None:
        """Undoes `cut`."""
        netns.ip([f"link set {self._port(name)} master br0"], self._prefix + "-control")

    def start(self, name: str, *flags: str) -> None:
        """Starts a node's tailscaled with these flags."""
        self[name].up(self.control.certificate, *flags)

    def together(self) -> None:
        """Makes every node run, see all others online, and have a tunnel to them, whatever the previous test left.

        A node that has just joined may be silent for five seconds: if a peer sends to it before it knows the peer, the
        first handshake is lost, and WireGuard waits that long before the next one.
        """
        pairs = [(one, other) for one in self._machines.values() for other in self._machines if other != one.name]
        for machine in self._machines.values():
            self._mend(machine)
        for machine, other in pairs:
            machine.wait_for_peer(other, Online=True)
        for machine, other in pairs:
            machine.reach(other)

    def close(self) -> None:
        """Removes everything that exists of the tailnet."""
        for machine in self._machines.values():
            machine.close()
        if self._directory is not None:
            self.control.stop()
        made = sorted(path.name for path in netns.NETNS.glob(self._prefix + "*"))
        netns.ip((f"netns del {name}" for name in made), force=True)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._machines.clear()

    def _up(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=f"{netns.SCRATCH}{os.getpid()}-"))
        (self._directory / "control").mkdir()
        bridge = self._prefix + "-control"
        self.control = Control(self._programs, bridge, self._directory / "control", self._split)
        for number, name in enumerate(self._names, start=1):
            directory = self._directory / name
            self._machines[name] = Machine(name, number, directory, self._prefix + name, self._programs)
        self._wire(bridge)
        self.control.start()
        with ThreadPoolExecutor(len(self._names)) as pool:
            list(pool.map(self._begin, self._machines.values()))
        for machine in self._machines.values():  # one after the other, so that the addresses have this order
            machine.login(self.control.key())
        self.together()

    def _mend(self, machine: Machine) -> None:
        if not machine.runs:
            self.start(machine.name)
        settled = ("Running", "NeedsLogin", "Stopped")
        wait_until(lambda: machine.status()["BackendState"] in settled, 20)
        if machine.status()["BackendState"] != "Running":
            machine.login(self.control.key(), "--force-reauth")
        machine.learn()

    def _begin(self, machine: Machine) -> None:
        machine.place()
        machine.up(self.control.certificate)

    def _wire(self, bridge: str) -> None:
        netns.ip(f"netns add {namespace}" for namespace in (bridge, *(self._prefix + name for name in self._names)))
        netns.ip(
            [
                "link set lo up",
                "link add br0 type bridge mcast_snooping 0 forward_delay 0",
                f"addr add {ADDRESS}/24 dev br0",
                "link set br0 up",
            ],
            bridge,
        )
        for name in self._names:
            netns.ip(
                [
                    f"link add {self._port(name)} netns {bridge} type veth peer name {DEVICE}"
                    f" netns {self._prefix}{name}",
                    f"link set {self._port(name)} master br0 up",
                ],
                bridge,
            )
            netns.ip(
                ["link set lo up", f"addr add {self[name].underlay}/24 dev {DEVICE}", f"link set {DEVICE} up"],
                self._prefix + name,
            )

    def _port(self, name: str) -> str:
        return f"p{self._names.index(name)}"
