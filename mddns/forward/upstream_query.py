"""One query to upstream name servers: when to query each, and which response to accept. No sockets, no clock.

A :class:`Pursuit` is one query until it is answered or given up. The caller does the I/O: it sends what
:meth:`Pursuit.due` returns, each :class:`Try` over a new socket that is connected to its server, and passes in what
arrives. So the kernel drops datagrams from other sources, and source ports cannot be guessed.

It queries the first server, after HEDGE seconds of silence the next one too, and so on.
:mod:`mddns.forward.server_selection` decides the order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from ..base.errors import BadMessage
from ..dns.message import (
    BADVERS,
    CD,
    FORMERR,
    NOERROR,
    NOTIMP,
    NXDOMAIN,
    OPCODE,
    QR,
    RD,
    TC,
    Message,
    Question,
)
from ..dns.writer import Packer, opt_record
from .server_selection import LINGER, Server, Servers

AD: Final = 0x0020

HEDGE: Final = 0.15  # seconds of silence after which the next server is queried too
AGAIN: Final = 0.8  # seconds until unanswered datagrams are sent again; doubles
MOST_TRIES: Final = 12
MOST_ERRORS: Final = 3  # maximum Extended DNS Errors to pass on

Entropy = Callable[[int], bytes]  # returns that many random octets


class Try(NamedTuple):
    """A query to one server. A Try with the same number is a retry over the same socket."""

    number: int
    server: Server
    wire: bytes
    tcp: bool


class _Asked:
    """The state of a Try."""

    __slots__ = ("edns", "missed", "mixed", "refused", "since", "told", "what")

    def __init__(self, what: Try, edns: bool, mixed: bool, since: float) -> None:
        self.what = what
        self.edns = edns
        self.mixed = mixed  # whether its name was sent in a random case
        self.since = since
        self.told = False  # answered, or ended
        self.refused = False  # an error reported that no server is there
        self.missed = False  # LINGER has passed

    @property
    def lingers(self) -> bool:
        """Whether it still waits for a sign that its server is alive."""
        return not (self.told or self.refused or self.missed or self.what.server.heard >= self.since)


class Pursuit:
    """One question. `result` is the answer that is believed, None as long as there is none.

    `settled`: it is answered or given up; `over`: there is nothing more to listen for either. `rcode` is what a
    server said that did answer, though not the question, `errors` its reasons (RFC 8914); `silent` tells of servers
    that are silent as of now.
    """

    def __init__(
        self, question: Question, flags: int, do: bool, servers: Servers, now: float, entropy: Entropy
    ) -> None:
        """`flags` are RD and CD as they are to be asked."""
        self.question = question
        self.result: Message | None = None
        self.rcode = 0
        self.errors: tuple[tuple[int, str], ...] = ()
        self.silent: list[Server] = []
        self._flags = flags & (RD | CD) | AD  # AD: tell us what you have checked (RFC 6840 5.7)
        self._do = do
        self._options = servers.options
        self._entropy = entropy
        self._asked: list[_Asked] = []
        order, beside = servers.order(now)
        self._waiting = deque(order)
        self._at_once = [(server, False) for server in beside]  # and whether over TCP
        self._next = now
        self._interval = AGAIN
        self._again = now + AGAIN
        self.deadline = now + self._options.timeout * self._options.attempts
        self.settled = not order

    @property
    def over(self) -> bool:
        """Whether no response is expected any more."""
        return self.settled and not any(each.lingers for each in self._asked)

    def listens(self, number: int) -> bool:
        """Whether a response to this Try is still useful."""
        asked = self._asked[number]
        return asked.lingers if self.settled else not asked.told

    def due(self, now: float) -> list[Try]:
        """Returns the tries to send now. Also handles all timeouts."""
        for each in self._asked:
            if not each.missed and now >= min(each.since + LINGER, self.deadline):
                self._missed(each, now)
        if now >= self.deadline:
            self.settled = True
        out: list[Try] = []
        if self.settled:
            return out
        for server, tcp in self._at_once:
            out.append(self._ask(server, now, tcp=tcp))
        self._at_once.clear()
        while self._waiting and now >= self._next:
            out.append(self._ask(self._waiting.popleft(), now, tcp=self._options.use_vc))
            self._next = now + HEDGE
        if not self._waiting and now >= self._again:
            self._interval *= 2
            self._again = now + self._interval
            out += [each.what for each in self._asked if not each.told and not each.what.tcp and each.what not in out]
        return out

    def timer(self) -> float:
        """Returns the time of the next call of :meth:`due`, if nothing arrives before."""
        lingering = (each.since + LINGER for each in self._asked if each.lingers)
        if self.settled:
            return min(lingering, default=0.0)
        return min(self.deadline, self._next if self._waiting else self._again, *lingering)

    def received(self, number: int, wire: bytes, now: float) -> None:
        """Takes octets from the server of a Try. Ignores whatever does not answer it (RFC 5452)."""
        asked = self._asked[number]
        what = asked.what
        if asked.told or len(wire) < 12 or wire[:2] != what.wire[:2] or not wire[2] & QR >> 8 or wire[2] & OPCODE >> 8:
            return
        if wire[4:12] == bytes(8) and len(wire) == 12 and wire[3] & 0xF in (FORMERR, NOTIMP):
            self._declined(asked, wire[3] & 0xF, now)  # a very old server that does not repeat the question
            return
        sent = what.wire[12 : 16 + len(self.question.qname)]
        echoed = wire[12 : 12 + len(sent)]
        if echoed != sent:
            if echoed.lower() != sent.lower():
                return
            if asked.mixed and not what.tcp:
                # The server does not keep the case, or a forger did not see it. The same query with another port and ID
                # settles that.
                what.server.echoes_case = False
                self._ask_next(asked, now, tcp=False)
                return
            what.server.echoes_case = False
        if wire[2] & TC >> 8 and not what.tcp:
            self._ask_next(asked, now)
            return
        try:
            # Names that are compressed point into the question, and must not come out in the case that we drew.
            message = Message(b"".join((wire[:12], self.question.qname, wire[12 + len(self.question.qname) :])))
        except BadMessage:
            if what.tcp:
                self.failed(number, now)
            return
        what.server.answered(now)
        if message.rcode not in (NOERROR, NXDOMAIN):
            if not self.rcode:
                self.errors = tuple((code, text[:100]) for code, text in message.errors()[:MOST_ERRORS])
            self._declined(asked, message.rcode, now)
            return
        asked.told = True
        if not self.settled:
            self.result, self.settled = message, True

    def failed(self, number: int, now: float) -> None:
        """Takes an error: the kernel reports no server, or a TCP connection ended without a response.

        Over UDP the error may be forged, so a response is still accepted while other servers are queried.
        """
        asked = self._asked[number]
        if asked.told or asked.refused:
            return
        asked.refused = True
        asked.told = asked.what.tcp
        self._missed(asked, now)
        self._go_on(now)

    def _missed(self, asked: _Asked, now: float) -> None:
        asked.missed = True
        if not asked.told and asked.what.server.missed(asked.since, now):
            self.silent.append(asked.what.server)

    def _ask(self, server: Server, now: float, *, tcp: bool) -> Try:
        qname = self.question.qname.lower()
        random = self._entropy(2 + len(qname))
        if server.echoes_case:
            qname = _mixed(qname, random[2:])
        packer = Packer(qname, self.question.qtype, self.question.qclass)
        opt = opt_record(do=self._do) if server.edns else b""
        wire = packer.finish(random[0] << 8 | random[1], self._flags, (0, 0, 0), opt)
        what = Try(len(self._asked), server, wire, tcp)
        self._asked.append(_Asked(what, server.edns, server.echoes_case, now))
        return what

    def _ask_next(self, asked: _Asked, now: float, *, tcp: bool = True) -> None:
        """Queries the same server again, over TCP or without EDNS."""
        asked.told = True
        if not self.settled and len(self._asked) + len(self._at_once) < MOST_TRIES:
            self._at_once.append((asked.what.server, tcp))
        else:
            self._go_on(now)

    def _declined(self, asked: _Asked, rcode: int, now: float) -> None:
        """Handles a response with an error rcode."""
        server = asked.what.server
        server.answered(now)
        if asked.edns and rcode in (FORMERR, NOTIMP, BADVERS):
            server.edns = False  # RFC 6891 7
            self._ask_next(asked, now, tcp=asked.what.tcp)
            return
        asked.told = True
        self.rcode = self.rcode or rcode
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Queries the next server at once, or ends if no server is left."""
        if self._waiting:
            self._next = now
        elif not self._at_once and all(each.told or each.refused for each in self._asked):
            self.settled = True


def _mixed(name: bytes, random: bytes) -> bytes:
    """Returns a name in random case, which the response must repeat ("0x20")."""
    return bytes(
        octet ^ 0x20 if 0x61 <= octet <= 0x7A and chance & 1 else octet
        for octet, chance in zip(name, random, strict=True)
    )
