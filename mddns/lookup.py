"""One question to many peers: what to send, what came, when to stop. No sockets, no clock.

Whoever does the I/O calls :meth:`Lookup.send`, hands in what arrives, opens the TCP connections of
:meth:`Lookup.tcp`, and calls again by :meth:`Lookup.timer`, until :attr:`Lookup.done`. A bad packet is
passed over and the peer stays asked: one peer can only cost its own answer.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from .answers import Answer, read_answer
from .direct import read_directly
from .errors import BadMessage
from .memory import Standing
from .model import Peer
from .names import Name
from .packer import pack_query, random_ids
from .wire import AXFR, EDE_NO_AUTHORITY, PTR, QR, SOA, SRV, Message

IN_FLIGHT: Final = 128  # replies that the stock receive buffer holds, with room to spare
FLIGHT_TIME: Final = 0.010  # seconds after which a silent peer's place is given to the next
RETRY: Final = 0.150  # seconds before the one retransmission
NEW_GRACE: Final = 0.300  # seconds after the last answer that peers never heard of get
IDLE_GRACE: Final = 0.030  # the same for those that refused or were silent; or twice the slowest answer
_SERIAL_AND_TIMERS: Final = 20  # octets at the end of an SOA record (RFC 1035 3.3.13)
HEAD_START: Final = 0.100  # seconds that our own host's holder has before we ask around ourselves

if TYPE_CHECKING:
    from .transfer import TransferIn


class Outcome(enum.Enum):
    """How it went with one peer."""

    PENDING = "pending"
    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"


# A member of an Enum is looked up slowly, and every peer's answer needs some.
_PENDING, _ANSWERED, _REFUSED, _SILENT = Outcome
_REGISTRY, _NEW, _IDLE = Standing

Datagram = tuple[str, int, bytes]  # address, port, octets


class Ask:
    """One peer in a lookup. ``rtt`` is seconds; ``message`` the last one that counted."""

    # As most asks have them from beginning to end, which makes thousands of them cheap.
    tried = 0  # how many addresses of the peer's route were asked
    open: tuple[str, ...] = ()  # those of them that have not refused
    outcome = Outcome.PENDING
    answer: Answer | None = None
    message: bytes | None = None
    sent = 0.0
    resent = False
    flying = False
    over_tcp: str | None = None  # the address that answered, and wants to be asked over TCP
    transfer: TransferIn | None = None
    rtt: float | None = None
    merged = False

    def __init__(self, peer: Peer, standing: Standing, ident: int) -> None:
        self.peer = peer
        self.standing = standing
        self.ident = ident


# An answer without records: where the serial of its SOA begins, its octets before and behind that, what it says.
_Denial = tuple[int, bytes, bytes, Answer]


class Lookup:
    """One question to `peers`, with how much each is waited for.

    `holder` is our own host's: it is asked with RD=1 before all others, and its answer, which is the
    whole network's, ends the lookup. With `enough`, the first answer for which it is true does.
    """

    def __init__(
        self,
        apex: Name,
        qname: bytes,
        qtype: int,
        peers: Iterable[tuple[Peer, Standing]],
        now: float,
        *,
        timeout: float,
        holder: Peer | None = None,
        enough: Callable[[Peer, Answer], bool] | None = None,
        rd: bool = False,
    ) -> None:
        self.apex = apex
        self._rest = pack_query(qname, qtype, ident=0, rd=rd)[2:]
        self._rest_rd = pack_query(qname, qtype, ident=0, rd=True)[2:]
        self._question = self._rest[10 : 10 + len(qname) + 4]
        labels = Name(qname.lower()).relative_to(apex) or ()
        # The two questions for services, whose answers a transfer gives too: all of one name, or everything.
        self._name = labels[0] if qtype == SRV and len(labels) == 1 else None
        self._everything = qtype == PTR and labels == (b"_list",)
        self._begun = now
        self.deadline = now + timeout
        self._other_family = timeout / 3
        self._enough = enough
        # Those that are known to answer go first, the nearest among them foremost.
        chosen = sorted(peers, key=itemgetter(1))
        idents = random_ids(len(chosen) + 1)
        self.asks = [Ask(peer, standing, ident) for (peer, standing), ident in zip(chosen, idents[1:], strict=True)]
        standings = [ask.standing for ask in self.asks]
        self._waiting = [standings.count(each) for each in Standing]
        self.holder = Ask(holder, _REGISTRY, idents[0]) if holder else None
        if self.holder:
            self.holder.merged = True
        self._queue: deque[Ask] = deque() if self.holder else deque(self.asks)
        self._hold = now + HEAD_START if self.holder else -math.inf
        # A datagram is an answer where source and id are right: one look tells.
        self._by_source: dict[tuple[str, int, int], Ask] = {}
        self._by_address: dict[tuple[str, int], list[Ask]] | None = None
        self._flight: deque[tuple[float, Ask]] = deque()
        self._flying = 0
        self._retries: deque[tuple[float, Ask]] = deque()
        self._others: deque[tuple[float, Ask]] = deque()
        self._out: list[Datagram] = []
        self._tcp: list[Ask] = []
        self._read: dict[bytes, Answer] = {}
        self._denials: dict[int, _Denial] = {}  # by length
        self._last = now
        self._slowest = 0.0
        self._ended = False
        if self.holder:
            self._open(self.holder, now)

    @property
    def done(self) -> bool:
        """Whether nothing more is worth waiting for."""
        return self._ended

    def outcomes(self, outcome: Outcome) -> list[Ask]:
        """The asks that ended so."""
        return [ask for ask in self.asks if ask.outcome is outcome]

    def send(self, now: float) -> Sequence[Datagram]:
        """What is to be sent now. Also notices what time has brought; call it whenever something happened."""
        self._tick(now)
        out, self._out = self._out, []
        return () if self._ended else out

    def tcp(self) -> list[Ask]:
        """The asks that need a TCP connection now, to the address that answered: ``ask.over_tcp``."""
        wanted, self._tcp = self._tcp, []
        return wanted

    def query_for(self, ask: Ask) -> bytes:
        """The query's octets for one ask."""
        if ask.transfer is not None:
            return pack_query(self.apex.wire, AXFR, ident=ask.ident, rd=False)
        return ask.ident.to_bytes(2, "big") + (self._rest_rd if ask.merged else self._rest)

    def timer(self) -> float:
        """When to call :meth:`send` again at the latest."""
        when = [self.deadline]
        if self._hold > -math.inf:
            when.append(self._hold)
        if self._queue and self._flight:
            when.append(self._flight[0][0] + FLIGHT_TIME)
        if self._retries:
            when.append(self._retries[0][0] + RETRY)
        if self._others:
            when.append(self._others[0][0])
        if (grace := self._grace()) is not None:
            when.append(grace)
        return min(when)

    def received(self, wire: bytes, address: str, port: int, now: float) -> None:
        """A datagram came. Id, source and question all match, or it is passed over."""
        if len(wire) < 12:
            return
        ask = self._by_source.get((address, port, wire[0] << 8 | wire[1]))
        if ask is None or ask.outcome is not _PENDING or ask.over_tcp:
            return
        answer = self._judge(wire)
        if answer is None:
            return
        if ask.rtt is None and not ask.resent:
            ask.rtt = now - ask.sent
        ask.answer, ask.message = answer, wire
        if answer.partial:
            ask.over_tcp = address
            self._await(ask)
            self._land(ask)
            self._tcp.append(ask)
        else:
            self._settle(ask, _outcome(ask, answer) if answer.failed or answer.refused else _ANSWERED, now)

    def tcp_received(self, ask: Ask, wire: bytes, now: float) -> bool:
        """A message came over TCP; True where more of them are wanted on this connection."""
        if len(wire) < 12 or wire[:2] != ask.ident.to_bytes(2, "big"):
            return False
        if ask.transfer is not None:
            return self._transferred(ask, ask.transfer, wire, now)
        answer = self._judge(wire)
        if answer is None:
            return False
        ask.answer, ask.message = answer, wire
        if answer.partial and ask.merged:
            # More than a message holds. A transfer from it would be its own zone alone, so we ask everybody.
            self._settle(ask, _SILENT, now)
        elif answer.partial and (self._name or self._everything):
            from .transfer import TransferIn  # of which most lookups need nothing

            ask.transfer = TransferIn(self.apex)
            self._tcp.append(ask)
        else:
            self._settle(ask, _outcome(ask, answer), now)
        return False

    def _transferred(self, ask: Ask, transfer: TransferIn, wire: bytes, now: float) -> bool:
        try:
            if not transfer.feed(wire):
                return True
            told = transfer.told()
        except BadMessage:
            return False
        if self._name is not None:
            told = tuple(each for each in told if each.name.encode().lower() == self._name)
        ask.answer = Answer(told, False, False, False, ())
        self._settle(ask, _ANSWERED, now)
        return False

    def tcp_failed(self, ask: Ask, now: float) -> None:
        """The connection has ended. Without an answer, what came over UDP, if it told anything, has to do."""
        if ask.outcome is _PENDING and ask not in self._tcp:
            # A part of what the whole network has is nothing to end with: who asks everybody gets it all.
            told = not ask.merged and ask.answer is not None and ask.answer.told
            self._settle(ask, _ANSWERED if told else _SILENT, now)

    def failed(self, address: str, port: int, now: float, *, refused: bool) -> None:
        """A kernel says that `address` cannot be reached, or (`refused`) that nobody answers there."""
        for ask in self._asked_at(address, port):
            if ask.outcome is not _PENDING or ask.over_tcp or address not in ask.open:
                continue
            ask.open = tuple(each for each in ask.open if each != address)
            if ask.tried < len(ask.peer.route):
                self._open(ask, now)
            elif not ask.open:
                self._settle(ask, _REFUSED if refused else _SILENT, now)

    def _asked_at(self, address: str, port: int) -> list[Ask]:
        """The asks that were sent to an address; their index is made at the first error, and mostly never."""
        if self._by_address is None:
            self._by_address = {}
            for (each, number, _), ask in self._by_source.items():
                self._by_address.setdefault((each, number), []).append(ask)
        return self._by_address.get((address, port), [])

    def _judge(self, wire: bytes) -> Answer | None:
        """What a message says; None where it is no answer to our question. Most peers say the same: read it once."""
        denial = self._denials.get(len(wire))
        if denial is not None:
            at, before, behind, answer = denial
            # Each host's zone has a serial of its own, which nobody needs to know here.
            if wire[2:at] == before and wire[at + 4 :] == behind:
                return answer
        question = self._question
        # QR set, opcode 0, and the question to the octet: an echo keeps its case.
        if wire[2] & 0xF8 != QR >> 8 or wire[12 : 12 + len(question)] != question:
            return None
        try:
            if wire[6] or wire[7]:
                # It has records, which are the peer's own.
                direct = read_directly(wire, question) if self._name else None
                return direct or read_answer(Message(wire), self.apex)
            known = self._read.get(wire[2:])
            return known or self._read_empty(wire)
        except BadMessage:
            return None

    def _read_empty(self, wire: bytes) -> Answer:
        """Reads an answer without records, and keeps it for the next peer that says the same."""
        message = Message(wire)
        answer = read_answer(message, self.apex)
        if len(message.authority) == 1 and message.authority[0].rtype == SOA:
            at = message.authority[0].end - _SERIAL_AND_TIMERS
            if at >= message.authority[0].start:
                self._denials[len(wire)] = at, wire[2:at], wire[at + 4 :], answer
                return answer
        # One for each peer at most: what is wrong is not kept, of which a peer may send any amount.
        self._read[wire[2:]] = answer
        return answer

    def _tick(self, now: float) -> None:
        if now >= self._hold > -math.inf:
            self._release()
        while self._flight and (not self._flight[0][1].flying or self._flight[0][0] + FLIGHT_TIME <= now):
            self._land(self._flight.popleft()[1])
        while self._queue and self._flying < IN_FLIGHT:
            ask = self._queue.popleft()
            if ask.outcome is _PENDING:
                self._open(ask, now)
        while self._retries and self._retries[0][0] + RETRY <= now:
            ask = self._retries.popleft()[1]
            if ask.outcome is _PENDING and not ask.over_tcp:
                ask.resent = True
                self._out.extend((address, ask.peer.port, self.query_for(ask)) for address in ask.open)
        while self._others and self._others[0][0] <= now:
            ask = self._others.popleft()[1]
            if ask.outcome is _PENDING and not ask.over_tcp and ask.tried < len(ask.peer.route):
                self._open(ask, now)
        grace = self._grace()
        if now >= self.deadline or (grace is not None and now >= grace):
            self._end()

    def _release(self) -> None:
        """Our own host's holder does not answer for us: ask everybody."""
        if self._hold > -math.inf:
            self._hold = -math.inf
            self._queue.extend(self.asks)

    def _open(self, ask: Ask, now: float) -> None:
        """Asks a peer at its next address."""
        peer, tried, entry = ask.peer, ask.tried, (now, ask)
        route, port = peer.route, peer.port
        address = route[tried]
        if not ask.open and ask.standing is not _IDLE:
            self._retries.append(entry)
        ask.tried = tried + 1
        ask.open = (*ask.open, address) if tried else (address,)
        ask.sent = now
        self._by_source[address, port, ask.ident] = ask
        if self._by_address is not None:
            self._by_address.setdefault((address, port), []).append(ask)
        rest = self._rest_rd if ask.merged else self._rest
        self._out.append((address, port, ask.ident.to_bytes(2, "big") + rest))
        if not ask.flying:
            ask.flying = True
            self._flying += 1
            self._flight.append(entry)
        if tried + 1 < len(route):
            self._others.append((now + self._other_family, ask))

    def _await(self, ask: Ask) -> None:
        """It has begun to answer, so it is worth waiting for."""
        if not ask.merged:
            self._waiting[ask.standing] -= 1
            ask.standing = _REGISTRY
            self._waiting[ask.standing] += 1

    def _land(self, ask: Ask) -> None:
        if ask.flying:
            ask.flying = False
            self._flying -= 1

    def _settle(self, ask: Ask, outcome: Outcome, now: float) -> None:
        ask.outcome = outcome
        if ask.flying:
            ask.flying = False
            self._flying -= 1
        if ask.merged:
            if outcome is _ANSWERED:
                self._end()
            else:
                self._release()
            return
        self._waiting[ask.standing] -= 1
        if outcome is not _ANSWERED:
            return
        self._last = now
        if ask.rtt is not None and ask.rtt > self._slowest:
            self._slowest = ask.rtt
        if self._enough and ask.answer and self._enough(ask.peer, ask.answer):
            self._ended = True  # the others were not given the time that they had

    def _grace(self) -> float | None:
        """When to stop although some have not answered: None while those that count are waited for."""
        if self._hold > -math.inf or self._queue or self._waiting[_REGISTRY]:
            return None
        if self._waiting[_NEW]:
            return self._last + NEW_GRACE
        if self._waiting[_IDLE]:
            return self._last + max(IDLE_GRACE, 2 * self._slowest)
        return -math.inf

    def _end(self) -> None:
        self._ended = True
        for ask in self.asks:
            if ask.outcome is _PENDING and ask.open:
                told = ask.over_tcp and ask.answer is not None and ask.answer.told
                ask.outcome = _ANSWERED if told else _SILENT


def _outcome(ask: Ask, answer: Answer) -> Outcome:
    if answer.refused:
        return _REFUSED
    # Of a holder's failures, only "the registries are silent" is better known to it than to us.
    told = ask.merged and any(code == EDE_NO_AUTHORITY for code, _ in answer.errors)
    return _SILENT if answer.failed and not told else _ANSWERED
