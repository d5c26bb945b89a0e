"""What a host says of one apex: its responder, its directory, and the fan-out that fills it.

A node has one for its own apex. The holder has one more for each other apex that tenants of its host
register under; what peers say under one apex, and how they behave there, is no news of another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, MutableSequence
from typing import TYPE_CHECKING, Any, Final

from ..base.model import Peer, Snapshot, replace
from ..base.names import Name
from ..base.policy import Policy
from ..codec.instance import TTL
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

AHEAD: Final = 3.5  # seconds after which a peer is asked again, where what it says is in use
LATE: Final = 1.0  # seconds after a lookup should have ended, from which on what it heard may be out of date
_MOST_WAITING: Final = 256  # questions that wait for the network


class Domain:
    """One apex. `served` is what this host offers under it. Lives in a running event loop.

    With `whole`, the merged zone that a forwarder is primary of, this host has nothing to offer here: our own host is
    one of those that are asked.
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
        self.callers: set[str] | None = None  # who asked us while we ask around
        self.on_heard: Callable[[str], None] | None = None  # is told the id of whoever was idle, and asks us
        self.served = served
        self._timeout = timeout
        self._network = ""
        self._refreshing: asyncio.Task[None] | None = None
        self._turns = clock.Turns(clock.now())
        self._waiting = 0

    def network(self, snapshot: Snapshot, may_ask: frozenset[str]) -> None:
        """Who is on the network now, and who gets merged answers."""
        self._network = snapshot.network
        self.directory.network(snapshot, with_own_host=self._whole is not None)
        self.responder.allow(may_ask)
        self.idle.clear()

    def table_changed(self) -> None:
        """What this host offers has changed."""
        self.directory.own(self.served.services())

    def ask(self, ask: Ask) -> Coroutine[None, None, bytes] | None:
        """Fulfils an Ask of the responder; None where too many wait: the client asks again."""
        return None if self._waiting >= _MOST_WAITING else self._ask(ask)

    async def known(self) -> Known:
        """What the network offers; asks the peers first where that is out of date."""
        directory, services = self.directory, None
        # That there is nothing is only believed for as long as a cache would believe us.
        for age in (TTL, NEGATIVE_TTL):
            if not services and directory.ready and directory.stale(clock.now(), age):
                await asyncio.shield(self._refresh(age))
            services = directory.services(clock.now())
        # What this host offers says the network as well, so that every node tells the same of it.
        services = [each if each.network else replace(each, network=self._network) for each in services or ()]
        return Known(str(self.apex), services, directory.silent(clock.now()), directory.ready)

    def ask_ahead(self) -> None:
        """Asks anew who will be due soon; meanwhile questions are answered from what is known."""
        directory, now = self.directory, clock.now()
        if self.refreshing is None and directory.ready and directory.due(now, AHEAD) and not directory.stale(now):
            self._refreshing = asyncio.create_task(self._list_peers(AHEAD, ahead=True))

    def keep_fresh(self) -> asyncio.Task[None] | None:
        """Asks anew whoever is due, or soon will be; the fan-out that is under way, if there is one."""
        if self.refreshing is None and self.directory.ready:
            if self.directory.stale(clock.now()):
                return self._refresh(TTL)
            self.ask_ahead()
        return self.refreshing

    async def fresh(self) -> None:
        """Returns when what is known of the peers is not out of date any more, as far as they answer."""
        if self.directory.ready and self.directory.stale(clock.now()):
            await asyncio.shield(self._refresh(TTL))

    def heard(self, address: str) -> None:
        """Who asks us is up, and may well be a registry by now."""
        for peer in self.idle.pop(address):
            self.directory.heard(peer)
            if self.on_heard:
                self.on_heard(peer)

    def left_alone(self, peer: Peer) -> None:
        """Whoever watches has found that nobody answers at `peer`, and leaves it alone for a while."""
        # Who is idle already has not asked since, and all others need not be looked at anew for its sake.
        if any(peer.id not in self.idle.get(address, ()) for address in peer.addresses):
            for address in peer.addresses:
                self.idle.setdefault(address, set()).add(peer.id)
            self.responder.forget_clients()  # so that it is seen when it asks

    def tick(self, now: float) -> None:
        """Wants to be called every second; notices where we have been asleep, stopped or starved."""
        if away := self._turns.away(now):
            self.directory.slept(away, now)

    async def greet(self) -> None:
        """Asks everybody once, so that they hear of us, and we learn who is there; answers come from later asking."""
        if before := self.refreshing:
            await asyncio.wait([before])  # who was asked before now may not have heard it
        # Questions may wait for the same fan-out; whoever cancels the greeting does not mean them.
        await asyncio.shield(self._refresh(0.0))
        self.directory.expire()

    @property
    def refreshing(self) -> asyncio.Task[None] | None:
        """The fan-out under way."""
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
        """The one fan-out that is under way, or a new one to all who were last asked `age` seconds ago."""
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
            # Programs of this host have the same time, and then want to know who was silent.
            timeout=max(self._timeout - HEAD_START, self._timeout / 2),
            way=lambda peer: directory.memory.way(peer.id, now),
            lists=directory.memory.lists(now),
        )
        callers: set[str] = set()
        self.callers = callers
        self.responder.forget_clients()  # so that each is seen when it asks for the first time
        try:
            await asyncio_sockets.run(lookup, clock.now)
        except OSError as error:  # no descriptor is left; who was not asked has not answered
            _log.warning("%s", error)
        finally:
            self.callers = None
            directory.asked(due)
        began, now = now, clock.now()
        self.tick(now)
        if now > lookup.deadline + LATE:
            await self._list_peers(0.0)  # we slept, and could hear nobody; or stood still, and heard what was so before
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
    """All that a host serves: a node's own apex, and those that its host's other processes brought along."""

    def __init__(self, own: Domain, make: Callable[[Name], Domain]) -> None:
        self.own = own
        self.alone = True  # there is no other
        self._make = make
        self._by_apex = {own.apex.key: own}
        self._ending: set[asyncio.Task[None]] = set()  # fan-outs for those that are served no more

    def __iter__(self) -> Iterator[Domain]:
        return iter(self._by_apex.values())

    def serve(self, apexes: Iterable[Name]) -> None:
        """These, beside our own, from now on. Who asked for one that is left out still gets an answer."""
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
        """The one with the longest apex that a query's name is under; ours, which refuses it, where there is none."""
        end = len(wire)
        at = 12
        # A pointer, which no question has, ends it like a name that is cut off.
        while at < end and 0 < wire[at] < 0x40:
            at += 1 + wire[at]
        return self.under(wire[12 : at + 1].lower())

    def under(self, name: bytes) -> Domain:
        """The same for a name in lower case."""
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
    from random import shuffle  # drags hashes in, and nearly always all records can be told

    shuffle(records)
