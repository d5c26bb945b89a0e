"""The mirror of a network: a zone with the services of all hosts, which a holder serves to the programs of its host.

The mirror watches the network as any watcher does, with one session for each other host. The services of its own host
come from the holder. Building the zone takes only a limited share of the holder's time, however often services change.
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

SPACING: Final = 0.005  # the least number of seconds between two states of the zone
SHARE: Final = 4  # after a state that took t seconds of CPU time, the next one waits SHARE * t seconds
_PROGRAM: Final = Client("own host", MAX_MESSAGE, True, "tcp")  # for the responder: any program let in


class Known:
    """The network backend of a mirror: it returns the snapshot of the node, so that the backend is not read twice."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Notes that the network has changed."""
        self._rung.set()

    def read(self, timeout: float) -> Snapshot:
        """Returns the current snapshot of the node; `timeout` is not used."""
        return self._snapshot()

    async def aread(self, timeout: float) -> Snapshot:
        """Does the same as :meth:`read`."""
        return self._snapshot()

    async def changes(self) -> AsyncIterator[None]:
        """Yields after each change of the network; changes that come together may count as one."""
        while True:
            await self._rung.wait()
            self._rung.clear()
            yield


class HolderMirror:
    """The mirror of the network under the apex of `domain`.

    ``changed()`` is called when the zone has a new state, ``failed()`` when it can have no more of them. Needs a
    running event loop, until :meth:`close`.
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
        # Services and peer states of the same moment: the serial of a peer must not appear with its older services.
        # The services of our own host are known from the start.
        own = tuple(self._own())
        self._latest: tuple[tuple[Service, ...], Node] = own, self._standings.beside((), "", current=False)
        self._taking: asyncio.TimerHandle | None = None
        self._rested = -SPACING  # when the next state may be taken
        self._own_moved = False  # whether this host's services differ from those in the zone
        self._own_told = True  # whether the next state of the zone will include that change
        self._current = False
        key = domain.apex.key
        self._state = {key + qtype.to_bytes(2, "big") for qtype in (SOA, AXFR, IXFR)}
        self._end = 14 + len(key)
        self._take()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends the mirror, with all its sessions."""
        if self._domain.on_heard == self._watcher.heard:  # another one may have begun
            self._domain.on_heard = None
        self._domain.directory.leave()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._watcher.close()
        if self._taking:
            self._taking.cancel()

    def descriptors(self) -> list[int]:
        """Returns the file descriptors of its sockets."""
        return self._watcher.descriptors()

    def sessions(self) -> int:
        """Returns the number of hosts that it has a session with."""
        return self._watcher.sessions()

    def network_changed(self) -> None:
        """Notes that the node has a new snapshot."""
        self._network.ring()

    def alive(self, now: float) -> None:
        """Must be called every second: while the mirror is current, the host answers other hosts from its data."""
        if self._current:
            self._domain.directory.alive(now)

    def own_changed(self) -> None:
        """Notes that the services of this host have changed."""
        self._own_moved, self._own_told = True, False
        self._watcher.own_changed()

    def standing(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        """Returns the records at `name` (in lower case) in the merged zone; None if it is not under the apex."""
        return self._responder.standing(name, qtype)

    def answer(self, wire: bytes) -> bytes | Messages | None:
        """Returns the response to a query for SOA, AXFR or IXFR of the apex; None for any other message."""
        # lower() is for the name. It changes octets from 0x41 to 0x5A in the type too; these three types have none.
        if wire[12 : self._end].lower() not in self._state or wire[2] & (OPCODE | QR) >> 8:
            return None
        if self._own_moved:
            # Programs of this host may also query the host's own zone. The mirror must not answer with an older state.
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
        # As if a peer had answered with them, with a round-trip time of zero.
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
        """Makes the host's directory answer other hosts' queries about the network from `view`."""
        directory = self._domain.directory

        def said() -> list[Service]:
            # The directory knows the peers, and what each may offer, as early as this mirror; so its newer knowledge
            # filters the view. The services of our own host reach it by another way.
            peers = {peer.id: peer for peer in directory.peers}
            known = [(each, peers.get(each.via or "")) for each in view.services]
            return [each for each, peer in known if peer and directory.admits(each, peer)]

        directory.follow(said, view.silent, len(directory.peers), clock.now())

    def _take(self) -> None:
        """Makes a new state of the zone from the latest view."""
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
