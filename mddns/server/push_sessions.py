"""The DSO sessions of a node: what others have subscribed to, told as it changes (RFC 8490, RFC 8765).

A connection becomes a session with its first DSO message; how many connections there may be is the listener's
business. Ordinary queries go on beside it, transfers among them.
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

# Changes within this time of a push are told together: a serial each 10 ms is what the clock gives.
SPACING: Final = 0.01


class Line(Protocol):
    """What a session needs of its connection."""

    def send(self, wire: bytes) -> bool:
        """Sends a message; False, and the connection is ended, where too much is unsent already."""

    def end(self) -> None:
        """Ends the connection at once."""

    def abort(self) -> None:
        """The same by RST: the client has broken the protocol, or is silent (RFC 8490 5.3)."""


class Merged(Protocol):
    """The merged view, for the sessions of our own host."""

    def is_local(self, source: str) -> bool:
        """Whether a connection from there is one of our own host's."""

    def look(self, session: Session, name: bytes, qtype: int) -> frozenset[Held] | None:
        """What `session`, which asks for the first time, has to be told of a name."""

    def standing(self, name: bytes, qtype: int) -> frozenset[Held] | None:
        """What stands at a name that somebody has asked for."""

    def answer(self, session: Session, wire: bytes) -> bytes | Messages | None:
        """The answer to what `session` asks, None where it is no other than anybody gets."""

    def leave(self, session: Session) -> None:
        """A session has ended."""


class Sessions:
    """All sessions of a node. `look` says what stands at a name now, `may_ask` who is told; `merged` is in the place
    of `look` for programs of our own host.
    """

    def __init__(
        self, look: Look, may_ask: Callable[[str], bool], clock: Callable[[], float], merged: Merged | None = None
    ) -> None:
        self._look = look
        self._merged = merged
        self._may_ask = may_ask
        self._clock = clock
        self._open: set[Session] = set()
        self._moved: set[bool] = set()  # what those look at who are to be told: the merged view, or what we offer
        self._flushing: asyncio.TimerHandle | None = None
        self._flushed = -SPACING

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, line: Line, source: str) -> Session | None:
        """A connection from `source` has sent its first DSO message, which comes next. None where it is refused."""
        if not self._may_ask(source):
            return None
        merged = self._merged if self._merged and self._merged.is_local(source) else None
        session = Session(self, line, self._look, merged, self._clock)
        self._open.add(session)
        return session

    def changed(self, *, merged: bool = False) -> None:
        """What we offer may have changed, or the `merged` view: who has subscribed to it is told soon."""
        self._moved.add(merged)
        if self._open and self._flushing is None:
            wait = max(0.0, self._flushed + SPACING - self._clock())
            self._flushing = asyncio.get_running_loop().call_later(wait, self.flush)

    def close(self) -> None:
        """Tells nobody any more."""
        if self._flushing:
            self._flushing.cancel()
            self._flushing = None
        for session in list(self._open):
            session.lost()

    def farewell(self) -> None:
        """Every connection ends now: another process of the host, if there is one, accepts the next."""
        for session in list(self._open):
            session.farewell()

    def forget(self, session: Session) -> None:
        """One has ended."""
        self._open.discard(session)

    def flush(self) -> None:
        """Tells subscribers now."""
        if self._flushing:
            self._flushing.cancel()
        self._flushing, self._flushed = None, self._clock()
        moved, self._moved = self._moved, set()
        own = _remembering(self._look)
        merged = _remembering(self._merged.standing) if self._merged else own
        for session in [each for each in self._open if (each.merged is not None) in moved]:
            session.push(merged if session.merged else own)


def _remembering(look: Look) -> Look:
    """The same for a moment in which nothing changes: of many sessions most have subscribed to the same."""
    known: dict[tuple[bytes, int], frozenset[Held] | None] = {}

    def remembered(name: bytes, qtype: int) -> frozenset[Held] | None:
        if (name, qtype) not in known:
            known[name, qtype] = look(name, qtype)
        return known[name, qtype]

    return remembered


class Session:
    """One of them."""

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
        """A DSO message has come."""
        try:
            answer = self._session.receive(wire, self._clock())
        except BadMessage:
            self._line.abort()
            return
        if answer is None or self._line.send(answer):
            self.push()
            self._wait()

    def may_carry(self, wire: bytes) -> bool:
        """Whether a session may carry a message that is none of DSO; else the connection is ended."""
        try:
            self._session.heard(wire, self._clock())
        except BadMessage:
            self._line.abort()
            return False
        return True

    def heard(self, wire: bytes) -> bytes | Messages | None:
        """Such a message has come: the answer, where it is another than anybody gets."""
        return self.merged.answer(self, wire) if self.merged else None

    def farewell(self) -> None:
        """We end it: whoever answers in our place is to be asked at once."""
        if wire := self._session.farewell():
            self._line.send(wire)

    def push(self, look: Look | None = None) -> None:
        """Tells what has changed since it was last told."""
        for wire in write_pushes(self._subscriptions.changes(look)):
            self.sent()
            if not self._line.send(wire):
                return

    def sent(self) -> None:
        """Something that is no answer of DSO was sent."""
        self._session.sent(self._clock())

    def end(self) -> None:
        """Ends it, and its connection."""
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
        """Sees to it that the session ends in time; the moment is looked at when the timer is up, and moves on."""
        if self._timer is None:
            delay = self._session.timer() - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, delay), self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._session.timer() <= self._clock():
            self._line.abort()
        else:
            self._wait()
