"""One apex of a host: its responder, its directory, and the fan-out that fills the directory.

A node has a domain for its own apex. The holder has one more for each other apex under which tenants of its host
register. Each has its own memory of peers: their services and behaviour under one apex say nothing about another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, MutableSequence
from typing import TYPE_CHECKING, Any, Final

from ..base.model import Peer, Snapshot, replace
from ..base.names import Name
from ..base.policy import Policy
from ..codec.instance_records import TTL
from ..directory.peer_memory import Memory
from ..directory.pushed import Followed
from ..directory.source import NEGATIVE_TTL
from ..dns.message import PTR
from ..http.prometheus import Known
from ..lookup import asyncio_sockets
from ..lookup.asked_peer import Outcome
from ..lookup.fanout import HEAD_START, Lookup
from ..lookup.query import learn
from ..responder.counters import Counts
from ..responder.responder import Ask, Responder, Served
from ..system import clock

if TYPE_CHECKING:
    from ..zone.merged_zone import MergedZone

_log = logging.getLogger("mddns")

AHEAD: Final = 3.5  # seconds after which a peer is queried again in advance, while its services are in use
LATE: Final = 1.0  # seconds after a lookup's deadline; if it ends later, its responses may be out of date
_MOST_WAITING: Final = 256  # queries that wait for a fan-out


class Domain:
    """One apex. `served` holds this host's services under it. Needs a running event loop.

    `whole` is the merged zone of which a forwarder is the primary. With it `served` is empty, and our own host is
    queried like a peer.
    """

    def __init__(
        self,
        apex: Name,
        served: Served,
        policy: Policy,
        timeout: float,
        counts: Counts | None = None,
        *,
        whole: MergedZone | None = None,
    ) -> None:
        self.apex = apex
        self.directory = Followed(apex.wire, Memory(), policy)
        self.responder = Responder(apex, served, self.directory, _shuffle, counts)
        self.responder.whole = self._whole = whole
        self.idle: dict[str, set[str]] = {}  # by address: the ids of peers that refused or were silent
        self.callers: set[str] | None = None  # addresses that sent us queries during the fan-out; None without one
        self.on_heard: Callable[[str], None] | None = None  # called with the id of an idle peer that sent us a query
        self.served = served
        self._timeout = timeout
        self._network = ""
        self._refreshing: asyncio.Task[None] | None = None
        self._turns = clock.Turns(clock.now())
        self._waiting = 0

    def network(self, snapshot: Snapshot, may_ask: frozenset[str]) -> None:
        """Sets the peers on the network, and the addresses that get merged answers."""
        self._network = snapshot.network
        self.directory.network(snapshot, with_own_host=self._whole is not None)
        self.responder.allow(may_ask)
        self.idle.clear()

    def table_changed(self) -> None:
        """Updates the directory after this host's services have changed."""
        self.directory.own(self.served.services())

    def ask(self, ask: Ask) -> Coroutine[None, None, bytes] | None:
        """Completes an Ask of the responder. None if too many queries wait already: the client will retry."""
        return None if self._waiting >= _MOST_WAITING else self._ask(ask)

    async def known(self) -> Known:
        """All services of the network. Queries the peers first if the directory is stale."""
        directory, services = self.directory, None
        # An empty result is only valid for as long as a cache keeps our negative answers.
        for age in (TTL, NEGATIVE_TTL):
            if not services and directory.ready and directory.stale(clock.now(), age):
                await asyncio.shield(self._refresh(age))
            services = directory.services(clock.now())
        # This host's services name the network as well, so that every node returns the same.
        services = [each if each.network else replace(each, network=self._network) for each in services or ()]
        return Known(str(self.apex), services, directory.silent(clock.now()), directory.ready)

    def ask_ahead(self) -> None:
        """Begins to query the peers that will be due soon; meanwhile queries are answered from the directory."""
        directory, now = self.directory, clock.now()
        if self.refreshing is None and directory.ready and directory.due(now, AHEAD) and not directory.stale(now):
            self._refreshing = asyncio.create_task(self._list_peers(AHEAD, ahead=True))

    def keep_fresh(self) -> asyncio.Task[None] | None:
        """Begins to query the peers that are due, or soon will be. Returns the fan-out that is under way, or None."""
        if self.refreshing is None and self.directory.ready:
            if self.directory.stale(clock.now()):
                return self._refresh(TTL)
            self.ask_ahead()
        return self.refreshing

    async def fresh(self) -> None:
        """Waits until the services of all peers that answer are up to date."""
        if self.directory.ready and self.directory.stale(clock.now()):
            await asyncio.shield(self._refresh(TTL))

    def heard(self, address: str) -> None:
        """Notes that the idle peers at `address`, which sent us a query, are up and may run a registry by now."""
        for peer in self.idle.pop(address):
            self.directory.heard(peer)
            if self.on_heard:
                self.on_heard(peer)

    def left_alone(self, peer: Peer) -> None:
        """Marks `peer` as idle: a watcher got no answer from it, and will query it less often for a while."""
        # If it is idle already, it has not sent a query since: then all clients need not be checked again.
        if any(peer.id not in self.idle.get(address, ()) for address in peer.addresses):
            for address in peer.addresses:
                self.idle.setdefault(address, set()).add(peer.id)
            self.responder.forget_clients()  # so that we notice its next query

    def tick(self, now: float) -> None:
        """Must be called every second. Detects by a gap that the process was asleep, stopped or starved."""
        if away := self._turns.away(now):
            self.directory.slept(away, now)

    async def greet(self) -> None:
        """Queries all peers once, so that they notice us and we learn which of them run a registry.

        Then marks all peers as out of date, so that answers need a later fan-out.
        """
        if before := self.refreshing:
            await asyncio.wait([before])  # a query sent before now may not have reached its peer
        # Queries may wait for the same fan-out, which must outlive a cancelled greeting.
        await asyncio.shield(self._refresh(0.0))
        self.directory.expire()

    @property
    def refreshing(self) -> asyncio.Task[None] | None:
        """The fan-out under way, or None."""
        task = self._refreshing
        return None if task is None or task.done() else task

    async def _ask(self, ask: Ask) -> bytes:
        self._waiting += 1
        try:
            await asyncio.shield(self._refresh(ask.age))
        finally:
            self._waiting -= 1
        return ask.finish(clock.now())

    def _refresh(self, age: float) -> asyncio.Task[None]:
        """The fan-out under way, or a new one to all peers that were last queried `age` seconds ago or earlier."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._list_peers(age))
        return self._refreshing

    async def _list_peers(self, age: float, *, ahead: bool = False) -> None:
        directory, now = self.directory, clock.now()
        self.tick(now)
        due = directory.due(now, age)
        if not due:
            return
        directory.asking(due, now, ahead=ahead)
        lookup = Lookup(
            self.apex,
            Name.of((b"_list",), self.apex).wire,
            PTR,
            [(peer, directory.memory.standing(peer.id, now)) for peer in due],
            now,
            # Programs of this host have the same timeout: they need our answer, which names silent peers, before it.
            timeout=max(self._timeout - HEAD_START, self._timeout / 2),
            way=lambda peer: directory.memory.way(peer.id, now),
            lists=directory.memory.lists(now),
        )
        callers: set[str] = set()
        self.callers = callers
        self.responder.forget_clients()  # so that we notice the first query of each
        try:
            await asyncio_sockets.run(lookup, clock.now)
        except OSError as error:  # no descriptor is left; the remaining peers count as silent
            _log.warning("%s", error)
        finally:
            self.callers = None
            directory.asked(due)
        began, now = now, clock.now()
        self.tick(now)
        if now > lookup.deadline + LATE:
            await self._list_peers(0.0)  # we were asleep or stopped: responses are missing or old
            return
        self.responder.counts.fanout.add(now - began)
        for ask in lookup.asks:
            learn(directory, ask, self._network, now)
            if ask.outcome is Outcome.ANSWERED:
                continue
            if ask.outcome is Outcome.PENDING:
                directory.missed(ask.peer, now)
            for address in ask.peer.addresses:
                self.idle.setdefault(address, set()).add(ask.peer.id)
        directory.lapse(now)
        for address in callers & self.idle.keys():
            self.heard(address)


class Domains:
    """All domains of a host: one for the node's own apex, and one for each other apex of its host's processes."""

    def __init__(self, own: Domain, make: Callable[[Name], Domain]) -> None:
        self.own = own
        self.alone = True  # whether our own domain is the only one
        self._make = make
        self._by_apex = {own.apex.key: own}
        self._ending: set[asyncio.Task[None]] = set()  # fan-outs of domains that are no longer served

    def __iter__(self) -> Iterator[Domain]:
        return iter(self._by_apex.values())

    def serve(self, apexes: Iterable[Name]) -> None:
        """Sets the apexes beside our own. Queries that wait for a removed one are still answered."""
        wanted = {self.own.apex.key: self.own.apex, **{apex.key: apex for apex in apexes}}
        for key in self._by_apex.keys() - wanted.keys():
            if task := self._by_apex.pop(key).refreshing:
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        for key in wanted.keys() - self._by_apex.keys():
            self._by_apex[key] = self._make(wanted[key])
        self.alone = len(self._by_apex) == 1
        self.own.responder.forget_hot()  # another apex may be below ours

    def choose(self, wire: bytes) -> Domain:
        """The domain with the longest apex above the query's name; else our own domain, which refuses the query."""
        end = len(wire)
        at = 12
        # A compression pointer, which a question never has, ends the name as if it were cut off.
        while at < end and 0 < wire[at] < 0x40:
            at += 1 + wire[at]
        return self.under(wire[12 : at + 1].lower())

    def under(self, name: bytes) -> Domain:
        """As :meth:`choose`, for a name in wire format and lower case."""
        at = 0
        while at < len(name):
            domain = self._by_apex.get(name[at:])
            if domain is not None:
                return domain
            at += 1 + name[at]
        return self.own

    async def close(self) -> None:
        """Ends every fan-out."""
        tasks = [*self._ending, *(domain.refreshing for domain in self)]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _shuffle(records: MutableSequence[Any]) -> None:
    from random import shuffle  # imports hash modules too; nearly always all records fit, and no shuffle is needed

    shuffle(records)
