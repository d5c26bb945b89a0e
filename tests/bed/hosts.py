"""Hosts: network namespaces on a bridge, each with its own tailscaled; without namespaces, loopback addresses.

    with Bed(["alpha", "bravo"], others=[phone()]) as bed:
        bed.host("alpha").run(["md", "list"])

The bridge has a namespace of its own and no host has a default route, so no packet leaves the bed and the machine's
own routing does not change. As on a real tailnet, a host that is offline stays silent: the neighbour entries are
permanent, so that no unanswered ARP request reports it. The rate limit of ICMP errors is the kernel's own.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from . import netns
from .host import PORT, Host
from .netns import NeedsNamespaces
from .process import wait_until
from .tailnet import Node, Tailnet

__all__ = ["PORT", "Bed", "Host", "NeedsNamespaces"]

DEVICE = "tailscale0"
MTU = 1280  # that of Tailscale's device, so that larger packets are fragmented as there

_beds = itertools.count(1)


class Bed:
    """Hosts, given by name or, for special ones, as a `Node`, and `others`: nodes that are not hosts of the bed.

    `others` are silent, as phones are (on loopback they refuse). The tailnet may change while the bed exists:
    `bed.tailnet.add(...)`.
    """

    uses = 0
    """How often a test got a host of a bed on namespaces; conftest counts the tests that ran there by it."""

    def __init__(self, hosts: Iterable[str | Node], others: Iterable[Node] = ()) -> None:
        self.number = number = next(_beds)
        self.namespaces = netns.why_not() is None
        # Loopback: a /24 of its own for each bed, so that two beds do not share port 28004.
        third = (os.getpid() + number) % 254
        self.tailnet = Tailnet() if self.namespaces else Tailnet(prefixes=(f"127.77.{third}.", ""))
        self._prefix = f"md{os.getpid()}.{number}-"
        self._scratch = f"{netns.SCRATCH}{os.getpid()}-"
        self._nodes = [Node(host) if isinstance(host, str) else host for host in hosts]
        self._others = list(others)
        self._hosts: dict[str, Host] = {}
        self._directory: Path | None = None
        self._apart = False  # whether there is a second bridge

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

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order in which they were given."""
        return tuple(map(self.host, self._hosts))

    def host(self, name: str) -> Host:
        """The host of this name."""
        Bed.uses += self.namespaces
        return self._hosts[name]

    def cut(self, name: str) -> None:
        """Unplugs a host: no packets come in or go out, and no other host gets an error."""
        # Its port leaves the bridge and its device stays up, as tailscale0 stays up when a path is lost; a
        # device that is down would lose its IPv6 addresses.
        self._ip(self._bridge, f"link set {self._port(name)} nomaster", "cut")

    def split(self, *names: str) -> None:
        """Splits the network: these hosts reach only each other. One such part at a time."""
        if not self._apart:
            self._ip(self._bridge, "link add br1 type bridge mcast_snooping 0 forward_delay 0", "split")
            self._ip(self._bridge, "link set br1 addrgenmode none up", "split")
            self._apart = True
        for name in names:
            self._ip(self._bridge, f"link set {self._port(name)} master br1", "split")

    def heal(self, name: str) -> None:
        """Undoes `cut`, `split` and `drop`."""
        self._ip(self._bridge, f"link set {self._port(name)} master br0", "heal")
        self._until_forwarding()
        self._nft(name, "add table inet bed; delete table inet bed")

    def drop(self, name: str, port: int = PORT) -> None:
        """Makes a host silent: drops all incoming packets for the port, UDP and TCP."""
        self._nft(
            name,
            "add table inet bed; add chain inet bed in { type filter hook input priority 0; };"
            f"add rule inet bed in meta l4proto {{ tcp, udp }} th dport {port} drop",
        )

    def close(self) -> None:
        """Removes everything that exists of the bed."""
        for host in self._hosts.values():
            host.close()
        if self.namespaces:
            # Lists the namespaces instead of remembering them, so that those made before a failure are removed too.
            made = sorted(path.name for path in netns.NETNS.glob(self._prefix + "*"))
            netns.ip((f"netns del {name}" for name in made), force=True)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._hosts.clear()

    @property
    def _bridge(self) -> str:
        return self._prefix + "-bridge"  # two dashes: no host can have this name

    def _up(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=self._scratch))
        for node in [*self._nodes, *self._others]:
            if not self.namespaces and not node.addresses:
                node.families = (4,)  # loopback has a single IPv6 address
            self.tailnet.add(node)
        for node in self._nodes:
            directory = self._directory / node.name
            (directory / "cache").mkdir(parents=True)
            namespace = self._prefix + node.name if self.namespaces else None
            self._hosts[node.name] = Host(node, self.tailnet, directory, namespace)
        if self.namespaces:
            self._wire()
        for host in self._hosts.values():
            host.tailscaled.start()

    def _wire(self) -> None:
        """Makes namespaces, veth pairs, addresses and neighbour entries, in as few processes as possible."""
        names = [node.name for node in self._nodes]
        mac = {id(node): f"02:00:64:40:00:{n:02x}" for n, node in enumerate(self._nodes, start=1)}
        netns.ip(f"netns add {namespace}" for namespace in (self._bridge, *(self._prefix + n for n in names)))
        # Without snooping and without delay: the bridge forwards frames at once.
        netns.ip(
            ["link add br0 type bridge mcast_snooping 0 forward_delay 0", "link set br0 addrgenmode none up"],
            self._bridge,
        )
        netns.ip(
            f"link add {self._port(node.name)} mtu {MTU} netns {self._bridge} type veth"
            f" peer name {DEVICE} address {mac[id(node)]} mtu {MTU} netns {self._prefix}{node.name}"
            for node in self._nodes
        )
        netns.ip((f"link set {self._port(n)} addrgenmode none master br0 up" for n in names), self._bridge)
        # A node that is not a host of the bed has this link-layer address, which no interface has.
        nobody = "02:00:00:00:00:01"
        neighbours = [(n, a, mac.get(id(n), nobody)) for n in self.tailnet.nodes for a in n.addresses]
        for node in self._nodes:
            lines = ["link set lo up", f"link set {DEVICE} addrgenmode none up"]
            lines += [
                f"addr add {a}/64 dev {DEVICE} nodad" if ":" in a else f"addr add {a}/10 dev {DEVICE}"
                for a in node.addresses
            ]
            lines += [
                f"neigh add {a} lladdr {to} nud permanent dev {DEVICE}" for n, a, to in neighbours if n is not node
            ]
            netns.ip(lines, self._prefix + node.name)
        self._until_forwarding()

    def _until_forwarding(self) -> None:
        """Waits until the bridge forwards frames: the kernel enables a port a moment after its device is up."""

        def forwarding() -> bool:
            command = ["ip", "-n", self._bridge, "-details", "-json", "link", "show", "master", "br0"]
            links = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            return all(link["linkinfo"]["info_slave_data"]["state"] == "forwarding" for link in links)

        if not wait_until(forwarding, timeout=10):
            raise RuntimeError("the bridge does not forward")

    def _port(self, name: str) -> str:
        return f"b{list(self._hosts).index(name)}"

    def _ip(self, namespace: str, line: str, what: str) -> None:
        if not self.namespaces:
            raise NeedsNamespaces(f"{what}: {netns.why_not()}")
        netns.ip([line], namespace)

    def _nft(self, name: str, rules: str) -> None:
        if not self.namespaces:
            raise NeedsNamespaces(f"drop: {netns.why_not()}")
        result = self.host(name).run(["nft", rules])
        if result.returncode != 0:
            raise RuntimeError(result.stderr)
