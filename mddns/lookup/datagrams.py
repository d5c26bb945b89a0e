"""The datagrams of a lookup: when to query which peer at which address, and which ask a response is for. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from ..directory.peer_memory import Standing
from .asked_peer import Ask, Outcome

IN_FLIGHT: Final = 128  # responses that the default receive buffer holds, with a margin
FLIGHT_TIME: Final = 0.010  # seconds after which a query without a response no longer counts as in flight
RETRY: Final = 0.150  # seconds before the one retransmission
A_FLOOD: Final = 16  # invalid datagrams, after which a peer gets no retry: they fill the receive buffer

_PENDING, _IDLE = Outcome.PENDING, Standing.IDLE  # access to a member of an Enum is slow

Datagram = tuple[str, int, bytes]  # address, port, octets


class Departures:
    """Decides which of the asks `everybody` is sent next: from ``queue``, or at once by :meth:`open`.

    `rest` is the query without its id; `rest_rd` is the same with RD=1, for the holder. After `other_family` seconds
    without an answer, a peer is queried at its next address. ``flying`` is the number of asks in flight: sent a moment
    ago, without a response yet.
    """

    def __init__(self, everybody: Sequence[Ask], rest: bytes, rest_rd: bytes, other_family: float) -> None:
        self._everybody = everybody
        self.queue: deque[Ask] = deque()
        self.flying = 0
        self._rest = rest
        self._rest_rd = rest_rd
        self._other_family = other_family
        # A datagram is a response to an ask if address, port and id match.
        self._by_source: dict[tuple[str, int, bytes], Ask] = {}
        self._by_address: dict[tuple[str, int], list[Ask]] | None = None
        # Each item: when some asks were sent (for `_others`: when their next address is due), and those asks.
        self._flight: deque[tuple[float, Sequence[Ask]]] = deque()
        self._retries: deque[tuple[float, Sequence[Ask]]] = deque()
        self._others: deque[tuple[float, Sequence[Ask]]] = deque()
        self._begun: Sequence[Ask] = ()
        self._out: list[Datagram] = []

    def query(self, ask: Ask) -> bytes:
        """Returns the query message of one ask."""
        return ask.ident + (self._rest_rd if ask.merged else self._rest)

    def datagram(self, ask: Ask) -> Datagram:
        """Returns the datagram to the first address of the peer, and registers it for :meth:`whose`."""
        address, port = ask.peer.route[0], ask.peer.port
        self._by_source[address, port, ask.ident] = ask
        return address, port, self.query(ask)

    def take(self) -> list[Datagram]:
        """Takes the datagrams to send now, without those of :meth:`take_begun`."""
        out, self._out = self._out, []
        return out

    def take_begun(self) -> Sequence[Ask]:
        """Takes the asks to send now to the first address of their peers."""
        begun, self._begun = self._begun, ()
        return begun

    def whose(self, address: str, port: int, ident: bytes) -> Ask | None:
        """Returns the ask that a datagram is a response to, None if there is none."""
        return self._by_source.get((address, port, ident))

    def asked_at(self, address: str, port: int) -> Sequence[Ask]:
        """Returns the asks that were sent to an address. The index is built at the first error, so usually never."""
        if self._by_address is None:
            self._by_address = {}
            for ask in self._everybody:
                for each in ask.peer.route[: ask.tried]:
                    self._by_address.setdefault((each, ask.peer.port), []).append(ask)
        return self._by_address.get((address, port), ())

    def timers(self) -> list[float]:
        """The times at which :meth:`tick` has something to do."""
        when = []
        if self.queue and self._flight:
            when.append(self._flight[0][0] + FLIGHT_TIME)
        if self._retries:
            when.append(self._retries[0][0] + RETRY)
        if self._others:
            when.append(self._others[0][0])
        return when

    def tick(self, now: float) -> Sequence[Ask]:
        """Handles timers that have expired. Returns the asks that are sent for the first time."""
        # Asks without a response in time make room for the next ones.
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
        """Sends an ask to the next address of its peer."""
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
        """An ask is no longer in flight: it got a response, or none for too long."""
        if ask.flying:
            ask.flying = False
            self.flying -= 1

    def _open_next(self, count: int, now: float) -> list[Ask]:
        """Sends the next `count` asks of the queue to the first address of their peers."""
        queue = self.queue
        asks = [queue.popleft() for _ in range(min(count, len(queue)))]
        for ask in asks:
            ask.tried = 1
            ask.sent = now
            ask.flying = True
        self.flying += len(asks)
        self._flight.append((now, asks))
        # The queue is sorted by standing: if the last is not idle, none is.
        waited_for = asks if asks[-1].standing is not _IDLE else [ask for ask in asks if ask.standing is not _IDLE]
        if waited_for:
            self._retries.append((now, waited_for))
        self._others.append((now + self._other_family, asks))
        if self._by_address is not None:
            for ask in asks:
                self._by_address.setdefault((ask.peer.route[0], ask.peer.port), []).append(ask)
        self._begun = (*self._begun, *asks) if self._begun else asks
        return asks
