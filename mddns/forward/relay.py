"""Answers queries outside our zone, from the cache or from the upstreams.

    fresh in the cache       answered at once; refreshed shortly before it expires
    stale in the cache       queried again; the stale answer is used if that fails or takes too long (RFC 8767)
    not in the cache         queried; equal queries meanwhile wait for the same response

Needs a running event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from ..base.errors import BadMessage
from ..base.names import Name, labels_to_wire
from ..dns.message import (
    CD,
    EDE_NETWORK_ERROR,
    EDE_NO_AUTHORITY,
    IN,
    NOERROR,
    NXDOMAIN,
    RD,
    REFUSED,
    SERVFAIL,
    TXT,
    Message,
    Question,
)
from ..files.resolv_conf import Place
from ..responder.bounded_cache import Cache
from .rebinding import private_address
from .reply_cache import STALE_TTL, Entry, Key, ReplyCache
from .server_selection import LOOP_PAUSE, Options, Server, Servers
from .special_use import special_reply
from .upstream_query import Pursuit
from .upstream_reply import For, Reply, compose_failure, compose_reply, continue_reply, read_reply
from .upstream_sockets import Chases, entropy, socket_budget

_log = logging.getLogger("mddns")

STALE_AFTER: Final = 1.8  # seconds to wait for a fresh answer before using a stale one (RFC 8767 5)
MOST_WAITING: Final = 8192  # client queries that wait at the same time
MOST_PER_FLIGHT: Final = 512  # of these, for the same question
_EDE_STALE: Final = 3
_EDE_BLOCKED: Final = 15
_STALE_ERRORS: Final = ((_EDE_STALE, "no upstream answers"),)
_PROBE: Final = b"test"  # a reserved name (RFC 2606) that no resolver answers by itself
_PROBE_OCTETS: Final = 8
_FAILURE_HOLDS: Final = 1.0  # seconds for which a failure is cached (RFC 9520 3.2)


# Returns the response to a name below our apex and a type; None if too many queries wait already.
Ours = Callable[[bytes, int], Awaitable[bytes | None]]


class Outcome:
    """The result of a query: a reply, or the reason why there is none."""

    __slots__ = ("errors", "rcode", "reply", "since")

    def __init__(
        self, now: float, reply: Reply | None, rcode: int = SERVFAIL, errors: tuple[tuple[int, str], ...] = ()
    ) -> None:
        self.reply = reply
        self.rcode = rcode
        self.errors = errors
        self.since = now


class _Flight:
    """A pending query to upstreams, and the number of clients that wait for it."""

    __slots__ = ("future", "waiting")

    def __init__(self, future: asyncio.Future[Outcome]) -> None:
        self.future = future
        self.waiting = 0


class Relay:
    """The upstream side of a forwarder. `clock` returns the time in seconds."""

    def __init__(
        self,
        apex: Name,
        clock: Callable[[], float],
        ours: Ours,
        *,
        block_rebinding: bool = False,
        sockets: int | None = None,
    ) -> None:
        """`block_rebinding` refuses answers with private addresses, and aliases of names in our own zone.

        `ours` answers names below `apex`; queries for these never come here.
        """
        self._clock = clock
        self._apex = apex
        self._ours = ours
        self._block = block_rebinding
        self._servers = Servers()
        self._cache = ReplyCache()
        self._failures: Cache[Key, Outcome] = Cache(1024, 1 << 20)
        loop = asyncio.get_running_loop()
        self._chases = Chases(loop, clock, sockets or socket_budget())
        self._flights: dict[Key, _Flight] = {}
        self._waiting = 0
        self._probes: dict[bytes, Server] = {}
        self.epoch = 0  # changes when all earlier answers become invalid

    @property
    def in_flight(self) -> int:
        """The number of pending queries."""
        return len(self._chases)

    @property
    def places(self) -> tuple[Place, ...]:
        """The upstreams."""
        return tuple(server.place for server in self._servers.all)

    def use(self, places: tuple[Place, ...], options: Options) -> None:
        """Uses these upstreams from now on, and clears the cache."""
        self._servers = Servers(places, options)
        self._probes.clear()
        self.forget()
        for server in self._servers.all:
            self._probe(server)

    def forget(self) -> None:
        """Clears the cache."""
        self._cache.clear()
        self._failures.clear()
        self.epoch += 1

    def close(self) -> None:
        """Ends all pending queries."""
        self._chases.close()
        for flight in self._flights.values():
            flight.future.cancel()
        self._flights.clear()

    def answer(
        self, question: Question, asked: For, now: float
    ) -> tuple[bytes, float] | Coroutine[None, None, bytes] | None:
        """Returns (response, valid until), or a coroutine for the response, or None if too many queries wait.

        `question` is of class IN and outside our zone.
        """
        if (special := special_reply(question)) is not None:
            return compose_reply(special, asked, 0), math.inf
        key = Key(question.key, question.qtype, asked.flags & (RD | CD), asked.do)
        entry = self._cache.get(key, now)
        if entry is not None and entry.fresh(now):
            if entry.ends_soon(now):
                entry.ahead = True
                self._fly(key, question, now)
            # All TTLs count down at the same moment, so prepared responses stay right until then.
            second = math.floor(now)
            if entry.reply.leads:
                return self._told(entry.reply, question, asked, second - math.floor(entry.since))
            return compose_reply(entry.reply, asked, second - math.floor(entry.since)), min(entry.until, second + 1.0)
        if entry is not None and entry.last_resort(now):
            if entry.reply.leads:
                return self._stale(entry, question, asked)
            return compose_reply(entry.reply, asked, 0, STALE_TTL, _STALE_ERRORS), now
        failure = self._failures.found.get(key)
        if failure is not None and now - failure.since < _FAILURE_HOLDS and entry is None:
            return compose_failure(asked, failure.rcode, failure.errors), now
        if self._waiting >= MOST_WAITING or self._came_back(question, now):
            return None
        flight = self._flights.get(key) or self._fly(key, question, now)
        if flight.waiting >= MOST_PER_FLIGHT:
            return None
        return self._wait(flight, question, asked, entry)

    async def _wait(self, flight: _Flight, question: Question, asked: For, entry: Entry | None) -> bytes:
        self._waiting += 1
        flight.waiting += 1
        try:
            async with asyncio.timeout(None if entry is None else STALE_AFTER):
                outcome = await asyncio.shield(flight.future)
        except TimeoutError:
            assert entry is not None  # noqa: S101 - else there was no time limit
            entry.failed = self._clock()  # the next client does not wait again
            return await self._stale(entry, question, asked)
        finally:
            flight.waiting -= 1
            self._waiting -= 1
        if outcome.reply is not None:
            return await self._told(outcome.reply, question, asked, 0)
        if entry is not None and outcome.rcode != REFUSED:
            return await self._stale(entry, question, asked)
        return compose_failure(asked, outcome.rcode, outcome.errors)

    async def _stale(self, entry: Entry, question: Question, asked: For) -> bytes:
        return await self._told(entry.reply, question, asked, 0, STALE_TTL, _STALE_ERRORS)

    async def _told(
        self,
        reply: Reply,
        question: Question,
        asked: For,
        age: int,
        ttl: int | None = None,
        errors: tuple[tuple[int, str], ...] = (),
    ) -> bytes:
        """Returns the response for one client. Aliases that end at a name in our zone are followed there."""
        if not reply.leads:
            return compose_reply(reply, asked, age, ttl, errors)
        octets = await self._ours(reply.leads, question.qtype)
        own = Message(octets) if octets else None
        if own is None or own.rcode not in (NOERROR, NXDOMAIN):
            return compose_failure(asked, own.rcode if own else SERVFAIL, (*(own.errors() if own else ()), *errors))
        aliases = reply.aliases if ttl is None else [each._replace(ttl=ttl) for each in reply.aliases]
        return compose_reply(continue_reply(question, aliases, age, own), asked, 0, None, errors)

    def _fly(self, key: Key, question: Question, now: float) -> _Flight:
        """Starts a query to the upstreams, or returns the pending one."""
        flight = self._flights.get(key)
        if flight is not None:
            return flight
        flight = self._flights[key] = _Flight(asyncio.get_running_loop().create_future())
        servers = self._servers
        pursuit = Pursuit(question, key.flags, key.do, servers, now, entropy)

        def settled(pursuit: Pursuit) -> None:
            self._landed(key, flight, pursuit, servers)

        self._chases.start(pursuit, settled)
        return flight

    def _landed(self, key: Key, flight: _Flight, pursuit: Pursuit, servers: Servers) -> None:
        now = self._clock()
        outcome = self._judge(pursuit, now)
        if servers is self._servers:
            if outcome.reply is not None:
                self._cache.put(key, outcome.reply, now)
            elif (entry := self._cache.get(key, now)) is not None:
                entry.failed = now
            else:
                self._failures.put(key, outcome, 200 + len(key.qname))
        for server in pursuit.silent:
            self._probe(server)
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.future.done():
            flight.future.set_result(outcome)

    def _judge(self, pursuit: Pursuit, now: float) -> Outcome:
        if pursuit.result is None:
            if pursuit.rcode:
                rcode = pursuit.rcode if pursuit.rcode < 16 else SERVFAIL
                return Outcome(now, None, rcode, pursuit.errors)
            if not self._servers.all:
                return Outcome(now, None, SERVFAIL, ((EDE_NETWORK_ERROR, "no upstream is known"),))
            return Outcome(now, None, SERVFAIL, ((EDE_NO_AUTHORITY, "no upstream answered"),))
        try:
            reply = read_reply(pursuit.result, self._apex)
        except BadMessage:
            return Outcome(now, None, SERVFAIL, ((EDE_NETWORK_ERROR, "an upstream's answer is malformed"),))
        if self._block and reply.leads:
            why = f"the answer is an alias of a name under {self._apex}, which is not a name of the Internet"
            return Outcome(now, None, REFUSED, ((_EDE_BLOCKED, why),))
        if self._block and (private := private_address(reply.addresses)):
            return Outcome(
                now,
                None,
                REFUSED,
                ((_EDE_BLOCKED, f"the answer has {private}, which is not an address of the Internet"),),
            )
        return Outcome(now, reply)

    def _probe(self, server: Server) -> None:
        """Sends a random query to a server. If it comes back to us, the server forwards to us: a loop."""
        label = entropy(_PROBE_OCTETS).hex().encode()
        while len(self._probes) >= 4 * len(self._servers.all):
            del self._probes[next(iter(self._probes))]
        self._probes[label] = server
        qname = labels_to_wire((label, _PROBE))
        alone = Servers((), self._servers.options)
        alone.all = (server,)
        pursuit = Pursuit(Question(qname, qname, TXT, IN), RD, False, alone, self._clock(), entropy)
        self._chases.start(pursuit, lambda _: None)

    def _came_back(self, question: Question, now: float) -> bool:
        """Whether a query is one of our own probes. If so, its server is paused."""
        if len(question.key) != 2 * _PROBE_OCTETS + len(_PROBE) + 3:
            return False
        server = self._probes.pop(question.key[1 : 1 + 2 * _PROBE_OCTETS], None)
        if server is None:
            return False
        if server.looping <= now:
            _log.warning(
                "upstream %s sends our queries back to us, so it is not used: name another one with --upstream or "
                "--resolv-conf",
                server.place,
            )
        server.looping = now + LOOP_PAUSE
        return True
