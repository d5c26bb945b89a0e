"""The hosts of a network that is watched: who they are, what each offers, and how each stands."""

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

UNHURRIED: Final = 2000  # hosts; with more of them all pauses between lookups grow in proportion


class WatchedHosts:
    """The hosts that are watched for what they offer under `apex`.

    What they say goes into `directory`, or comes from our own host by `own_holder`.
    """

    def __init__(self, apex: Name, directory: Directory, own_holder: OwnHolder) -> None:
        self.apex = apex
        self.directory = directory
        self.own_holder = own_holder
        self.by_id: dict[str, HostState] = {}
        self.me: Peer | None = None  # our own, also where that is none of those that are watched
        self.network = ""
        self.census = ""  # of all, with our own host where we hold it
        self.pace = 1.0
        self._places: dict[tuple[str, int], HostState] = {}

    def seen(self, snapshot: Snapshot, *, holder: bool, now: float) -> list[HostState]:
        """Who is there now; those that are there no more. As our own host's `holder` we know what it offers."""
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
        """Whether it is still one of them."""
        return self.by_id.get(host.peer.id) is host

    def at(self, address: str, port: int) -> HostState | None:
        """The one that is asked at that place."""
        return self._places.get((address, port))

    def in_doubt(self) -> bool:
        """Whether something is known of a host that has not been heard since we were away."""
        asked = self.own_holder.among(self.by_id)
        return any(not host.heard and self.directory.said_by(host.peer) for host in asked)

    def stands(self, *, holder: bool) -> Iterator[Stood]:
        """How each stands, but who is no registry and offers nothing."""
        memory, now = self.directory.memory, clock.now()
        if holder and self.me:
            yield Stood.of(State.REGISTRY, self.me)
        for key, host in self.by_id.items():
            # Two that took each other for programs of their own would have news of each other without end.
            serial = None if host.copy.is_mirror else host.copy.serial
            if not host.heard:
                yield Stood.of(State.UNHEARD, host.peer)
            elif memory.silent(key, now):
                yield Stood.of(State.SILENT, host.peer, serial)
            elif memory.standing(key, now) is Standing.REGISTRY:
                yield Stood.of(State.REGISTRY, host.peer, serial)

    def forget_copy(self, host: HostState) -> None:
        """What we have of its zone is to be had anew."""
        host.copy = MirrorCopy(self.apex)


def loop_time() -> float:
    """The event loop's time, in which all is told of a :class:`HostState`."""
    return asyncio.get_running_loop().time()
