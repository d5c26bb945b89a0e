"""A watcher's part in the mirror of its own host's holder: in place of a session with every host it has this one.

Our own host is asked before all others. Where its holder mirrors the network, nobody else is asked, but hosts that it
does not know of; where there is no holder, or none that mirrors, everybody is. When the holder goes, its successor is
looked for first. What was known stands until the mirror has heard of it: one that has just begun has not heard of
everybody. Whom it has not heard of, we ask ourselves: where holders come and go, each begins anew to wait for a host
that has vanished, and somebody has to come to the end of it.
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

ALONE_FOR: Final = 2.0  # seconds for which our own host is asked alone; a mirror that begins has a lookup's time
AGREE_WITHIN: Final = 10.0  # seconds for which what we have heard ourselves stands against what a mirror says
HEARD_WITHIN: Final = 1.0  # seconds in which a mirror that begins has heard of whoever is there


class OwnHolder:
    """What a watcher of `directory` has to do with the holder of its own host. Times are the event loop's."""

    def __init__(self, directory: Directory, *, allowed: bool) -> None:
        """Not `allowed`: every host is asked, whatever our own is."""
        self.complete = False  # whether all that we know comes through it
        self.moved = True  # whether, with what it said last, we may ask others than before
        self._directory = directory
        self._allowed = allowed
        self._own: HostState | None = None
        self._alone_until = -math.inf
        self.waits = False  # whether it has not heard by now what another one had
        self._lost_at = -math.inf
        self._words = Words()
        self._census = ""
        self._elsewhere: set[HostState] = set()  # hosts of which the mirror does not know

    def network(self, own: HostState | None, peers: str, now: float) -> None:
        """Which of the hosts is ours; `peers` is the census of all."""
        self._census = peers
        own = own if self._allowed else None
        if own is not self._own:
            self._own = own
            self.complete = False
            self._elsewhere = set()
            self._alone_until = now + ALONE_FOR if own else -math.inf

    @property
    def whole(self) -> bool:
        """Whether the whole network is known by it."""
        return self.complete and all(host.polled for host in self._elsewhere)

    def is_own(self, host: HostState) -> bool:
        """Whether a host is ours, and may have a mirror for us."""
        return host is self._own

    def among(self, hosts: Mapping[str, HostState]) -> Iterable[HostState]:
        """Those of `hosts` whom we ask ourselves, sooner or later."""
        if self.complete and self._own:
            return (self._own, *self._elsewhere)
        return hosts.values()

    def asked_from(self, host: HostState, now: float) -> float:
        """When a host may be asked by ourselves."""
        if self.asks(host, now):
            return host.next
        return math.inf if self.complete else max(host.next, self._alone_until)

    def asks(self, host: HostState, now: float) -> bool:
        """Whether what a host says to ourselves counts."""
        return host is self._own or not (self.complete or now < self._alone_until) or host in self._elsewhere

    def none(self, hosts: Iterable[HostState]) -> bool:
        """There is no holder, or it has no mirror for us; whether that is news."""
        if not self.complete and self._alone_until == -math.inf:
            return False
        self.lost(hosts, -math.inf)
        self._alone_until = -math.inf
        return True

    def lost(self, hosts: Iterable[HostState], now: float) -> None:
        """The session has ended. What we know stands; a successor is asked first."""
        if self.complete:
            self.complete = False
            self._elsewhere = set()
            self._alone_until = now + ALONE_FOR
            self._lost_at = now
            for host in hosts:
                host.relayed = None
                host.next = min(host.next, now)

    def told(self, hosts: Mapping[str, HostState], network: str, known: bool, now: float, moment: float) -> bool:
        """The mirror says something new; whether that was taken over. BadMessage for nonsense.

        `known`: the whole network was known to us before. `moment` is the directory's now.
        """
        own, was = self._own, self.complete
        self.moved = True
        if own is None:
            return False
        beside = own.copy.beside()
        current, stood = beside.current, beside.stood
        # It may be of a network of its own, as was given to the holder, and we may have heard of a new peer first.
        of_all = beside.peers == self._census
        words = self._words.by_peer(own.copy.told(), {key: host.peer for key, host in hosts.items()}, network)

        def is_behind(key: str, host: HostState) -> bool:
            return self._is_behind(host, stood.get(key), of_all, words.get(key, ()), now)

        if not self.complete:
            if current and not any(is_behind(key, host) for key, host in hosts.items()):
                self.complete = True
                for host in hosts.values():
                    host.relayed = None  # what was heard since, by ourselves, is not known to stand
            elif known or now >= self._alone_until:
                # Nobody else tells us of our own host, while we have a session there.
                return self._take_own(own, stood.get(own.peer.id), words.get(own.peer.id, ()), moment)
        before, self._elsewhere = self._elsewhere, set()
        anew = now - self._lost_at <= AGREE_WITHIN
        self.waits = False
        for key, host in hosts.items():
            stands = stood.get(key)
            # Of whom it says nothing, nothing is known while it begins.
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
                self.waits = True  # the mirror before this one had heard more
                continue
            host.serial, host.heard_at = serial, -math.inf  # the next one need not agree with what we heard before
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
        """Whether we have heard something of a host ourselves that the mirror has not, but will."""
        if host is self._own or (stands is None and not of_all):
            return False
        serial = host.copy.serial
        if host.session is not None and serial is not None:
            # Without a copy it has what the host said when it was asked, which may be a lookup's time ago.
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
