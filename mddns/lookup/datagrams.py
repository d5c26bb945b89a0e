"""The datagrams of a lookup: who is asked when and at which address, and whose an answer is. No sockets, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from ..directory.peer_memory import Standing
from .asked_peer import Ask, Outcome

IN_FLIGHT: Final = 128  # replies that the stock receive buffer holds, with room to spare
FLIGHT_TIME: Final = 0.010  # seconds after which a silent peer's place is given to the next
RETRY: Final = 0.150  # seconds before the one retransmission
A_FLOOD: Final = 16  # datagrams of nonsense, after which a peer is not asked again: they take the others' room

_PENDING, _IDLE = Outcome.PENDING, Standing.IDLE  # a member of an Enum is looked up slowly

Datagram = tuple[str, int, bytes]  # address, port, octets


class Departures:
    """To whom of `everybody` its turn has come: by ``queue``, where those wait who may be asked, or :meth:`open`.

    The question's octets behind the id are `rest`; `rest_rd` for who is asked with RD=1. `other_family` is the seconds
    after which a peer that has not answered is asked at its next address. ``flying`` is how many were asked a moment
    ago, and nothing has come of it.
    """

    def __init__(self, everybody: Sequence[Ask], rest: bytes, rest_rd: bytes, other_family: float) -> None:
        self._everybody = everybody
        self.queue: deque[Ask] = deque()
        self.flying = 0
        self._rest = rest
        self._rest_rd = rest_rd
        self._other_family = other_family
        # A datagram is an answer where source and id are right: one look tells.
        self._by_source: dict[tuple[str, int, bytes], Ask] = {}
        self._by_address: dict[tuple[str, int], list[Ask]] | None = None
        # Those that were asked at one moment, and when that was.
        self._flight: deque[tuple[float, Sequence[Ask]]] = deque()
        self._retries: deque[tuple[float, Sequence[Ask]]] = deque()
        self._others: deque[tuple[float, Sequence[Ask]]] = deque()
        self._begun: Sequence[Ask] = ()
        self._out: list[Datagram] = []

    def query(self, ask: Ask) -> bytes:
        """The question's octets for one ask."""
        return ask.ident + (self._rest_rd if ask.merged else self._rest)

    def datagram(self, ask: Ask) -> Datagram:
        """What asks its peer at the first address."""
        address, port = ask.peer.route[0], ask.peer.port
        self._by_source[address, port, ask.ident] = ask
        return address, port, self.query(ask)

    def take(self) -> list[Datagram]:
        """What is to be sent, but for those that :meth:`take_begun` gives."""
        out, self._out = self._out, []
        return out

    def take_begun(self) -> Sequence[Ask]:
        """Those to be asked at their first address."""
        begun, self._begun = self._begun, ()
        return begun

    def whose(self, address: str, port: int, ident: bytes) -> Ask | None:
        """The ask that a datagram answers, if any."""
        return self._by_source.get((address, port, ident))

    def asked_at(self, address: str, port: int) -> Sequence[Ask]:
        """The asks that were sent to an address; their index is made at the first error, and mostly never."""
        if self._by_address is None:
            self._by_address = {}
            for ask in self._everybody:
                for each in ask.peer.route[: ask.tried]:
                    self._by_address.setdefault((each, ask.peer.port), []).append(ask)
        return self._by_address.get((address, port), ())

    def timers(self) -> list[float]:
        """When :meth:`tick` has something to do."""
        when = []
        if self.queue and self._flight:
            when.append(self._flight[0][0] + FLIGHT_TIME)
        if self._retries:
            when.append(self._retries[0][0] + RETRY)
        if self._others:
            when.append(self._others[0][0])
        return when

    def tick(self, now: float) -> Sequence[Ask]:
        """Notices what time has brought; those that are asked for the first time."""
        # The places of those that have not answered in time are the next ones'.
        while self._flight and self._flight[0][0] + FLIGHT_TIME <= now:
            for ask in self._flight.popleft()[1]:
                self.land(ask)
        begun = self._open_next(IN_FLIGHT - self.flying, now) if self.queue and self.flying < IN_FLIGHT else ()
        while self._retries and self._retries[0][0] + RETRY <= now:
            for ask in self._retries.popleft()[1]:
                if ask.outcome is _PENDING and not ask.over_tcp and ask.wrong < A_FLOOD:
                    ask.resent = True
                    self._out.extend((address, ask.peer.port, self.query(ask)) for address in ask.open)
        while self._others and self._others[0][0] <= now:
            for ask in self._others.popleft()[1]:
                if ask.outcome is _PENDING and not ask.over_tcp and ask.tried < len(ask.peer.route):
                    self.open(ask, now)
        return begun

    def open(self, ask: Ask, now: float) -> None:
        """Asks a peer at its next address."""
        peer, tried = ask.peer, ask.tried
        address, port = peer.route[tried], peer.port
        if not ask.open and ask.standing is not _IDLE:
            self._retries.append((now, (ask,)))
        ask.tried = tried + 1
        ask.sent = now
        self._by_source[address, port, ask.ident] = ask
        if self._by_address is not None:
            self._by_address.setdefault((address, port), []).append(ask)
        self._out.append((address, port, self.query(ask)))
        if not (ask.flying or ask.resent or ask.merged):
            ask.flying = True
            self.flying += 1
            self._flight.append((now, (ask,)))
        if ask.tried < len(peer.route):
            self._others.append((now + self._other_family, (ask,)))

    def land(self, ask: Ask) -> None:
        """Something has come of it, or nothing for too long: its place is the next one's."""
        if ask.flying:
            ask.flying = False
            self.flying -= 1

    def _open_next(self, count: int, now: float) -> list[Ask]:
        """Asks that many of the queue at their first address."""
        queue = self.queue
        asks = [queue.popleft() for _ in range(min(count, len(queue)))]
        for ask in asks:
            ask.tried = 1
            ask.sent = now
            ask.flying = True
        self.flying += len(asks)
        self._flight.append((now, asks))
        # They are asked in order of what they are owed.
        waited_for = asks if asks[-1].standing is not _IDLE else [ask for ask in asks if ask.standing is not _IDLE]
        if waited_for:
            self._retries.append((now, waited_for))
        self._others.append((now + self._other_family, asks))
        if self._by_address is not None:
            for ask in asks:
                self._by_address.setdefault((ask.peer.route[0], ask.peer.port), []).append(ask)
        self._begun = (*self._begun, *asks) if self._begun else asks
        return asks
