"""How a watcher uses the mirror of its own host's holder: one session with it replaces a session with every host.

The watcher queries its own host before all others. If the holder there mirrors the network, the watcher queries no
other host, except hosts that the mirror does not know. If there is no holder, or it has no mirror, the watcher queries
every host. When the holder ends, the watcher looks for its successor first.

What the watcher knows of a host is kept until the mirror has an answer of that host: a mirror that has just started
does not have all answers yet. Hosts without an answer in the mirror are queried by the watcher itself: where one holder
follows another quickly, each starts again to wait for a host that has vanished, and none would see the timeout.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..base.model import Service
from ..directory.directory import Directory
from ..zone.apex import is_after
from .host_state import HostState
from .mirror_zone import State, Stood, Words

ALONE_FOR: Final = 2.0  # seconds in which only our own host is queried: time for a new mirror to do one lookup
AGREE_WITHIN: Final = 10.0  # seconds for which an answer to our own query outranks a different state in the mirror
HEARD_WITHIN: Final = 1.0  # seconds in which a new mirror has an answer of each host that is up


class OwnHolder:
    """The state between a watcher with `directory` and the holder of its own host. Times are the event loop's."""

    def __init__(self, directory: Directory, *, allowed: bool) -> None:
        """If not `allowed`, no mirror is used, and every host is queried."""
        self.complete = False  # whether the mirror is our source for the whole network
        self.moved = True  # whether the last state of the mirror may change which hosts we query
        self._directory = directory
        self._allowed = allowed
        self._own: HostState | None = None
        self._alone_until = -math.inf
        self.waits = False  # whether the mirror is older, for some host, than the mirror before it
        self._lost_at = -math.inf
        self._words = Words()
        self._census = ""
        self._elsewhere: set[HostState] = set()  # hosts that the mirror does not know

    def network(self, own: HostState | None, peers: str, now: float) -> None:
        """Sets which host is our own (None: not known), and the census of all `peers`."""
        self._census = peers
        own = own if self._allowed else None
        if own is not self._own:
            self._own = own
            self.complete = False
            self._elsewhere = set()
            self._alone_until = now + ALONE_FOR if own else -math.inf

    @property
    def whole(self) -> bool:
        """Whether the whole network is known, with the mirror as its source."""
        return self.complete and all(host.polled for host in self._elsewhere)

    def is_own(self, host: HostState) -> bool:
        """Whether `host` is our own host, and its mirror may be used."""
        return host is self._own

    def among(self, hosts: Mapping[str, HostState]) -> Iterable[HostState]:
        """Returns those of `hosts` that this watcher itself queries, now or later."""
        if self.complete and self._own:
            return (self._own, *self._elsewhere)
        return hosts.values()

    def asked_from(self, host: HostState, now: float) -> float:
        """Returns the time from which on this watcher may query `host`; infinity for never."""
        if self.asks(host, now):
            return host.next
        return math.inf if self.complete else max(host.next, self._alone_until)

    def asks(self, host: HostState, now: float) -> bool:
        """Whether an answer of `host` to this watcher counts."""
        return host is self._own or not (self.complete or now < self._alone_until) or host in self._elsewhere

    def none(self, hosts: Iterable[HostState]) -> bool:
        """Notes that there is no holder, or that it has no mirror for us. Returns whether that is new."""
        if not self.complete and self._alone_until == -math.inf:
            return False
        self.lost(hosts, -math.inf)
        self._alone_until = -math.inf
        return True

    def lost(self, hosts: Iterable[HostState], now: float) -> None:
        """Notes that the session has ended. The known services are kept; a successor is queried first."""
        if self.complete:
            self.complete = False
            self._elsewhere = set()
            self._alone_until = now + ALONE_FOR
            self._lost_at = now
            for host in hosts:
                host.relayed = None
                host.next = min(host.next, now)

    def told(self, hosts: Mapping[str, HostState], network: str, known: bool, now: float, moment: float) -> bool:
        """Takes over a new state of the mirror. Returns whether it did. Raises BadMessage if the state is malformed.

        `known`: this watcher knew the whole network before. `moment` is the current time of the directory's clock.
        """
        own, was = self._own, self.complete
        self.moved = True
        if own is None:
            return False
        beside = own.copy.beside()
        current, stood = beside.current, beside.stood
        # The holder may have been given another network than we have, or we may have seen a new peer before it.
        of_all = beside.peers == self._census
        words = self._words.by_peer(own.copy.told(), {key: host.peer for key, host in hosts.items()}, network)

        def is_behind(key: str, host: HostState) -> bool:
            return self._is_behind(host, stood.get(key), of_all, words.get(key, ()), now)

        if not self.complete:
            if current and not any(is_behind(key, host) for key, host in hosts.items()):
                self.complete = True
                for host in hosts.values():
                    host.relayed = None  # answers to our own queries may have changed what the mirror had said
            elif known or now >= self._alone_until:
                # The mirror is our only source for our own host, while our session there is with the mirror.
                return self._take_own(own, stood.get(own.peer.id), words.get(own.peer.id, ()), moment)
        before, self._elsewhere = self._elsewhere, set()
        anew = now - self._lost_at <= AGREE_WITHIN
        self.waits = False
        for key, host in hosts.items():
            stands = stood.get(key)
            # While a mirror starts, a host that it does not list is unknown to it, and not gone.
            if not current if stands is None else not stands.is_of(host.peer):
                continue
            if stands and stands.state is State.UNHEARD:
                if current and self._directory.said_by(host.peer):
                    self._ask(host, host in before, now)
                continue
            if (stands is None and not of_all) or (host in before and is_behind(key, host)):
                self._elsewhere.add(host)
                host.relayed = None
                continue
            serial = stands.serial if stands else None
            if anew and serial is not None and host.serial is not None and is_after(host.serial, serial):
                self.waits = True  # the mirror before this one had a newer copy
                continue
            host.serial, host.heard_at = serial, -math.inf  # later states need not agree with our own older answers
            relayed = (stands.state if stands else None), words.get(key, ())
            if relayed != host.relayed:
                self._relay(host, *relayed, moment)
                host.relayed = relayed
        self.moved = not was or before != self._elsewhere
        return True

    def _ask(self, host: HostState, already: bool, now: float) -> None:
        self._elsewhere.add(host)
        host.relayed = None
        if not already:
            host.polled, host.next = True, max(host.next, now + HEARD_WITHIN)

    def _is_behind(
        self, host: HostState, stands: Stood | None, of_all: bool, words: Sequence[Service], now: float
    ) -> bool:
        """Whether this watcher has an answer of `host` that the mirror does not have yet."""
        if host is self._own or (stands is None and not of_all):
            return False
        serial = host.copy.serial
        if host.session is not None and serial is not None:
            # Without a copy of its zone, the mirror has an answer to a lookup, which may be a lookup's time old.
            return stands is None or stands.serial is None or is_after(serial, stands.serial)
        if now - host.heard_at > AGREE_WITHIN:
            return False
        admits, peer = self._directory.admits, host.peer
        return self._directory.said_by(peer) != {service.key: service for service in words if admits(service, peer)}

    def _take_own(self, own: HostState, stands: Stood | None, words: Sequence[Service], moment: float) -> bool:
        if stands is None or (stands.state, words) == own.relayed:
            return False
        self._relay(own, stands.state, words, moment)
        own.relayed = stands.state, words
        return True

    def _relay(self, host: HostState, state: State | None, services: Sequence[Service], moment: float) -> None:
        directory, peer = self._directory, host.peer
        host.heard, host.spoke, host.unanswered, host.told_at = True, state is not None, 0, moment
        if state is None:
            directory.refused(peer, moment)
            return
        directory.answered(peer, services, moment)
        if state is State.SILENT:
            directory.missed(peer, moment)
