"""The DSO sessions of a node: sends changes to the clients that subscribed to them (RFC 8490, RFC 8765).

A connection becomes a session with its first DSO message. The listener limits the number of connections. A session
still carries ordinary queries, zone transfers included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from ..base.errors import BadMessage
from ..dns.dso import ServerSession
from ..responder.push_subscriptions import Held, Look, Subscriptions, write_pushes
from ..responder.reaction import Messages

# Seconds between pushes; changes within it go out together. The clock gives one serial each 10 ms.
SPACING: Final = 0.01


class Line(Protocol):
    """What a session needs of its connection."""

    def send(self, wire: bytes) -> bool:
        """Sends a message. Ends the connection and returns False if too much is unsent already."""

    def end(self) -> None:
        """Ends the connection at once."""

    def abort(self) -> None:
        """Ends it with RST, because the client broke the protocol or is silent (RFC 8490 5.3)."""


class Merged(Protocol):
    """The merged view, for the sessions of our own host."""

    def is_local(self, source: str) -> bool:
        """Whether `source` is an address of our own host."""

    def look(self, session: Session, name: bytes, qtype: int) -> frozenset[Held] | None:
        """The records of a name that `session` gets when it first subscribes to it."""

    def standing(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        """The current records of a name that a session has subscribed to."""

    def answer(self, session: Session, wire: bytes) -> bytes | Messages | None:
        """The answer to a query of `session`; None if it gets the same answer as every client."""

    def leave(self, session: Session) -> None:
        """Forgets a session that has ended."""


class Sessions:
    """All sessions of a node. `look` returns the current records of a name; `may_ask` says which sources may subscribe.
    Programs of our own host get `merged` in place of `look`.
    """

    def __init__(
        self, look: Look, may_ask: Callable[[str], bool], clock: Callable[[], float], merged: Merged | None = None
    ) -> None:
        self._look = look
        self._merged = merged
        self._may_ask = may_ask
        self._clock = clock
        self._open: set[Session] = set()
        self._moved: set[bool] = set()  # which views changed: True is the merged view, False our own services
        self._flushing: asyncio.TimerHandle | None = None
        self._flushed = -SPACING

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, line: Line, source: str) -> Session | None:
        """Begins a session for a connection from `source`; its first DSO message follows. None if it is refused."""
        if not self._may_ask(source):
            return None
        merged = self._merged if self._merged and self._merged.is_local(source) else None
        session = Session(self, line, self._look, merged, self._clock)
        self._open.add(session)
        return session

    def changed(self, *, merged: bool = False) -> None:
        """Our own services, or the `merged` view, may have changed: schedules a push to the subscribers."""
        self._moved.add(merged)
        if self._open and self._flushing is None:
            wait = max(0.0, self._flushed + SPACING - self._clock())
            self._flushing = asyncio.get_running_loop().call_later(wait, self.flush)

    def close(self) -> None:
        """Ends all sessions; nothing is pushed any more."""
        if self._flushing:
            self._flushing.cancel()
            self._flushing = None
        for session in list(self._open):
            session.lost()

    def farewell(self) -> None:
        """Asks every client to reconnect: another process of the host, if there is one, accepts it."""
        for session in list(self._open):
            session.farewell()

    def forget(self, session: Session) -> None:
        """Removes a session that has ended."""
        self._open.discard(session)

    def flush(self) -> None:
        """Pushes changes to the subscribers now."""
        if self._flushing:
            self._flushing.cancel()
        self._flushing, self._flushed = None, self._clock()
        moved, self._moved = self._moved, set()
        own = _remembering(self._look)
        merged = _remembering(self._merged.standing) if self._merged else own
        for session in [each for each in self._open if (each.merged is not None) in moved]:
            session.push(merged if session.merged else own)


def _remembering(look: Look) -> Look:
    """`look` with a cache for one push: most sessions have subscribed to the same names."""
    known: dict[tuple[bytes, int], frozenset[Held] | None] = {}

    def remembered(name: bytes, qtype: int) -> frozenset[Held] | None:
        if (name, qtype) not in known:
            known[name, qtype] = look(name, qtype)
        return known[name, qtype]

    return remembered


class Session:
    """One DSO session."""

    def __init__(
        self, sessions: Sessions, line: Line, look: Look, merged: Merged | None, clock: Callable[[], float]
    ) -> None:
        self.merged = merged
        self._sessions = sessions
        self._line = line
        self._subscriptions = Subscriptions(partial(merged.look, self) if merged else look)
        self._clock = clock
        self._session = ServerSession(self._subscriptions, clock())
        self._timer: asyncio.TimerHandle | None = None

    def receive(self, wire: bytes) -> None:
        """Handles a DSO message."""
        try:
            answer = self._session.receive(wire, self._clock())
        except BadMessage:
            self._line.abort()
            return
        if answer is None or self._line.send(answer):
            self.push()
            self._wait()

    def may_carry(self, wire: bytes) -> bool:
        """Whether the session may carry this message, which is not DSO. If not, ends the connection."""
        try:
            self._session.heard(wire, self._clock())
        except BadMessage:
            self._line.abort()
            return False
        return True

    def heard(self, wire: bytes) -> bytes | Messages | None:
        """The answer to such a message; None if it is the same for every client."""
        return self.merged.answer(self, wire) if self.merged else None

    def farewell(self) -> None:
        """Asks the client to reconnect at once: another process answers in our place."""
        if wire := self._session.farewell():
            self._line.send(wire)

    def push(self, look: Look | None = None) -> None:
        """Pushes what has changed since the last push."""
        for wire in write_pushes(self._subscriptions.changes(look)):
            self.sent()
            if not self._line.send(wire):
                return

    def sent(self) -> None:
        """Notes that a message other than a DSO response was sent."""
        self._session.sent(self._clock())

    def end(self) -> None:
        """Ends the session and its connection."""
        self._line.end()

    def lost(self) -> None:
        """The connection has ended."""
        self._sessions.forget(self)
        if self.merged:
            self.merged.leave(self)
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        """Starts the timer that ends the session. When it fires, the deadline may have moved; then it waits again."""
        if self._timer is None:
            delay = self._session.timer() - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, delay), self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._session.timer() <= self._clock():
            self._line.abort()
        else:
            self._wait()
