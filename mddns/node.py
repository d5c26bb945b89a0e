"""A node: registry, responder and directory on real sockets, on a running event loop.

The node only connects these parts. It passes each query to the responder of the query's apex. If the responder needs
fresh data from the peers, one fan-out queries them for all queries that wait (:mod:`mddns.host.domain`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from .base.errors import NetworkError, PortInUse
from .base.model import Peer, Service, Snapshot, fold
from .base.names import Name
from .base.offer import Offer
from .base.policy import Policy, who_may_ask
from .codec.instance_records import shares_machine
from .directory.directory import Directory
from .directory.peer_news import News
from .host.domain import Domain, Domains
from .host.health_checks import Health, Target
from .host.http_routes import open_site
from .host.minidisc_beside import Beside, Whois
from .host.role import Role
from .http.cross_site import Names
from .networks import KnowsCallers, Network
from .networks.follower import STATUS_TIMEOUT, Follower
from .networks.settings import Settings
from .registry.file_changes import Difference
from .registry.health_verdict import UNCHECKED
from .registry.host_table import HostTable
from .registry.registry import Registration, Registry
from .responder.counters import Counts
from .responder.hot_answers import Kept
from .responder.push_subscriptions import Held
from .responder.reaction import Reaction
from .responder.responder import Ask, Client, Responder, client
from .server.push_sessions import Sessions
from .system import clock
from .watching.mirrors_by_apex import MirrorsByApex

if TYPE_CHECKING:
    from .files.serial_file import Serials

_log = logging.getLogger("mddns")

_RETRY_EVERY: Final = 0.5  # seconds between attempts while waiting for a network
_LOOPBACK: Final = "127.0.0.1"  # where the Tailscale daemon forwards connections to, in userspace networking mode


class Node:
    """Offers services on `network` and answers queries for them, from :meth:`open` to :meth:`close`."""

    def __init__(
        self,
        network: Network,
        apex: Name,
        timeout: float,
        policy: Policy,
        snapshot: Snapshot,
        me: Peer,
        serials: Serials | None,
    ) -> None:
        self._network = network
        self._snapshot = snapshot
        self.registry = Registry(me, _shares_name(snapshot), clock.unix_ms(), serials.latest() if serials else None)
        # The random id of this process among those of its host; each process draws its own, also after a fork.
        self.table = HostTable(self.registry, int.from_bytes(os.urandom(6), "big"), apex)

        counts = Counts()

        def also_serve(other: Name) -> Domain:
            domain = Domain(other, self.table.part(other), policy, timeout, counts)
            domain.network(self._snapshot, self._may_ask)
            return domain

        self._domains = Domains(Domain(apex, self.table, policy, timeout, counts), also_serve)
        self.beside = Beside(self.table, counts, self._admits, self._table_changed, _whois(network))
        self.site = open_site(self._domains, self.table, counts, self._answer_http, self.beside.routes)
        self.mirrors = MirrorsByApex(
            self._domains,
            timeout,
            lambda: self._snapshot,
            lambda: self.sessions.changed(merged=True),
            lambda: self.role.generation,
        )
        self.sessions = Sessions(self._look, self._is_member, time.monotonic, self.mirrors)
        self.role = Role(self.table, self._answer, self._hot, self._table_changed, self.site, self.sessions, serials)
        self._health = Health(self._checked, self._found_six)
        self._following: asyncio.Task[None] | None = None
        self._greeting: asyncio.Task[None] | None = None
        self._published: dict[tuple[str, str], Service] = {}
        self.abandoned = False  # in a forked child
        self._turns = clock.Turns(clock.now())
        self._steps = clock.Steps()
        self._era = 0  # the generation of this host's holder; another holder has another one
        self._news = News()
        self._may_ask: frozenset[str] = frozenset()
        self._own: frozenset[str] = frozenset()
        self._clients: dict[tuple[str, bool], Client] = {}

    @classmethod
    async def open(
        cls, network: Network, apex: Name, *, timeout: float, policy: Policy, serials: Serials | None = None
    ) -> Node:
        """Opens a node that answers queries when this returns. NetworkError, TailscaleError or PortInUse if it cannot.

        `timeout` is that of a lookup, in seconds. The zone serial begins after the latest one of `serials`.
        """
        snapshot = await network.aread(STATUS_TIMEOUT)
        if snapshot.me is None:
            raise NetworkError(
                "no address of the network belongs to this machine: set this machine's with --address (MDDNS_ADDRESS)"
            )
        node = cls(network, apex, timeout, policy, snapshot, snapshot.me, serials)
        try:
            node._apply(snapshot)
            await node.role.take(node.reached_at[0], node.me.port)
            await node.role.also_at(node.reached_at)
        except BaseException:
            await node.close()
            raise
        _nodes.add(node)
        if node.role.is_holder:
            _log.info("this process answers for the host", extra={"event": "holder"})
        else:
            _log.info(
                "another process answers for the host, also for the services of this process", extra={"event": "tenant"}
            )
        node.beside.start(node.role)
        node._following = asyncio.create_task(Follower(network, node._seen, node._tick).run())
        node._greet_all()
        return node

    @property
    def me(self) -> Peer:
        """Our own node, as the network lists it."""
        return self.registry.me

    @property
    def directory(self) -> Directory:
        """The peers and services that are known under our own apex."""
        return self._domains.own.directory

    @property
    def responder(self) -> Responder:
        """The responder for our own apex."""
        return self._domains.own.responder

    async def close(self) -> None:
        """Withdraws all services, answers the queries received so far, and closes all sockets."""
        tasks = [task for task in (self._following, self._greeting) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.beside.close()
        await self._health.close()
        self.replace(())
        self.sessions.flush()
        await self.role.close()
        self.sessions.close()
        await self.mirrors.close()
        await self._domains.close()

    def advertise(self, offer: Offer) -> Registration:
        """Offers a service from now on. The same name, address and protocol again updates it in place."""
        registration = self.registry.advertise(offer, clock.unix_ms())
        self._changed()
        self._watch(registration)
        return registration

    def replace(self, offers: Iterable[Offer]) -> Difference:
        """Replaces all services of this node by `offers` in one step, so that no query sees a part of the change.

        Unchanged services keep their age. Services with other labels or numbers are changed in place. InvalidService
        if two offers are the same service; then nothing has changed.
        """
        before = self.registry.registrations()
        change = self.registry.replace(offers, clock.unix_ms())
        self._changed()
        standing = self.registry.registrations()
        for registration in set(before).difference(standing):
            self._health.forget(registration)
        for registration in standing:
            self._watch(registration)
        return change

    def relabel(self, registration: Registration, labels: Mapping[str, str]) -> None:
        """Replaces the labels of a service. KeyError if it was withdrawn."""
        self.registry.relabel(registration, labels, clock.unix_ms())
        self._changed()

    def withdraw(self, registration: Registration) -> bool:
        """Withdraws a service; False if it was withdrawn already."""
        withdrawn = self.registry.withdraw(registration, clock.unix_ms())
        self._health.forget(registration)
        self._changed()
        return withdrawn

    def unlist(self, port: int) -> None:
        """Withdraws the services that this node offers on its own `port`. KeyError if there are none."""
        for registration in self.registry.unlist(port, clock.unix_ms()):
            self._health.forget(registration)
        self._changed()

    @property
    def reached_at(self) -> tuple[str, ...]:
        """The addresses where packets from the network arrive: our own, or loopback in userspace networking mode."""
        return self.me.addresses if self._snapshot.tun else (_LOOPBACK,)

    def _watch(self, registration: Registration) -> None:
        """Starts the health check of a service, and the IPv6 test if its offer names no addresses."""
        offer, six = registration.offer, [address for address in self.me.addresses if ":" in address]
        unsaid = offer.address is None and not offer.addresses and offer.protocol == "tcp"
        asked = six[0] if unsaid and 0 < len(six) < len(self.me.addresses) else None
        port = offer.check.port if offer.check and offer.check.port else offer.port
        self._health.watch(registration, Target(offer.check, offer.address or self.reached_at[0], port, asked))

    def _changed(self) -> None:
        """Our own registry has changed: publishes the difference through the holder of the host."""
        now = {(fold(each.name), fold(each.instance)): each for each in self.registry.everything()}
        before, self._published = self._published, now
        if now != before:
            self.table.changed(clock.unix_ms())
        self.role.publish(
            [service for key, service in now.items() if before.get(key) != service],
            [service for key, service in before.items() if key not in now],
        )
        self._table_changed()

    def _table_changed(self) -> None:
        self._domains.serve(self.table.apexes)
        machine = (self.me.name, self._snapshot.full_name, socket.gethostname())
        names = Names(machine, [str(domain.apex) for domain in self._domains])
        self.site.moved(frozenset(self.me.addresses), self._may_ask, names)
        self.beside.moved(self.reached_at, frozenset(self.me.addresses), self._may_ask, names)
        era, self._era = self._era, self.role.generation
        for domain in self._domains:
            if era != self._era:
                domain.directory.begun()
            domain.table_changed()
        self.mirrors.own_changed()
        self.sessions.changed()

    async def settled(self) -> None:
        """Returns when the holder of this host answers queries for all that was advertised so far."""
        await self.role.settle()

    def let_go(self) -> None:
        """Ends the node in a forked child: closes the child's descriptors and nothing else, as the parent goes on."""
        self.abandoned = True
        self.role.let_go([*self.beside.descriptors(), *self.mirrors.descriptors()])

    def _admits(self, service: Service) -> bool:
        return self.directory.admits(service, self.me)

    def _checked(self, registration: Registration, held: str) -> None:
        name, port = registration.offer.name, registration.offer.port
        if not held:
            _log.info("%s on port %s passes its check", name, port, extra={"event": "passes"})
        elif registration.held in ("", UNCHECKED):
            _log.warning("%s on port %s is held back: %s", name, port, held, extra={"event": "held"})
        else:
            _log.debug("%s on port %s: %s", name, port, held)
        self.registry.checked(registration, held, clock.unix_ms())
        self._changed()

    def _found_six(self, registration: Registration, answers: bool) -> None:
        if registration.six != answers:
            self.registry.answers_over_six(registration, answers, clock.unix_ms())
            self._changed()

    def _apply(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if snapshot.me:
            self.registry.moved(snapshot.me, _shares_name(snapshot), clock.unix_ms())
        # Programs of this machine may send queries from loopback; other machines cannot.
        self._may_ask = who_may_ask(snapshot) | {_LOOPBACK, "::1"} if snapshot.tun else who_may_ask(snapshot)
        for domain in self._domains:
            domain.network(snapshot, self._may_ask)
        for registration in self.registry.registrations():
            self._watch(registration)
        self._own = frozenset(self.me.addresses)
        self.mirrors.network_changed(self._own)
        self._clients.clear()
        self._changed()

    async def _keep_place(self) -> None:
        """Moves the node to its new address after a change, and retries the sockets that could not be bound before."""
        place = self.reached_at[0], self.me.port
        if self.role.place != place:
            await self.role.close()
            self.table.moved(clock.unix_ms())
            self._table_changed()
            await self.role.take(*place)
            _log.info("answering at %s from now on", place[0], extra={"event": "moved"})
        await self.role.also_at(self.reached_at)

    async def _seen(self, snapshot: Snapshot, lost_for: float) -> None:
        """Takes in a new `snapshot` of the network, which could not be read for `lost_for` seconds before."""
        if snapshot != self._snapshot:
            self._apply(snapshot)
        before = self.role.place
        await self._keep_place()
        if lost_for or self.role.place != before:
            for domain in self._domains:
                domain.directory.slept(lost_for, clock.now())
            self._greet_all()

    def _tick(self) -> bool:
        """Runs every second; whether the process got no CPU time since the last call (sleep, SIGSTOP, high load)."""
        now = clock.now()
        for domain in self._domains:
            domain.tick(now)
        self.mirrors.alive(now)
        if self._steps.ahead():  # our serial may be behind that of an earlier run
            self.table.changed(clock.unix_ms())
            self._table_changed()
        away = self._turns.away(now)
        if not away:
            for item in self._news.since(self.directory, now):
                _log.info("%s", item.text, extra={"event": item.event})
            return False
        _log.info("away for %.0f s: all peers are queried again", away, extra={"event": "away"})
        self._greet_all()
        return True

    def _greet_all(self) -> None:
        if self._greeting is None or self._greeting.done():
            self._greeting = asyncio.create_task(self._greet())

    async def _greet(self) -> None:
        await asyncio.gather(*(domain.greet() for domain in self._domains))

    def _hot(self) -> Mapping[str, Kept]:
        # Only our own apex has such answers.
        return self._domains.own.responder.hot(clock.now())

    def _answer(self, wire: bytes, address: str, tcp: bool) -> Reaction:
        who = self._clients.get((address, tcp))
        if who is None:
            if len(self._clients) > 10_000:
                self._clients.clear()
            who = self._clients[address, tcp] = client(address, self._own, tcp=tcp)
        return self._answer_client(wire, who)

    def _look(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        return self._domains.under(name).responder.standing(name, qtype)

    def _is_member(self, address: str) -> bool:
        return address in self._may_ask

    def _answer_http(self, wire: bytes, address: str) -> Reaction:
        return self._answer_client(wire, client(address, self._own, tcp=True)._replace(transport="http"))

    def _answer_client(self, wire: bytes, who: Client) -> Reaction:
        address = who.address
        domain = self._domains.own if self._domains.alone else self._domains.choose(wire)
        if domain.callers is not None:
            domain.callers.add(address)
        if address in domain.idle:
            domain.heard(address)
        if not who.tcp:
            domain.responder.admit(who)
        answer = domain.responder.respond(wire, who, clock.now())
        return domain.ask(answer) if isinstance(answer, Ask) else answer


def _whois(network: Network) -> Whois | None:
    return network.whois if isinstance(network, KnowsCallers) else None


def _shares_name(snapshot: Snapshot) -> bool:
    """Whether another node has the same machine name, so that our instance names cannot contain it."""
    me = snapshot.me
    return me is not None and shares_machine(me.name, (peer.name for peer in snapshot.peers))


async def open_node(settings: Settings, policy: Policy, wait: float, serials: Serials | None = None) -> Node:
    """Opens a node as soon as there is a network and the port is free; after `wait` seconds raises the last error."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return await Node.open(
                settings.network, settings.apex, timeout=settings.timeout, policy=policy, serials=serials
            )
        except (NetworkError, PortInUse):
            if time.monotonic() + _RETRY_EVERY > deadline:
                raise
        await asyncio.sleep(_RETRY_EVERY)


# A forked child inherits the descriptors of its parent, and would keep the port after the parent has ended.
_nodes: weakref.WeakSet[Node] = weakref.WeakSet()


def _let_go_of_all() -> None:
    for node in list(_nodes):
        node.let_go()
    _nodes.clear()


os.register_at_fork(after_in_child=_let_go_of_all)
