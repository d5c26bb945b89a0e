"""A network from a list of addresses: plain WireGuard, Nebula, NetBird, a LAN, several nodes on loopback.

``static:ITEM,…`` where an item is ``[NAME=]ADDRESS[:PORT]``, a CIDR block, ``file:PATH`` (one item a
line, ``#`` begins a comment) or ``dns:NAME``. Our own node is the first item that is an address of this machine.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final

from ..base.errors import ConfigError, NetworkError
from ..base.model import Peer, Snapshot, canonical_address, replace
from .own_machine import address_towards, host_name, is_own

MOST_ADDRESSES: Final = 4096


class Static:
    """The network of the items in `text`, which is the spec without ``static:``."""

    def __init__(self, text: str, port: int) -> None:
        self._port = port
        self._items = [item.strip() for item in text.split(",") if item.strip()]
        if not self._items:
            raise ConfigError(
                "network 'static:': name its nodes, as in static:100.64.0.1,100.64.0.2 or static:10.1.0.0/24"
            )
        # Items that need no file and no resolver are checked here, so that their errors come early.
        for item in self._items:
            if not item.startswith(("file:", "dns:")):
                list(self._peers(item, "network static"))

    def read(self, timeout: float) -> Snapshot:
        """The current snapshot: reads the files and resolves the names each time."""
        peers: dict[str, Peer] = {}
        for item in self._items:
            for peer in self._expand(item):
                peers.setdefault(peer.id, peer)
        me = self._me(peers)
        others = tuple(peer for peer in peers.values() if me is None or peer.id != me.id)
        return Snapshot(me, others, "static")

    async def aread(self, timeout: float) -> Snapshot:
        """The same; name resolution, which may block, runs in a thread."""
        if any(item.startswith(("file:", "dns:")) for item in self._items):
            import asyncio

            return await asyncio.to_thread(self.read, timeout)
        return self.read(timeout)

    def _me(self, peers: dict[str, Peer]) -> Peer | None:
        checked: set[str] = set()
        blocks = [item for item in self._items if "/" in item and not item.startswith("file:")]
        if blocks:
            import ipaddress  # slow to load

            networks = [ipaddress.ip_network(block, strict=False) for block in blocks]
            for network in networks:
                towards = address_towards(str(next(iter(network.hosts()))))
                if towards and ipaddress.ip_address(towards) in network:
                    return next((peer for peer in peers.values() if towards in peer.addresses), None)
            checked.update(
                peer.addresses[0]
                for peer in peers.values()
                if any(ipaddress.ip_address(peer.addresses[0]) in network for network in networks)
            )
        for peer in peers.values():
            address = peer.addresses[0]
            if address not in checked:
                checked.add(address)
                if is_own(address):
                    return peer if peer.name else replace(peer, name=host_name())
        return None

    def _expand(self, item: str) -> Iterator[Peer]:
        kind, _, rest = item.partition(":")
        if kind == "file":
            yield from self._from_file(rest)
        elif kind == "dns":
            yield from self._from_dns(rest)
        else:
            yield from self._peers(item, "network static")

    def _from_file(self, path: str) -> Iterator[Peer]:
        try:
            with open(path, encoding="utf-8") as file:
                lines = file.read().removeprefix("\ufeff").splitlines()  # some editors begin a file with this
        except (OSError, UnicodeDecodeError) as error:
            raise NetworkError(f"network file:{path}: {error}") from error
        for number, line in enumerate(lines, 1):
            item = line.partition("#")[0].strip()
            if item:
                yield from self._peers(item, f"{path}:{number}")

    def _from_dns(self, name: str) -> Iterator[Peer]:
        try:
            found = socket.getaddrinfo(name, self._port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise NetworkError(f"network dns:{name}: {error.strerror or error}") from error
        for *_, address in found:
            yield Peer("", (str(address[0]),), self._port)

    def _peers(self, item: str, where: str) -> Iterator[Peer]:
        if "/" in item:
            yield from self._block(item, where)
            return
        name, equals, rest = item.rpartition("=")
        if equals and not name:
            raise ConfigError(f"{where}: {item!r}: there is no name before '='")
        address, port = _address_and_port(rest, self._port, f"{where}: {item!r}")
        yield Peer(name, (address,), port)

    def _block(self, item: str, where: str) -> Iterator[Peer]:
        import ipaddress

        try:
            network = ipaddress.ip_network(item, strict=False)
        except ValueError:
            raise ConfigError(f"{where}: {item!r} must be a CIDR block, as in 10.1.0.0/24") from None
        if network.num_addresses > MOST_ADDRESSES:
            raise ConfigError(
                f"{where}: {item!r} has {network.num_addresses} addresses; at most {MOST_ADDRESSES} are allowed"
            )
        for address in network.hosts():
            yield Peer("", (str(address),), self._port)


def _address_and_port(text: str, port: int, where: str) -> tuple[str, int]:
    """``1.2.3.4``, ``1.2.3.4:53``, ``fd7a::1``, ``[fd7a::1]:53``."""
    host, number = text, str(port)
    if text.startswith("["):
        host, closing, behind = text[1:].partition("]")
        if not closing or behind[:1] not in ("", ":"):
            host = text  # not an address: the error below says so
        number = behind[1:] if behind else number
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    try:
        address = canonical_address(host)
    except ValueError:
        raise ConfigError(
            f"{where} must be an address, as in 100.64.0.1, 100.64.0.1:28004 or [fd7a::1]:28004"
        ) from None
    if not (number.isascii() and number.isdecimal() and len(number) <= 5 and 0 < int(number) <= 65535):
        raise ConfigError(f"{where}: port {number!r} must be a number from 1 to 65535")
    return address, int(number)
