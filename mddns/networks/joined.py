"""Several networks joined into one, and our own address replaced."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.errors import ConfigError
from ..base.model import Peer, Snapshot, canonical_address, order_addresses, replace
from . import KnowsCallers, Network
from .own_machine import host_name


class Joined:
    """The union of `networks`. Our node has its addresses in all of them, or only `address` if that is given."""

    def __init__(self, networks: Sequence[Network], address: str | None, port: int) -> None:
        self._networks = networks
        self._port = port
        try:
            self._address = None if address is None else canonical_address(address)
        except ValueError:
            raise ConfigError(f"address {address!r}: must be an IP address, as in 100.64.0.1") from None

    def read(self, timeout: float) -> Snapshot:
        """Reads the networks one after the other. If one fails, its error is raised."""
        return self._join([network.read(timeout) for network in self._networks])

    async def aread(self, timeout: float) -> Snapshot:
        """Reads all networks concurrently."""
        import asyncio

        return self._join(await asyncio.gather(*(network.aread(timeout) for network in self._networks)))

    async def whois(self, address: str, port: int, timeout: float) -> bool:
        """Whether any network knows the connection as another node's. True if no network can say."""
        knowing = [network for network in self._networks if isinstance(network, KnowsCallers)]
        return not knowing or any([await network.whois(address, port, timeout) for network in knowing])

    def _join(self, snapshots: Sequence[Snapshot]) -> Snapshot:
        mine = [snapshot.me for snapshot in snapshots if snapshot.me]
        me = replace(mine[0], addresses=order_addresses(a for peer in mine for a in peer.addresses)) if mine else None
        if self._address:
            me = replace(me, addresses=(self._address,)) if me else Peer(host_name(), (self._address,), self._port)
        own = set(me.addresses) if me else set()
        # A node at another address of this machine than `address` is a separate node.
        ours = [peer for peer in mine if not own.isdisjoint(peer.addresses)]
        peers = {
            peer.id: peer
            for snapshot in snapshots
            for peer in snapshot.everyone()
            if not own.intersection(peer.addresses) or peer.port != (me.port if me else 0)
        }
        return Snapshot(
            me=me,
            peers=tuple(peer for peer in peers.values() if all(peer is not each for each in ours)),
            network="+".join(dict.fromkeys(snapshot.network for snapshot in snapshots)),
            tun=all(snapshot.tun for snapshot in snapshots),
            full_name=next((snapshot.full_name for snapshot in snapshots if snapshot.full_name), ""),
        )
