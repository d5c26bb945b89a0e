"""The DSO sessions of a node: what others have subscribed to, told as it changes (RFC 8490, RFC 8765).

A connection becomes a session with its first DSO message; how many connections there may be is the listener's
business. Ordinary queries go on beside it, transfers among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from .dso import ServerSession
from .errors import BadMessage
from .push import Held, Look, Subscriptions, write_pushes

# Changes within this time of a push are told together: a serial each 10 ms is what the clock gives.
SPACING: Final = 0.01


class Line(Protocol):
    """What a session needs of its connection."""

    def send(self, wire: bytes) -> bool:
        """Sends a message; False, and the connection is ended, where too much is unsent already."""

    def end(self) -> None:
        """Ends the connection at once."""


class Sessions:
    """All sessions of a node. `look` says what stands at a name now, `may_ask` who is told."""

    def __init__(self, look: Look, may_ask: Callable[[str], bool], clock: Callable[[], float]) -> None:
        self._look = look
        self._may_ask = may_ask
        self._clock = clock
        self._open: set[Session] = set()
        self._flushing: asyncio.TimerHandle | None = None
        self._flushed = -SPACING

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, line: Line, source: str) -> Session | None:
        """A connection from `source` has sent its first DSO message, which comes next. None where it is refused."""
        if not self._may_ask(source):
            return None
        session = Session(self, line, Subscriptions(self._look), self._clock)
        self._open.add(session)
        return session

    def changed(self) -> None:
        """What stands somewhere may have changed: subscribers are told soon."""
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
        known: dict[tuple[bytes, int], frozenset[Held] | None] = {}

        def look(name: bytes, qtype: int) -> frozenset[Held] | None:
            # Of many sessions most have subscribed to the same.
            if (name, qtype) not in known:
                known[name, qtype] = self._look(name, qtype)
            return known[name, qtype]

        for session in list(self._open):
            session.push(look)


class Session:
    """One of them."""

    def __init__(
        self, sessions: Sessions, line: Line, subscriptions: Subscriptions, clock: Callable[[], float]
    ) -> None:
        self._sessions = sessions
        self._line = line
        self._subscriptions = subscriptions
        self._clock = clock
        self._session = ServerSession(subscriptions, clock())
        self._timer: asyncio.TimerHandle | None = None

    def receive(self, wire: bytes) -> None:
        """A DSO message has come."""
        try:
            answer = self._session.receive(wire, self._clock())
        except BadMessage:
            self._line.end()
            return
        if answer is None or self._line.send(answer):
            self.push()
            self._wait()

    def heard(self, wire: bytes) -> bool:
        """Any other DNS message has come. False, and the connection is ended, where no session may carry it."""
        try:
            self._session.heard(wire, self._clock())
        except BadMessage:
            self._line.end()
            return False
        return True

    def farewell(self) -> None:
        """We end it: whoever answers in our place is to be asked at once."""
        if wire := self._session.farewell():
            self._line.send(wire)

    def push(self, look: Look | None = None) -> None:
        """Tells what has changed since it was last told."""
        for wire in write_pushes(self._subscriptions.changes(look)):
            self._session.acted(self._clock())
            if not self._line.send(wire):
                return

    def lost(self) -> None:
        """The connection has ended."""
        self._sessions.forget(self)
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
            self._line.end()
        else:
            self._wait()
