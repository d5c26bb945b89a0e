"""One question to many peers: what to send, what came, when to stop. No sockets, no clock.

Whoever does the I/O calls :meth:`Lookup.send`, hands in what arrives, opens the TCP connections of
:meth:`Lookup.tcp`, and calls again by :meth:`Lookup.timer`, until :attr:`Lookup.done`. A bad packet is
passed over and the peer stays asked: one peer can only cost its own answer.
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

HEAD_START: Final = 0.100  # seconds that our own host's holder has before we ask around ourselves

# A member of an Enum is looked up slowly, and every peer's answer needs some.
_PENDING, _ANSWERED, _REFUSED, _SILENT = Outcome
_REGISTRY, _NEW, _IDLE = Standing


class Lookup:
    """One question to `peers`, with how much each is waited for.

    `holder` is our own host's: it is asked with RD=1 before all others, and its answer, which is the
    whole network's, ends the lookup. With `enough`, the first answer for which it is true does. `way` tells which
    peers are asked by HTTP for what DNS does not tell, `lists` are the ids of those for which it is `AT_ONCE`.
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
        self.rest = pack_query(qname, qtype, ident=0, rd=rd)[2:]  # the question's octets behind the id
        labels = Name(qname.lower()).relative_to(apex) or ()
        # The two questions for services, whose answers a transfer gives too: all of one name, or everything.
        self._name = labels[0] if qtype == SRV and len(labels) == 1 else None
        self._everything = qtype == PTR and labels == (b"_list",)
        self._reader = Reader(apex, self.rest[10 : 10 + len(qname) + 4], by_name=self._name is not None)
        self._judge = self._reader.read
        self.begun = now
        self.deadline = now + timeout
        self._enough = enough
        # Those that are known to answer go first, the nearest among them foremost.
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
        """Whether nothing more is worth waiting for."""
        return self._ended

    def outcomes(self, outcome: Outcome) -> list[Ask]:
        """The asks that ended so."""
        return [ask for ask in self.asks if ask.outcome is outcome]

    def send(self, now: float) -> Sequence[Datagram]:
        """What is to be sent now. Also notices what time has brought; call it whenever something happened."""
        begun = self.begin(now)
        out = self._departures.take()
        out += [self.datagram(ask) for ask in begun]
        return () if self._ended else out

    def begin(self, now: float) -> Sequence[Ask]:
        """As :meth:`send`, which then gives what else is to be sent: those to be asked now for the first time."""
        self._tick(now)
        begun = self._departures.take_begun()
        return () if self._ended else begun

    def datagram(self, ask: Ask) -> Datagram:
        """What asks its peer at the first address, for whoever does not match the answers to it."""
        return self._departures.datagram(ask)

    def tcp(self) -> list[Ask]:
        """The asks that need a TCP connection now, to the address that answered: ``ask.over_tcp``."""
        wanted, self._tcp = self._tcp, []
        return wanted

    def web(self) -> list[Ask]:
        """The asks that need ``GET /services`` now, at ``ask.over_web``, and no connection for DNS any more."""
        return self._web.wanted()

    def query_for(self, ask: Ask) -> bytes:
        """The query's octets for one ask."""
        if ask.transfer is not None:
            return pack_query(self.apex.wire, AXFR, ident=int.from_bytes(ask.ident, "big"), rd=False)
        return self._departures.query(ask)

    def timer(self) -> float:
        """When to call :meth:`send` again at the latest."""
        when = [self.deadline]
        if self._hold > -math.inf:
            when.append(self._hold)
        when.extend(self._departures.timers())
        when.extend(self._web.doubts())
        if (grace := self._grace()) is not None:
            when.append(grace)
        return min(when)

    def received(self, wire: bytes, address: str, port: int, now: float) -> None:
        """A datagram came. Id, source and question all match, or it is passed over."""
        if len(wire) < 12:
            return
        ask = self._departures.whose(address, port, wire[:2])
        if ask is not None:
            self.answers(((ask, wire),), now, address)

    def answers(self, arrived: Iterable[tuple[Ask, bytes]], now: float, address: str | None = None) -> None:
        """Datagrams of at least a header came, each with the source and the id of its ask.

        From `address`, or each from the first one of its peer.
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
            # Nearly all of many: in flight is who was asked once, and has not said anything yet.
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
            # Where Minidisc has the port, it takes a DNS message for the beginning of a request, and waits for more.
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
        """A message came over TCP; True where more of them are wanted on this connection."""
        if len(wire) < 12 or wire[:2] != ask.ident:
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
            from ..zone.transfer import TransferIn  # of which most lookups need nothing

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
        if ask.outcome is _PENDING and ask not in self._tcp and not self._web.ask(ask):
            self._told_in_part(ask, now)

    def _told_in_part(self, ask: Ask, now: float) -> None:
        # A part of what the whole network has is nothing to end with: who asks everybody gets it all.
        told = not ask.merged and ask.answer is not None and ask.answer.told
        self._settle(ask, _ANSWERED if told else _SILENT, now)

    def web_open(self, ask: Ask) -> None:
        """Somebody takes the connection, so it is worth waiting for."""
        if ask.outcome is _PENDING and ask.standing is not _REGISTRY:
            self._await(ask)

    def web_received(self, ask: Ask, body: bytes, now: float) -> None:
        """``/services`` was answered. What is no list is as good as nothing."""
        answer = self._web.received(ask, body)
        if answer is None:
            self.web_failed(ask, now)
        elif ask.outcome is _PENDING:
            if ask.answer is None and ask.rtt is None:
                ask.rtt = now - ask.sent
            ask.answer = answer
            self._settle(ask, _ANSWERED, now)

    def web_failed(self, ask: Ask, now: float) -> None:
        """Nobody lists services there; or whoever does broke off."""
        self._web.failed(ask)
        if ask.outcome is not _PENDING:
            return
        if ask.over_tcp:
            self._told_in_part(ask, now)
        elif not ask.open:
            self._settle(ask, _REFUSED, now)
        else:
            # Kernels ration their refusals of datagrams: it is not waited for.
            self._patience.owe(ask, _IDLE)

    def failed(self, address: str, port: int, now: float, *, refused: bool) -> None:
        """A kernel says that `address` cannot be reached, or (`refused`) that nobody answers there."""
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
            return  # it is being asked otherwise
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
        """Our own host's holder does not answer for us: ask everybody."""
        if self._hold > -math.inf:
            self._hold = -math.inf
            self._queue.extend(self.asks)

    def _await(self, ask: Ask) -> None:
        """It has begun to answer, so it is worth waiting for."""
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
            self._ended = self.matched = True  # the others were not given the time that they had

    def _grace(self) -> float | None:
        """When to stop although some have not answered: None while those that count are waited for."""
        if self._hold > -math.inf or self._queue:
            return None
        if self.holder and self.holder.outcome is _PENDING:
            return None  # it waits for somebody of whom we may never have heard, and will say who
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
    # Of a holder's failures, only "the registries are silent" is better known to it than to us.
    told = ask.merged and any(code == EDE_NO_AUTHORITY for code, _ in answer.errors)
    return _SILENT if answer.failed and not told else _ANSWERED
