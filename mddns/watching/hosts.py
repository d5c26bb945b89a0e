"""The hosts of a watched network: their list, the services of each, and the state of each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from ..base.model import Peer, Snapshot
from ..base.names import Name
from ..directory.directory import Directory
from ..directory.peer_memory import Standing
from ..system import clock
from .host_state import HostState
from .mirror_zone import MirrorCopy, State, Stood, census
from .own_holder import OwnHolder

UNHURRIED: Final = 2000  # hosts; with more, all pauses between lookups grow in proportion


class WatchedHosts:
    """The hosts whose services under `apex` are watched.

    Their services go into `directory`. They come from the hosts themselves, or from our own holder's mirror
    (`own_holder`).
    """

    def __init__(self, apex: Name, directory: Directory, own_holder: OwnHolder) -> None:
        self.apex = apex
        self.directory = directory
        self.own_holder = own_holder
        self.by_id: dict[str, HostState] = {}
        self.me: Peer | None = None  # our own host, even if it is not one of the watched hosts
        self.network = ""
        self.census = ""  # of all hosts, and of our own host too where this process is its holder
        self.pace = 1.0
        self._places: dict[tuple[str, int], HostState] = {}

    def seen(self, snapshot: Snapshot, *, holder: bool, now: float) -> list[HostState]:
        """Takes over a new list of peers. Returns the hosts that are gone. A `holder` does not watch its own host."""
        self.me, self.network = snapshot.me, snapshot.network
        self.directory.network(snapshot, with_own_host=True)
        peers = {peer.id: peer for peer in self.directory.peers}
        me = snapshot.me.id if snapshot.me else ""
        if holder:
            peers.pop(me, None)
        gone = []
        for key, host in list(self.by_id.items()):
            if key not in peers or not host.peer.is_same_node(peers[key]):
                gone.append(self.by_id.pop(key))
            else:
                host.peer = peers[key]
        for key, peer in peers.items():
            if key not in self.by_id:
                self.by_id[key] = HostState(peer, self.apex, now)
        own = [snapshot.me] if holder and snapshot.me else []
        self.census = census((*own, *(host.peer for host in self.by_id.values())))
        self.pace = max(1.0, len(self.by_id) / UNHURRIED)
        self._places = {(host.peer.route[0], host.peer.port): host for host in self.by_id.values()}
        self.own_holder.network(self.by_id.get(me), self.census, now)
        return gone

    def has(self, host: HostState) -> bool:
        """Whether `host` is still watched."""
        return self.by_id.get(host.peer.id) is host

    def at(self, address: str, port: int) -> HostState | None:
        """Returns the host that is queried at `address` and `port`; None if there is none."""
        return self._places.get((address, port))

    def in_doubt(self) -> bool:
        """Whether services are known of a host that has not answered since this process was asleep or stopped."""
        asked = self.own_holder.among(self.by_id)
        return any(not host.heard and self.directory.said_by(host.peer) for host in asked)

    def stands(self, *, holder: bool) -> Iterator[Stood]:
        """Yields the state of each host, except hosts known to have no registry. As `holder`, of our own host too."""
        memory, now = self.directory.memory, clock.now()
        if holder and self.me:
            yield Stood.of(State.REGISTRY, self.me)
        for key, host in self.by_id.items():
            # The serial of another mirror is left out: two mirrors that took each other for programs of their own host
            # would change each other's zone without end.
            serial = None if host.copy.is_mirror else host.copy.serial
            if not host.heard:
                yield Stood.of(State.UNHEARD, host.peer)
            elif memory.silent(key, now):
                yield Stood.of(State.SILENT, host.peer, serial)
            elif memory.standing(key, now) is Standing.REGISTRY:
                yield Stood.of(State.REGISTRY, host.peer, serial)

    def forget_copy(self, host: HostState) -> None:
        """Drops the copy of the zone of `host`, so that the next session transfers all of it."""
        host.copy = MirrorCopy(self.apex)


def loop_time() -> float:
    """Returns the event loop's time, in seconds: the clock of the times in :class:`HostState`."""
    return asyncio.get_running_loop().time()
