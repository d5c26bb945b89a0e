"""The mirror of a network that a holder keeps for the programs of its host, and its zone, which it gives them.

It watches the network as any watcher does, with one session for each other host; what its own host offers it knows. The
zone that comes of it takes no more than a share of the holder's time, however often something changes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Final, cast

from ..base.model import Service, Snapshot, replace
from ..dns.message import AXFR, IXFR, MAX_MESSAGE, OPCODE, QR, SOA
from ..host.domain import Domain
from ..networks.settings import Settings
from ..responder.push_subscriptions import Held
from ..responder.reaction import Messages
from ..responder.responder import Client, Responder
from ..system import clock
from ..zone.merged_zone import MergedZone
from ..zone.zone import Node, Zone
from .mirror_zone import OWNER, Marker, Standings
from .view import View, Watching
from .watcher import Watcher

SPACING: Final = 0.005  # seconds, at least, between two states of the zone
SHARE: Final = 4  # times as long as a state took, the next is not taken
_PROGRAM: Final = Client("own host", MAX_MESSAGE, True, "tcp")  # to the responder, whoever was let in


class Known:
    """The network as the node knows it: nobody asks for it twice."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """It has changed."""
        self._rung.set()

    def read(self, timeout: float) -> Snapshot:
        """The network as it is now."""
        return self._snapshot()

    async def aread(self, timeout: float) -> Snapshot:
        """The same."""
        return self._snapshot()

    async def changes(self) -> AsyncIterator[None]:
        """Yields when it has changed."""
        while True:
            await self._rung.wait()
            self._rung.clear()
            yield


class HolderMirror:
    """The network under the apex of `domain`; ``changed()`` is called when the zone has another state, ``failed()``
    when it will not have any more.

    Lives in a running event loop, until :meth:`close`.
    """

    def __init__(
        self,
        domain: Domain,
        timeout: float,
        snapshot: Callable[[], Snapshot],
        changed: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        self._network = Known(snapshot)
        self._domain = domain
        self._changed = changed
        self._failed = failed
        me = domain.served.me
        settings = Settings(self._network, "", domain.apex, me.port, timeout)
        self._watcher = Watcher(settings, own=self._own, other=domain.directory, left_alone=domain.left_alone)
        domain.on_heard = self._watcher.heard
        self._marker, self._standings = Marker(), Standings()
        self._zone = MergedZone(domain.apex, me.addresses, clock.unix_ms())
        self._responder = Responder(domain.apex, self._zone, domain.directory, random.shuffle, domain.responder.counts)
        self._responder.whole = self._zone
        self._responder.allow(frozenset((_PROGRAM.address,)))
        # Of one moment: a serial must not be told of what came before it. Our own host is known from the first on.
        own = tuple(self._own())
        self._latest: tuple[tuple[Service, ...], Node] = own, self._standings.beside((), "", current=False)
        self._taking: asyncio.TimerHandle | None = None
        self._rested = -SPACING  # when the next state may be taken
        self._own_moved = False  # whether what this host offers is another than in the zone
        self._own_told = True  # whether it is in what is taken next
        self._current = False
        key = domain.apex.key
        self._state = {key + qtype.to_bytes(2, "big") for qtype in (SOA, AXFR, IXFR)}
        self._end = 14 + len(key)
        self._take()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends it, with all its sessions."""
        if self._domain.on_heard == self._watcher.heard:  # another one may have begun
            self._domain.on_heard = None
        self._domain.directory.leave()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._watcher.close()
        if self._taking:
            self._taking.cancel()

    def descriptors(self) -> list[int]:
        """Those of its sockets."""
        return self._watcher.descriptors()

    def sessions(self) -> int:
        """How many hosts tell it of their changes."""
        return self._watcher.sessions()

    def network_changed(self) -> None:
        """The node has another snapshot."""
        self._network.ring()

    def alive(self, now: float) -> None:
        """Wants to be called every second: what the host answers to others is what is known here, while that lasts."""
        if self._current:
            self._domain.directory.alive(now)

    def own_changed(self) -> None:
        """What this host offers is another by now."""
        self._own_moved, self._own_told = True, False
        self._watcher.own_changed()

    def standing(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        """The records at a name (in lower case) in the merged view; None where it is not under the apex."""
        return self._responder.standing(name, qtype)

    def answer(self, wire: bytes) -> bytes | Messages | None:
        """The answer to what asks for the zone's state: SOA, AXFR, IXFR of the apex; None for anything else."""
        # The name in lower case; of the type's octets only 0x41 to 0x5A would change, which none of these have.
        if wire[12 : self._end].lower() not in self._state or wire[2] & (OPCODE | QR) >> 8:
            return None
        if self._own_moved:
            # Our own programs may ask for the host's own view by another way, and must not be told less here.
            self._watcher.publish()
            self._own_told = True
            self._take()
        return cast("bytes | Messages", self._responder.respond(wire, _PROGRAM, clock.now()))

    async def _run(self) -> None:
        await self._watcher.start()
        self._watcher.add(self, Watching(self._told, self._ended))

    def _ended(self, error: BaseException | None) -> None:
        if error:
            self._failed()

    def _own(self) -> list[Service]:
        me, network = self._domain.served.me, self._network.read(0).network
        # As a peer would tell it, and as near as can be.
        return [
            replace(each, via=me.id, host=me.name or None, owner=me.owner, tags=me.tags, network=network, rtt_ms=0.0)
            for each in self._domain.served.services()
        ]

    def _told(self, view: View, current: bool) -> None:
        self._current, self._own_told = current, True
        if current:
            self._follow(view)
        self._latest = view.services, self._standings.beside(self._watcher.stood, self._watcher.census, current=current)
        if self._taking is None:
            loop = asyncio.get_running_loop()
            self._taking = loop.call_later(max(0.0, self._rested - loop.time()), self._take)

    def _follow(self, view: View) -> None:
        """What others ask this host about the network is answered by what its own programs are told of it."""
        directory = self._domain.directory

        def said() -> list[Service]:
            # Of who is there, and who may say what, the directory knows as soon as we do; of our own host it is told.
            peers = {peer.id: peer for peer in directory.peers}
            known = [(each, peers.get(each.via or "")) for each in view.services]
            return [each for each, peer in known if peer and directory.admits(each, peer)]

        directory.follow(said, view.silent, len(directory.peers), clock.now())

    def _take(self) -> None:
        """Makes what is known now the state of the zone."""
        if self._taking:
            self._taking.cancel()
            self._taking = None
        self._own_moved = self._own_moved and not self._own_told
        begun = clock.spent()
        services, node = self._latest
        zone = Zone(self._domain.apex.wire, self._marker.mark(services), before=self._zone.zone)
        if self._zone.take(zone, clock.unix_ms(), {(OWNER,): node}):
            self._changed()
        self._rested = asyncio.get_running_loop().time() + max(SPACING, SHARE * (clock.spent() - begun))
