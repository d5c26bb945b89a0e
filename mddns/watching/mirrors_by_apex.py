"""The mirrors of a node: one for each apex that programs of its host watch, from the first session to the last.

A connection from one of our own addresses is one of our own host. Sessions of our own host get the merged zone.
Sessions of other hosts get only the services of this host, so that no service goes round in circles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from ..base.model import Snapshot
from ..base.names import Name
from ..host.domain import Domain, Domains
from ..responder.push_subscriptions import Held
from ..responder.reaction import Messages

if TYPE_CHECKING:
    from .holder_mirror import HolderMirror

KEPT_FOR: Final = 30.0  # seconds for which a mirror is kept after its last session has ended


class Looking(Protocol):
    """A session that reads a mirror."""

    def end(self) -> None:
        """Ends the session."""


class _Kept:
    """A mirror, and the sessions that read it."""

    def __init__(self, mirror: HolderMirror, era: int) -> None:
        self.mirror = mirror
        self.era = era
        self.sessions: set[Looking] = set()
        self.ending: asyncio.TimerHandle | None = None


class MirrorsByApex:
    """The mirrors of the `domains` of a node; ``changed()`` is called when a mirror has a new state.

    `era()` returns a number that changes whenever the node becomes its host's holder. The mirrors end then: if this
    process was stopped, another one was the holder meanwhile and may know more.
    """

    def __init__(
        self,
        domains: Domains,
        timeout: float,
        snapshot: Callable[[], Snapshot],
        changed: Callable[[], None],
        era: Callable[[], int],
    ) -> None:
        self._era = era
        self._domains = domains
        self._timeout = timeout
        self._snapshot = snapshot
        self._changed = changed
        self._kept: dict[Domain, _Kept] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self.own: frozenset[str] = frozenset()

    def is_local(self, source: str) -> bool:
        """Whether a connection from the address `source` is one of our own host."""
        return source in self.own

    def sessions(self) -> int:
        """Returns the number of sessions with other hosts, over all mirrors."""
        return sum(kept.mirror.sessions() for kept in self._kept.values())

    def look(self, session: Looking, name: bytes, qtype: int) -> frozenset[Held] | None:
        """Subscribes `session` to the mirror that has `name` (in lower case), and creates the mirror if there is none.

        Returns the records at that name; None if no mirror has it.
        """
        domain = self._domains.under(name)
        if self._closed or Name(name).relative_to(domain.apex) is None:
            return None
        kept = self._kept.get(domain)
        if kept and kept.era != self._era():
            self._end(domain)
            kept = None
        if kept is None:
            from .holder_mirror import HolderMirror  # imported late: a host without watchers does not need it

            mirror = HolderMirror(domain, self._timeout, self._snapshot, self._changed, lambda: self._failed(domain))
            kept = self._kept[domain] = _Kept(mirror, self._era())
        kept.sessions.add(session)
        if kept.ending:
            kept.ending.cancel()
            kept.ending = None
        return kept.mirror.standing(name, qtype)

    def standing(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        """Returns the records at `name`, for a session that reads the mirror already; None without a mirror."""
        kept = self._kept.get(self._domains.under(name))
        return kept.mirror.standing(name, qtype) if kept else None

    def answer(self, session: Looking, wire: bytes) -> bytes | Messages | None:
        """Returns the mirror's response to a message of `session`; None if the mirror does not answer that message."""
        kept = self._kept.get(self._domains.choose(wire))
        return kept.mirror.answer(wire) if kept and session in kept.sessions else None

    def leave(self, session: Looking) -> None:
        """Notes that `session` has ended."""
        for domain, kept in self._kept.items():
            kept.sessions.discard(session)
            if not kept.sessions and kept.ending is None:
                kept.ending = asyncio.get_running_loop().call_later(KEPT_FOR, self._end, domain)

    def network_changed(self, own: frozenset[str]) -> None:
        """Notes a new snapshot; `own` are this host's addresses. If they have changed, all mirrors end."""
        moved = bool(self.own) and own != self.own
        self.own = own
        for domain, kept in list(self._kept.items()):
            if moved:
                self._end(domain)
            else:
                kept.mirror.network_changed()

    def alive(self, now: float) -> None:
        """Must be called every second."""
        for domain, kept in list(self._kept.items()):
            if kept.era == self._era():
                kept.mirror.alive(now)
            else:
                self._end(domain)

    def own_changed(self) -> None:
        """Notes that the services of this host have changed, and perhaps its apexes too."""
        present = set(self._domains)
        for domain, kept in list(self._kept.items()):
            if domain in present:
                kept.mirror.own_changed()
            else:
                self._end(domain)

    def descriptors(self) -> list[int]:
        """Returns the file descriptors of all sockets."""
        return [number for kept in self._kept.values() for number in kept.mirror.descriptors()]

    async def close(self) -> None:
        """Ends all mirrors."""
        self._closed = True
        for domain in list(self._kept):
            self._end(domain)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _failed(self, domain: Domain) -> None:
        if domain in self._kept:
            self._end(domain)

    def _end(self, domain: Domain) -> None:
        kept = self._kept.pop(domain)
        if kept.ending:
            kept.ending.cancel()
        for session in list(kept.sessions):
            session.end()  # later it would get the records of another zone
        task = asyncio.get_running_loop().create_task(kept.mirror.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
