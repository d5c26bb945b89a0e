"""All services that a process knows, by where it learned them: the only place that merges.

Each source (a peer, or our own registry) says either everything it has or all it has of one name.
The last answer of a silent source stays until the peer counts as gone. A new answer replaces the last one.
``now`` is seconds of the caller's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple

from ..base.model import Peer, Service, Snapshot, fold
from ..base.policy import Policy
from ..codec.instance_records import TTL, machine_label
from .merge import merge
from .peer_memory import GONE_AFTER, Memory, Standing
from .source import NEGATIVE_TTL, Source

if TYPE_CHECKING:
    from ..zone.zone import Zone

_MOST_NAMES: Final = 1000  # names cached for one source, each from a query for that name


class Merged(NamedTuple):
    """The known network as one zone. Two equal answers come from the same object."""

    zone: Zone
    silent: tuple[str, ...]  # registries that did not answer and are not gone yet
    asked: int  # number of peers that are queried
    ttl: int  # whole seconds for which its records are still valid


class Directory:
    """Services by source, merged on demand, with what is known about how each source behaves."""

    def __init__(self, origin: bytes, memory: Memory, policy: Policy) -> None:
        self.memory = memory
        self.stirred = 0  # changes whenever an answer from this directory may have changed
        self.origin = origin
        self._policy = policy
        self._own: tuple[Service, ...] = ()
        self._sources: dict[str, Source] = {}
        self._peers: tuple[Peer, ...] | None = None
        self._me: str | None = None  # the id of our own host, if it is among the peers
        self._snapshot: Snapshot | None = None
        self._machines: dict[str, int] | None = None  # number of nodes by machine name
        self._known: dict[str, Peer] | None = None  # the peers by id
        self._version = 0
        self._zone: tuple[tuple[int, frozenset[str]], Zone] | None = None
        self._fresh_until: dict[float, float] = {}
        # By name: the peers about which we only know that they have no service of that name, and when they answered.
        self._nothing: dict[str | None, list[tuple[float, frozenset[str]]]] = {}
        self._in_flight: set[str] = set()
        self._ahead: set[str] = set()  # peers that are queried ahead of time (prefetch)
        self._merged: tuple[float, Merged] | None = None

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The peers that are queried."""
        return self._peers or ()

    @property
    def version(self) -> int:
        """A number that changes whenever the services of a source change."""
        return self._version

    @property
    def ready(self) -> bool:
        """Whether the list of peers is known yet."""
        return self._peers is not None

    def network(self, snapshot: Snapshot, *, with_own_host: bool) -> None:
        """Sets the list of peers. Drops the services of peers that left the network.

        If another node has the address of a peer now, the services of the previous node are dropped too.
        """
        self._snapshot, self._machines = snapshot, None
        self._me = snapshot.me.id if snapshot.me and with_own_host else None
        peers = snapshot.everyone() if with_own_host else snapshot.peers
        self._peers = tuple(peer for peer in peers if peer.asked)
        before, self._known = self._known or {}, {peer.id: peer for peer in self._peers}
        self._sources = {key: source for key, source in self._sources.items() if not self.has_left(source.peer)}
        for key, source in self._sources.items():
            source.is_called(self._known[key])
        self._nothing.clear()
        self.memory.keep_only(self._known)
        self.memory.forget(key for key, peer in before.items() if self.has_left(peer))
        self._changed()

    def own(self, services: Iterable[Service]) -> None:
        """Sets the services of our own registry; they never expire."""
        services = tuple(services)
        if services != self._own:
            self._own = services
            self._changed()

    def due(self, now: float, age: float = TTL) -> list[Peer]:
        """The peers to query for all their services: those last queried `age` seconds ago or longer.

        Leaves out peers whose back-off has not ended.
        """
        if now < self._fresh_until.get(age, -math.inf):
            return []
        due, until = [], now + age
        for peer in self.peers:
            source = self._sources.get(peer.id)
            again = self.memory.paused_until(peer.id)
            if source is not None and source.asked is not None:
                again = max(again, source.asked + age)
            if again <= now:
                due.append(peer)
            until = min(until, max(again, now))
        if not due:
            self._fresh_until[age] = until
        return due

    def expire(self) -> None:
        """Marks all peers as out of date: they are queried again before the next answer."""
        for source in self._sources.values():
            source.asked = source.whole = None
        self._stir()

    def slept(self, seconds: float, now: float) -> None:
        """The machine slept for `seconds`, until `now`: all peers are queried again, and none is gone for that time."""
        self.memory.slept(seconds, now)
        self.expire()

    def begun(self) -> None:
        """This process now holds the port, and new peers announce themselves to it; so all back-offs end."""
        self.memory.leave_nobody_alone()
        self._stir()

    def lapse(self, now: float, name: str | None = None) -> None:
        """Drops services (of `name`, in lower case) that were last confirmed 30 s ago or longer.

        For callers that query the peers before each answer. A watcher is only notified of changes, so it must not call
        this: its services stay valid at any age.
        """
        # A peer that was not queried in that time was not silent for it, so it may not be gone yet.
        before, changed = now - GONE_AFTER, False
        sources: Iterable[Source] = self._sources.values()
        if name is not None:  # of very many mostly none
            sources = [each for each in sources if each.names.get(name, each.told) <= before]
        for source in sources:
            for each in source.lapsed(name, before):
                del source.services[each]
                source.names.pop(each, None)
                changed = True
        if changed:
            self._changed()

    def stale(self, now: float, age: float = TTL) -> bool:
        """Whether peers are due for a query, or a query is in flight."""
        return bool(self._in_flight) or (age < TTL and bool(self._ahead)) or bool(self.due(now, age))

    def asking(self, peers: Iterable[Peer], now: float, *, ahead: bool = False) -> None:
        """A query for all services of `peers` starts. `ahead` of time: the known services stay valid meanwhile."""
        for peer in peers:
            self._source(peer).asked = now
            (self._ahead if ahead else self._in_flight).add(peer.id)
        self._stir()

    def asked(self, peers: Iterable[Peer]) -> None:
        """The query to `peers` has ended, with or without answers."""
        for peer in peers:
            self._in_flight.discard(peer.id)
            self._ahead.discard(peer.id)
        self._stir()

    def answered(
        self,
        peer: Peer,
        services: Sequence[Service],
        now: float,
        *,
        name: str | None = None,
        rtt: float | None = None,
        partial: bool = False,
        web: bool = False,
        dns: bool = True,
    ) -> None:
        """`peer` answered: `services` are all that it has, or with `name` (in lower case) all of that name.

        `partial`: the answer is incomplete, so the services known before are kept beside the new ones.
        `dns` and `web`: the protocol that the answer came by.
        """
        if self.has_left(peer):
            return
        self.memory.answered(peer.id, now, rtt, web=web, dns=dns)
        if partial:
            self.memory.missed(peer.id, now)
            before = self._source(peer).services
            known = before.values() if name is None else (before.get(name, ()),)
            services = merge((*services, *(service for group in known for service in group)))
            self._stir()
        if name is None:
            self._learn(peer, services, now)
        else:
            self._learn_of(peer, name, services, now)

    def all_answered(
        self,
        peers: Sequence[Peer],
        told: Iterable[Sequence[Service]],
        rtts: Iterable[float | None],
        now: float,
        name: str,
    ) -> None:
        """As :meth:`answered`, for many peers at once. Each answered by DNS with all its services of `name`."""
        known, sources = self._known, self._sources
        keys = [peer.id for peer in peers]
        if known is not None and list(map(known.get, keys)) != peers:
            here = [not self.has_left(peer) for peer in peers]
            peers, keys = list(compress(peers, here)), list(compress(keys, here))
            told, rtts = compress(told, here), compress(rtts, here)
        self.memory.all_answered(zip(keys, rtts, strict=True), now)
        nothing, version, admit = [], self._version, self._policy.admit
        for key, peer, services in zip(keys, peers, told, strict=True):
            if key in sources:
                self._learn_of(peer, name, services, now)
                continue
            let_in = [each for each in services if _is_of(each, name) and admit(each, peer)] if services else ()
            if let_in:
                source = sources[key] = Source(peer)
                source.names[name] = now
                source.services[name] = tuple(let_in)
                version = self._version + 1
            else:
                nothing.append(key)
        if version != self._version:
            self._changed()
        self._nothing = {each: when for each, when in self._nothing.items() if now - when[-1][0] < NEGATIVE_TTL}
        if nothing:
            self._nothing.setdefault(name, []).append((now, frozenset(nothing)))

    def refused(self, peer: Peer, now: float) -> None:
        """`peer` has no responder for our zone, so it offers nothing."""
        if not self.has_left(peer):
            self.memory.refused(peer.id, now)
            self._learn(peer, (), now)

    def vanished(self, peer: Peer, now: float) -> None:
        """A watcher found that `peer` does not answer any more: drops its services."""
        if not self.has_left(peer):
            self.memory.missed(peer.id, now)
            self._learn(peer, (), now)

    def without_web(self, peer: Peer, now: float) -> None:
        """`peer` does not list services over HTTP."""
        if not self.has_left(peer):
            self.memory.without_web(peer.id, now)
            self._stir()

    def admits(self, service: Service, peer: Peer) -> bool:
        """Whether the policy admits `service` from `peer`."""
        return self._policy.admit(service, peer)

    def machine_of(self, peer: Peer) -> str:
        """The machine part of `peer`'s instance labels; "" if another node has the same machine name."""
        machine = machine_label(peer.name)
        if self._machines is None:
            everybody = self._snapshot.everyone() if self._snapshot else ()
            self._machines = {}
            for each in everybody:
                label = machine_label(each.name)
                self._machines[label] = self._machines.get(label, 0) + 1
        return machine if self._machines.get(machine, 0) < 2 else ""

    def missed(self, peer: Peer, now: float) -> None:
        """`peer` did not answer in time; its services stay until it counts as gone."""
        if not self.has_left(peer):
            self.memory.missed(peer.id, now)
            self._stir()

    def has_left(self, peer: Peer) -> bool:
        """Whether `peer` left the network, or another node has its address now."""
        # It may leave during a query. It is never queried again, so its answer would never be dropped.
        if self._known is None:
            return False
        present = self._known.get(peer.id)
        return present is None or not present.is_same_node(peer)

    def heard(self, peer: str) -> None:
        """`peer` sent us a query, so it is up."""
        if self.memory.heard(peer):
            self._stir()

    def _learn(self, peer: Peer, services: Sequence[Service], now: float) -> None:
        source = self._source(peer)
        told: dict[str, tuple[Service, ...]] = {}
        for service in services:
            if not service.held and self._policy.admit(service, peer):
                key = fold(service.name)
                told[key] = (*told.get(key, ()), service)
        source.told = source.whole = source.asked = now
        source.names.clear()
        if told != source.services:
            source.services = told
            self._changed()
        else:
            self._stir()

    def _learn_of(self, peer: Peer, name: str, services: Sequence[Service], now: float) -> None:
        source = self._source(peer)
        told: tuple[Service, ...] = ()
        if services:
            admit = self._policy.admit
            told = tuple([each for each in services if _is_of(each, name) and admit(each, peer)])
        names = source.names
        if names:
            names.pop(name, None)
            if len(names) >= _MOST_NAMES:
                oldest = next(iter(names))
                del names[oldest]
                source.services.pop(oldest, None)
        names[name] = now
        if told != source.services.get(name, ()):
            if told:
                source.services[name] = told
            else:
                del source.services[name]
            self._changed()

    def to_ask(self, name: str | None, now: float) -> list[tuple[Peer, Standing]]:
        """The peers whose services (of `name`, in lower case) are not known, each with its standing.

        Leaves out peers that are not expected to offer anything and were found so a moment ago.
        """
        sources = self._sources
        peers: Iterable[Peer] = self.peers
        if sources:
            peers = [peer for peer in peers if (source := sources.get(peer.id)) is None or not source.knows(name, now)]
        for when, nothing in self._nothing.get(name, ()):
            if now - when < NEGATIVE_TTL:
                peers = [peer for peer in peers if peer.id not in nothing]
        return self.memory.owed(peers, now)

    def services(self, now: float, name: str | None = None) -> list[Service]:
        """Returns all known services, merged; with `name`, only those of that name."""
        wanted = None if name is None else fold(name)
        found = [service for service in self._own if wanted is None or fold(service.name) == wanted]
        gone = self._gone(now)
        for key, source in self._sources.items():
            if key in gone:
                continue
            if wanted is not None:
                found.extend(source.services.get(wanted, ()))
            else:
                found.extend(service for group in source.services.values() for service in group)
        return merge(found)

    def merged(self, now: float) -> Merged:
        """The merged view of the network; its zone is rendered again only when it has changed."""
        if self._merged is not None and now < self._merged[0]:
            return self._merged[1]
        state = self._version, self._gone(now)
        if self._zone is None or self._zone[0] != state:
            from ..zone.zone import Zone  # a process that only looks up services needs no zone

            self._zone = state, Zone(self.origin, self.services(now))
        told = [source.whole for source in self._sources.values() if source.whole is not None]
        oldest = min((when for when in told if now - when < TTL), default=now)
        # A record must not outlive the moment at which its peer counts as gone.
        left = min(TTL - (now - oldest), self.memory.next_gone(self._telling(), now) - now)
        ttl = max(0, math.ceil(left))
        merged = Merged(self._zone[1], self.silent(now), self.count(now), ttl)
        self._merged = now + (left - ttl + 1), merged
        return merged

    def holds_until(self, age: float) -> float:
        """Until when :meth:`merged` stays the same and no peer is due by `age`, unless the directory changes before."""
        merged = self._merged[0] if self._merged else -math.inf
        return min(merged, self._fresh_until.get(age, -math.inf))

    def silent(self, now: float) -> tuple[str, ...]:
        """The names of the registries that did not answer and are not gone yet."""
        return tuple(peer.shown for peer in self.memory.all_silent(self.peers, now))

    def count(self, now: float) -> int:
        """The number of peers that are queried. Our own host does not count, unless it is silent."""
        me = self._known.get(self._me) if self._known and self._me else None
        return len(self.peers) - (me is not None and not self.memory.silent(me.id, now))

    def said_by(self, peer: Peer) -> dict[tuple[str, str, str], Service]:
        """The services that `peer` last listed, by `Service.key`."""
        source = self._sources.get(peer.id)
        groups = source.services.values() if source else ()
        return {service.key: service for group in groups for service in group}

    def _source(self, peer: Peer) -> Source:
        source = self._sources.get(peer.id)
        if source is None:
            source = self._sources[peer.id] = Source(peer)
        source.peer = peer
        return source

    def _gone(self, now: float) -> frozenset[str]:
        return self.memory.all_gone(self._telling(), now)

    def _telling(self) -> list[str]:
        """The ids of the peers that offer at least one service."""
        return [key for key, source in self._sources.items() if source.services]

    def _changed(self) -> None:
        self._version += 1
        self._stir()

    def _stir(self) -> None:
        self.stirred += 1
        self._fresh_until.clear()
        self._merged = None


def _is_of(service: Service, name: str) -> bool:
    return not service.held and (service.name == name or fold(service.name) == name)
