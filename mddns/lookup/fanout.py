"""One query to many peers: what to send, what came back, when to stop. No sockets, no clock.

The caller does the I/O: it calls :meth:`Lookup.send`, passes in what arrives, opens the TCP connections of
:meth:`Lookup.tcp`, and calls again by :meth:`Lookup.timer`, until :attr:`Lookup.done`. An invalid packet is ignored and
the query stays open, so a bad peer can lose only its own answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from ..base.errors import BadMessage
from ..base.model import Peer
from ..base.names import Name
from ..codec.answer import Answer
from ..codec.fast_answer import Reader
from ..directory.peer_memory import Standing, Way
from ..dns.message import AXFR, EDE_NO_AUTHORITY, PTR, SRV
from ..dns.writer import pack_query, random_heads
from .asked_peer import Ask, Outcome
from .datagrams import Datagram, Departures
from .minidisc_peers import Web
from .patience import Patience

if TYPE_CHECKING:
    from ..zone.transfer import TransferIn

HEAD_START: Final = 0.100  # seconds that our own host's holder has to answer before we query the peers ourselves

# Access to a member of an Enum is slow, and every answer needs some.
_PENDING, _ANSWERED, _REFUSED, _SILENT = Outcome
_REGISTRY, _NEW, _IDLE = Standing


class Lookup:
    """One query to `peers`, each with its standing, which decides how long the lookup waits for it.

    `holder` is the node of our own host: its holder is queried with RD=1 before all peers, and its answer for the whole
    network ends the lookup. With `enough`, the first answer for which it returns true ends it. `way` returns whether a
    peer is queried by HTTP; `lists` are the ids of the peers for which that is `AT_ONCE`.
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
        way: Callable[[Peer], Way] | None = None,
        lists: Collection[str] = (),
    ) -> None:
        self.apex = apex
        self.rest = pack_query(qname, qtype, ident=0, rd=rd)[2:]  # the query without its id
        labels = Name(qname.lower()).relative_to(apex) or ()
        # The two queries for services, all of one name or all. A zone transfer answers them too.
        self._name = labels[0] if qtype == SRV and len(labels) == 1 else None
        self._everything = qtype == PTR and labels == (b"_list",)
        self._reader = Reader(apex, self.rest[10 : 10 + len(qname) + 4], by_name=self._name is not None)
        self._judge = self._reader.read
        self.begun = now
        self.deadline = now + timeout
        self._enough = enough
        # Peers that are known to answer go first.
        chosen = sorted(peers, key=itemgetter(1))
        idents = random_heads(len(chosen) + 1)
        self.asks = [Ask(peer, standing, ident) for (peer, standing), ident in zip(chosen, idents[1:], strict=True)]
        self._patience = Patience(self.asks, now)
        self.holder = Ask(holder, _REGISTRY, idents[0]) if holder else None
        if self.holder:
            self.holder.merged = True
        rest_rd = pack_query(qname, qtype, ident=0, rd=True)[2:]
        everybody = [self.holder, *self.asks] if self.holder else self.asks
        self._departures = Departures(everybody, self.rest, rest_rd, timeout / 3)
        self._queue = self._departures.queue
        self._hold = now + HEAD_START if self.holder else -math.inf
        self._tcp: list[Ask] = []
        by_web = self._name is not None or self._everything
        self._web = Web(way if by_web else None, lists, self._name)
        self._ended = False
        self.matched = False  # ended by `enough`
        if self.holder:
            self._departures.open(self.holder, now)
        else:
            self._queue.extend(self.asks)

    @property
    def done(self) -> bool:
        """Whether the lookup has ended."""
        return self._ended

    def outcomes(self, outcome: Outcome) -> list[Ask]:
        """The asks with this outcome."""
        return [ask for ask in self.asks if ask.outcome is outcome]

    def send(self, now: float) -> Sequence[Datagram]:
        """Handles timers and returns the datagrams to send now. Call it after each event."""
        begun = self.begin(now)
        out = self._departures.take()
        out += [self.datagram(ask) for ask in begun]
        return () if self._ended else out

    def begin(self, now: float) -> Sequence[Ask]:
        """As :meth:`send`, but returns the asks to send for the first time. :meth:`send` then returns the rest."""
        self._tick(now)
        begun = self._departures.take_begun()
        return () if self._ended else begun

    def datagram(self, ask: Ask) -> Datagram:
        """Returns the datagram to the first address of the peer, and registers it for :meth:`received`."""
        return self._departures.datagram(ask)

    def tcp(self) -> list[Ask]:
        """The asks that need a TCP connection now, to the address that answered: ``ask.over_tcp``."""
        wanted, self._tcp = self._tcp, []
        return wanted

    def web(self) -> list[Ask]:
        """The asks that need ``GET /services`` now, from ``ask.over_web``. Their connection for DNS must be closed."""
        return self._web.wanted()

    def query_for(self, ask: Ask) -> bytes:
        """Returns the query message of one ask."""
        if ask.transfer is not None:
            return pack_query(self.apex.wire, AXFR, ident=int.from_bytes(ask.ident, "big"), rd=False)
        return self._departures.query(ask)

    def timer(self) -> float:
        """The latest time at which :meth:`send` must be called again."""
        when = [self.deadline]
        if self._hold > -math.inf:
            when.append(self._hold)
        when.extend(self._departures.timers())
        when.extend(self._web.doubts())
        if (grace := self._grace()) is not None:
            when.append(grace)
        return min(when)

    def received(self, wire: bytes, address: str, port: int, now: float) -> None:
        """Processes a datagram. Ignores it unless id, source and question match."""
        if len(wire) < 12:
            return
        ask = self._departures.whose(address, port, wire[:2])
        if ask is not None:
            self.answers(((ask, wire),), now, address)

    def answers(self, arrived: Iterable[tuple[Ask, bytes]], now: float, address: str | None = None) -> None:
        """Processes datagrams with the source and the id of their ask, each at least a header long.

        They came from `address`, or each from the first address of its peer.
        """
        judge, waiting, alone = self._reader.glance, self._patience.waiting, self._enough is None
        landed, earliest = 0, now
        usual: Answer | None = None
        for ask, wire in arrived:
            if not ask.flying and (ask.outcome is not _PENDING or ask.over_tcp):
                continue
            answer = judge(wire)
            if answer is None:
                ask.wrong += 1
                continue
            if isinstance(answer, Answer):
                if answer is not usual:
                    _, refused, partial, failed, _ = answer
                    usual = None if refused or partial or failed else answer
                if usual is None or not (ask.flying and alone):
                    self._answered(ask, answer, wire, address or ask.peer.route[0], now)
                    continue
                ask.said = usual
            else:
                form, own = answer
                if not (ask.flying and alone):
                    self._answered(ask, form.answer(own), wire, address or ask.peer.route[0], now)
                    continue
                ask.form, ask.own = form, own
            # The usual case: an ask in flight was sent once and has no response yet.
            sent = ask.sent
            ask.flying = False
            ask.outcome, ask.message, ask.rtt = _ANSWERED, wire, now - sent
            waiting[ask.standing] -= 1
            landed += 1
            if sent < earliest:
                earliest = sent
        if landed:
            self._departures.flying -= landed
            self._patience.answered(now, now - earliest)

    def _answered(self, ask: Ask, answer: Answer, wire: bytes, address: str, now: float) -> None:
        if ask.rtt is None and not ask.resent:
            ask.rtt = now - ask.sent
        ask.answer, ask.message = answer, wire
        if answer.partial:
            ask.over_tcp = address
            self._await(ask)
            self._departures.land(ask)
            # If Minidisc has the TCP port, it takes a DNS message for the start of an HTTP request, and waits for more.
            way = self._web.way_to(ask)
            if way is not Way.AT_ONCE:
                self._tcp.append(ask)
                if way is Way.REFUSED:
                    self._web.doubt(ask, now)
            elif ask.listed is not _PENDING:
                self._told_in_part(ask, now)
        else:
            self._settle(ask, _outcome(ask, answer) if answer.failed or answer.refused else _ANSWERED, now)

    def tcp_received(self, ask: Ask, wire: bytes, now: float) -> bool:
        """Processes a message from TCP. Returns whether this connection must stay open for more messages."""
        if len(wire) < 12 or wire[:2] != ask.ident:
            return False
        if ask.transfer is not None:
            return self._transferred(ask, ask.transfer, wire, now)
        answer = self._judge(wire)
        if answer is None:
            return False
        ask.answer, ask.message = answer, wire
        if answer.partial and ask.merged:
            # Too large for one message. A transfer from the holder has only its own zone, so we query all peers.
            self._settle(ask, _SILENT, now)
        elif answer.partial and (self._name or self._everything):
            from ..zone.transfer import TransferIn  # most lookups do not need it

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
        """The connection has ended. If it gave no answer, the ask ends with the partial answer from UDP, if any."""
        if ask.outcome is _PENDING and ask not in self._tcp and not self._web.ask(ask):
            self._told_in_part(ask, now)

    def _told_in_part(self, ask: Ask, now: float) -> None:
        # A partial answer of the holder does not end the lookup: querying all peers gives all services.
        told = not ask.merged and ask.answer is not None and ask.answer.told
        self._settle(ask, _ANSWERED if told else _SILENT, now)

    def web_open(self, ask: Ask) -> None:
        """The peer accepted the connection, so the lookup waits for it."""
        if ask.outcome is _PENDING and ask.standing is not _REGISTRY:
            self._await(ask)

    def web_received(self, ask: Ask, body: bytes, now: float) -> None:
        """Processes the response to ``/services``. An invalid list counts as none."""
        answer = self._web.received(ask, body)
        if answer is None:
            self.web_failed(ask, now)
        elif ask.outcome is _PENDING:
            if ask.answer is None and ask.rtt is None:
                ask.rtt = now - ask.sent
            ask.answer = answer
            self._settle(ask, _ANSWERED, now)

    def web_failed(self, ask: Ask, now: float) -> None:
        """The peer does not list services by HTTP, or closed the connection too early."""
        self._web.failed(ask)
        if ask.outcome is not _PENDING:
            return
        if ask.over_tcp:
            self._told_in_part(ask, now)
        elif not ask.open:
            self._settle(ask, _REFUSED, now)
        else:
            # Kernels limit the rate of refusals, so a refusal may never come: do not wait for this peer.
            self._patience.owe(ask, _IDLE)

    def failed(self, address: str, port: int, now: float, *, refused: bool) -> None:
        """A kernel reported that `address` is unreachable, or (`refused`) that its port is closed."""
        for ask in self._departures.asked_at(address, port):
            if ask.outcome is not _PENDING or ask.over_tcp or address not in ask.open:
                continue
            ask.closed = (*ask.closed, address)
            if ask.tried < len(ask.peer.route):
                self._departures.open(ask, now)
            elif not ask.open:
                self._unreached(ask, now, refused=refused)

    def _unreached(self, ask: Ask, now: float, *, refused: bool) -> None:
        self._departures.land(ask)
        if ask.over_web and ask.listed is _PENDING:
            return  # an HTTP request is in progress
        if refused and self._web.ask(ask):
            if ask.standing is _IDLE:
                self._patience.owe(ask, _NEW)
            return
        self._settle(ask, _REFUSED if refused else _SILENT, now)

    def _tick(self, now: float) -> None:
        if now >= self._hold > -math.inf:
            self._release()
        begun = self._departures.tick(now)
        if self._web.lists:
            for ask in begun:
                if ask.peer.id in self._web.lists:
                    self._web.ask(ask)
        self._web.ask_unheard(now)
        grace = self._grace()
        if now >= self.deadline or (grace is not None and now >= grace):
            self._end()

    def _release(self) -> None:
        """The holder of our own host did not answer for the network: queries all peers."""
        if self._hold > -math.inf:
            self._hold = -math.inf
            self._queue.extend(self.asks)

    def _await(self, ask: Ask) -> None:
        """The peer has begun to answer, so the lookup waits for it."""
        if not ask.merged:
            self._patience.owe(ask, _REGISTRY)

    def _settle(self, ask: Ask, outcome: Outcome, now: float) -> None:
        ask.outcome = outcome
        self._departures.land(ask)
        if ask.merged:
            if outcome is _ANSWERED:
                self._end()
            else:
                self._release()
            return
        self._patience.waiting[ask.standing] -= 1
        if outcome is not _ANSWERED:
            return
        self._patience.answered(now, ask.rtt)
        if self._enough and ask.answer and self._enough(ask.peer, ask.answer):
            self._ended = self.matched = True  # the other peers did not get their full time

    def _grace(self) -> float | None:
        """When to stop although some peers have not answered; None while the lookup must wait for one."""
        if self._hold > -math.inf or self._queue:
            return None
        if self.holder and self.holder.outcome is _PENDING:
            return None  # it may wait for a peer that is new to us, and will report it as silent
        return self._patience.ends()

    def _end(self) -> None:
        self._ended = True
        for ask in self.asks:
            if ask.outcome is _PENDING and (ask.open or ask.over_web):
                told = ask.over_tcp and ask.answer is not None and ask.answer.told
                refused = ask.listed is _REFUSED
                ask.outcome = _ANSWERED if told else _REFUSED if refused else _SILENT
                ask.flying = False


def _outcome(ask: Ask, answer: Answer) -> Outcome:
    if answer.refused:
        return _REFUSED
    # A holder's failure counts as an answer only if it says that the registries are silent: it knows that best.
    told = ask.merged and any(code == EDE_NO_AUTHORITY for code, _ in answer.errors)
    return _SILENT if answer.failed and not told else _ANSWERED
