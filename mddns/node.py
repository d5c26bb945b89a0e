"""A node: registry, responder and directory on real sockets, inside a running event loop.

It decides nothing. Queries go to the responder; what the responder must ask the network first is
asked by one fan-out that all questions of the moment share.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import Final

from . import aio_transport
from .directory import Directory
from .errors import Error, NetworkError
from .health import SixProbe
from .http_routes import open_site
from .http_trust import Names
from .inquiry import learn
from .instance import shares_machine
from .listeners import Reaction
from .lookup import Lookup, Outcome
from .memory import Memory
from .model import Peer, Service, Snapshot, fold
from .names import Name
from .networks import Network
from .offer import Offer
from .policy import Policy, who_may_ask
from .registry import Registration, Registry
from .reload import Difference
from .responder import Ask, Client, Responder, client
from .seat import Seat
from .settings import Settings
from .tenancy import HostTable
from .wire import PTR

_log = logging.getLogger("mddns")

STATUS_EVERY: Final = 5.0  # seconds between looks at the network
STATUS_TIMEOUT: Final = 2.0
_RETRY_EVERY: Final = 0.5  # seconds between attempts while waiting for a network
_MOST_WAITING: Final = 256  # questions that wait for the network
_LOOPBACK: Final = "127.0.0.1"  # where the daemon forwards to, in userspace networking


class Node:
    """Offers services on `network` and answers for them. Use :meth:`open`; ends with :meth:`close`."""

    def __init__(
        self, network: Network, apex: Name, timeout: float, policy: Policy, snapshot: Snapshot, me: Peer
    ) -> None:
        self._network = network
        self._timeout = timeout
        self._snapshot = snapshot
        self.registry = Registry(me, _shares_name(snapshot), _unix_ms())
        self.directory = Directory(apex.wire, Memory(), policy)
        # Drawn anew after a fork; two processes of a host never share it.
        self.table = HostTable(self.registry, int.from_bytes(os.urandom(6), "big"))
        self.responder = Responder(apex, self.table, self.directory, random.shuffle)
        # Further handlers by method and path, such as ("GET", "/ping"), go into the braces.
        self.site = open_site(self.responder, self._answer_http, {})
        self.seat = Seat(self.table, apex, self._answer, self._table_changed, self.site)
        self._six = SixProbe(self._found_six)
        self._refreshing: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._greeting: asyncio.Task[None] | None = None
        self._published: dict[tuple[str, str], Service] = {}
        self.abandoned = False  # in a forked child
        self._waiting = 0
        self._own: frozenset[str] = frozenset()
        self._clients: dict[tuple[str, bool], Client] = {}
        self._callers: set[str] | None = None  # who asked us while we ask around
        self._idle: dict[str, set[str]] = {}  # by address: the ids of peers that refused or were silent

    @classmethod
    async def open(cls, network: Network, apex: Name, *, timeout: float, policy: Policy) -> Node:
        """A node that answers when this returns. NetworkError, TailscaleError or PortInUse where it cannot."""
        snapshot = await network.aread(STATUS_TIMEOUT)
        if snapshot.me is None:
            raise NetworkError(
                "none of the network's addresses is this machine's: name yours with --address (MDDNS_ADDRESS)"
            )
        node = cls(network, apex, timeout, policy, snapshot, snapshot.me)
        try:
            node._apply(snapshot)
            await node.seat.take(node.reached_at[0], node.me.port)
            await node.seat.also_at(node.reached_at)
        except BaseException:
            await node.close()
            raise
        _nodes.add(node)
        node._following = asyncio.create_task(node._follow())
        node._greeting = asyncio.create_task(node._greet())
        return node

    @property
    def me(self) -> Peer:
        """Our own node, as its network has it."""
        return self.registry.me

    async def close(self) -> None:
        """Stops answering and closes every socket."""
        tasks = [task for task in (self._following, self._greeting, self._refreshing) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._six.close()
        await self.seat.close()

    def advertise(self, offer: Offer) -> Registration:
        """Offers a service from now on; the same endpoint again updates it in place."""
        registration = self.registry.advertise(offer, _unix_ms())
        self._changed()
        self._watch_six(registration)
        return registration

    def replace(self, offers: Iterable[Offer]) -> Difference:
        """Makes `offers` all that is offered, in one step: no query sees a part of it. InvalidService: nothing is done.

        What stays is not touched and keeps its age; what has other labels or numbers is changed in place.
        """
        before = self.registry.registrations()
        change = self.registry.replace(offers, _unix_ms())
        self._changed()
        standing = self.registry.registrations()
        for registration in set(before).difference(standing):
            self._six.forget(registration)
        for registration in standing:
            self._watch_six(registration)
        return change

    def relabel(self, registration: Registration, labels: Mapping[str, str]) -> None:
        """Gives a service other labels. KeyError where it is withdrawn."""
        self.registry.relabel(registration, labels, _unix_ms())
        self._changed()

    def withdraw(self, registration: Registration) -> bool:
        """Takes a service back; False where it was already."""
        withdrawn = self.registry.withdraw(registration, _unix_ms())
        self._six.forget(registration)
        self._changed()
        return withdrawn

    def unlist(self, port: int) -> None:
        """Takes back what this node offers of its own on `port`. KeyError where that is nothing."""
        for registration in self.registry.unlist(port, _unix_ms()):
            self._six.forget(registration)
        self._changed()

    @property
    def reached_at(self) -> tuple[str, ...]:
        """Where what comes from the network arrives on this machine: our addresses, or the daemon's loopback."""
        return self.me.addresses if self._snapshot.tun else (_LOOPBACK,)

    def _watch_six(self, registration: Registration) -> None:
        """Finds out whether a service answers over IPv6 where nobody has said so."""
        offer, six = registration.offer, [address for address in self.me.addresses if ":" in address]
        unsaid = offer.address is None and not offer.addresses and offer.protocol == "tcp"
        if unsaid and 0 < len(six) < len(self.me.addresses):
            self._six.watch(registration, six[0])
        else:
            self._six.forget(registration)

    def _changed(self) -> None:
        """Our own registry has changed: whoever answers for the host is told the difference."""
        now = {(fold(each.name), fold(each.instance)): each for each in self.registry.services()}
        before, self._published = self._published, now
        if now != before:
            self.table.changed(_unix_ms())
        self.seat.publish(
            [service for key, service in now.items() if before.get(key) != service],
            [service for key, service in before.items() if key not in now],
        )
        self._table_changed()

    def _table_changed(self) -> None:
        self.directory.own(self.table.services())

    async def settled(self) -> None:
        """Returns when what was advertised so far is answered, by whichever process of this host."""
        await self.seat.settle()

    def let_go(self) -> None:
        """Ends it in a forked child, whose parent goes on: closes the child's descriptors and nothing else."""
        self.abandoned = True
        self.seat.let_go()

    def _found_six(self, registration: Registration, answers: bool) -> None:
        self.registry.answers_over_six(registration, answers, _unix_ms())
        self._changed()

    def _apply(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if snapshot.me:
            self.registry.moved(snapshot.me, _shares_name(snapshot), _unix_ms())
        self.directory.network(snapshot, with_own_host=False)
        self._changed()
        self._own = frozenset(self.me.addresses)
        names = (self.me.name, snapshot.full_name, socket.gethostname())
        self.site.moved(self._own, Names(names, [str(self.responder.apex)]))
        self._clients.clear()
        self._idle.clear()
        # Programs of this machine may come from loopback, where nobody else can.
        self.responder.allow(who_may_ask(snapshot) | {_LOOPBACK, "::1"} if snapshot.tun else who_may_ask(snapshot))

    async def _keep_place(self) -> None:
        """Answers where we are now: after a change of address at the new one, and where a socket was not to be had."""
        place = self.reached_at[0], self.me.port
        if self.seat.place != place:
            await self.seat.close()
            await self.seat.take(*place)
            _log.info("answering at %s from now on", place[0])
        await self.seat.also_at(self.reached_at)

    async def _follow(self) -> None:
        """Keeps up with the network: peers come and go."""
        failing = False
        while True:
            await asyncio.sleep(STATUS_EVERY)
            try:
                snapshot = await self._network.aread(STATUS_TIMEOUT)
                if snapshot != self._snapshot:
                    self._apply(snapshot)
                await self._keep_place()
                failing = False
            except Error as error:
                if not failing:
                    _log.warning("%s", error)
                failing = True

    def _answer(self, wire: bytes, address: str, tcp: bool) -> Reaction:
        who = self._clients.get((address, tcp))
        if who is None:
            if len(self._clients) > 10_000:
                self._clients.clear()
            who = self._clients[address, tcp] = client(address, self._own, tcp=tcp)
        return self._answer_client(wire, who)

    def _answer_http(self, wire: bytes, address: str) -> Reaction:
        return self._answer_client(wire, client(address, self._own, tcp=True)._replace(transport="http"))

    def _answer_client(self, wire: bytes, who: Client) -> Reaction:
        address = who.address
        if self._callers is not None:
            self._callers.add(address)
        if address in self._idle:
            self._heard(address)
        answer = self.responder.respond(wire, who, time.monotonic())
        if not isinstance(answer, Ask):
            return answer
        if self._waiting >= _MOST_WAITING:
            return None  # the client asks again; by then the network has answered
        return self._ask(answer)

    async def _ask(self, ask: Ask) -> bytes:
        self._waiting += 1
        try:
            await asyncio.shield(self._refresh(ask.age))
        finally:
            self._waiting -= 1
        return ask.finish(time.monotonic())

    def _heard(self, address: str) -> None:
        """Who asks us is up, and may well be a registry by now."""
        for peer in self._idle.pop(address):
            self.directory.heard(peer)

    def _refresh(self, age: float) -> asyncio.Task[None]:
        """The one fan-out that is under way, or a new one to all who were last asked `age` seconds ago."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._list_peers(age))
        return self._refreshing

    async def _greet(self) -> None:
        """Asks everybody once, so that they hear of us, and we learn who is there; answers come from later asking."""
        await self._refresh(0.0)
        self.directory.expire()

    async def _list_peers(self, age: float) -> None:
        directory, now = self.directory, time.monotonic()
        due = directory.due(now, age)
        if not due:
            return
        directory.asking(due, now)
        lookup = Lookup(
            self.responder.apex,
            Name.of((b"_list",), self.responder.apex).wire,
            PTR,
            [(peer, directory.memory.standing(peer.id, now)) for peer in due],
            now,
            timeout=self._timeout,
        )
        callers: set[str] = set()
        self._callers = callers
        try:
            await aio_transport.run(lookup, time.monotonic)
        except OSError as error:  # no descriptor is left; who was not asked has not answered
            _log.warning("%s", error)
        finally:
            self._callers = None
            directory.asked(due)
        now = time.monotonic()
        for ask in lookup.asks:
            learn(directory, ask, self._snapshot.network, now)
            if ask.outcome is Outcome.ANSWERED:
                continue
            if ask.outcome is Outcome.PENDING:
                directory.missed(ask.peer, now)
            for address in ask.peer.addresses:
                self._idle.setdefault(address, set()).add(ask.peer.id)
        for address in callers & self._idle.keys():
            self._heard(address)


def _unix_ms() -> int:
    return int(time.time() * 1000)


def _shares_name(snapshot: Snapshot) -> bool:
    """Whether another node has our machine's name, so that it cannot stand for our instances."""
    me = snapshot.me
    return me is not None and shares_machine(me.name, (peer.name for peer in snapshot.peers))


async def open_node(settings: Settings, policy: Policy, wait: float) -> Node:
    """A node, as soon as there is a network, for at most `wait` seconds."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return await Node.open(settings.network, settings.apex, timeout=settings.timeout, policy=policy)
        except NetworkError:
            if time.monotonic() + _RETRY_EVERY > deadline:
                raise
        await asyncio.sleep(_RETRY_EVERY)


# A forked child has its parent's descriptors, and would keep the port when the parent is long gone.
_nodes: weakref.WeakSet[Node] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for node in list(_nodes):
        node.let_go()
    _nodes.clear()


os.register_at_fork(after_in_child=_let_go_of_all)
